//! Rights on Unix: owners, modes, and sticky folders.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{getegid, geteuid, umask};

use super::Exposed;

const ROOT: u32 = 0;
const OTHERS_AT_ALL: u32 = 0o077;
const EVERYBODY_WRITES: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// The user who wrote the settings or a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Author(u32);

impl Author {
    /// The author of the file or folder at a path; `None` if there is none. An error, with the
    /// command that mends it, if others could have written it as well.
    pub(crate) fn of(path: &Path) -> Result<Option<Author>, String> {
        match std::fs::metadata(path) {
            Ok(found) if found.mode() & EVERYBODY_WRITES != 0 => Err(closing(path)),
            Ok(found) => Ok(Some(Author(found.uid()))),
            Err(_) => Ok(None),
        }
    }

    /// Root, and the user who runs this program, decide about it anyway.
    pub(crate) fn is_trusted(self) -> bool {
        self.0 == ROOT || self.0 == user()
    }

    /// The command that gives another file to this author.
    pub(crate) fn giving(self, path: &Path) -> String {
        format!("{}chown {} {}", sudo_unless(false), self.0, quoted(path))
    }
}

/// From here on new files of this process are for its user alone, those that sled makes included.
/// To be called before there is a second thread.
pub fn keep_new_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Makes a private folder, or makes one private that is there.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o700)),
        error => error,
    }
}

/// Checks that this process runs as the owner of the folder.
pub(super) fn check_owner(path: &Path) -> Result<(), Exposed> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.uid() != user() => {
            Err(Exposed::Owner { path: path.to_owned(), instead: run_as(found.uid()), mend: take(path) })
        }
        _ => Ok(()),
    }
}

/// Checks that nobody else may enter the folder. (An access list of POSIX that lets somebody in
/// shows in the bits of the group.)
pub(super) fn check_shut(path: &Path) -> Result<(), Exposed> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.mode() & OTHERS_AT_ALL != 0 => {
            Err(Exposed::Open { path: path.to_owned(), mend: format!("chmod 700 {}", quoted(path)) })
        }
        _ => Ok(()),
    }
}

/// Checks that nobody can exchange the folder. The path is checked as it is written and with its
/// links resolved.
pub(super) fn check_above(path: &Path) -> Result<(), Exposed> {
    let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(nearest) = written.ancestors().skip(1).find(|above| above.is_dir()) else { return Ok(()) };
    let without_links = nearest.canonicalize().unwrap_or_else(|_| nearest.to_owned());
    for above in nearest.ancestors().chain(without_links.ancestors()) {
        let Ok(found) = std::fs::metadata(above) else { continue };
        let (path, above) = (path.to_owned(), above.to_owned());
        if !Author(found.uid()).is_trusted() {
            let mend = format!("{}chown {} {}", sudo_unless(false), user(), quoted(&above));
            return Err(Exposed::OwnerAbove { path, above, instead: run_as(found.uid()), mend });
        }
        if others_may_rename_in(&found) {
            let mend = format!("{}chmod go-w {}", sudo_unless(found.uid() == user()), quoted(&above));
            return Err(Exposed::Exchangeable { path, above, mend });
        }
    }
    Ok(())
}

/// Whether users other than the owner of a folder may rename entries that are not theirs.
fn others_may_rename_in(folder: &Metadata) -> bool {
    let by_group =
        folder.mode() & GROUP_WRITES != 0 && folder.uid() != ROOT && folder.gid() != getegid().as_raw();
    let by_everybody = folder.mode() & EVERYBODY_WRITES != 0;
    (by_group || by_everybody) && folder.mode() & STICKY == 0
}

/// The command line that runs salver as a user.
fn run_as(owner: u32) -> String {
    match owner {
        ROOT => "run `sudo salver ...`".to_owned(),
        owner => format!("run `sudo -u '#{owner}' salver ...`"),
    }
}

/// The command that takes the right to write from everybody.
fn closing(path: &Path) -> String {
    let owner = std::fs::metadata(path).map_or(ROOT, |found| found.uid());
    format!("{}chmod o-w {}", sudo_unless(owner == user()), quoted(path))
}

/// The command that gives a file or folder to the user who runs this.
fn take(path: &Path) -> String {
    format!("{}chown -R {} {}", sudo_unless(false), user(), quoted(path))
}

/// The start of a command that may need root.
fn sudo_unless(allowed: bool) -> &'static str {
    if allowed || user() == ROOT { "" } else { "sudo " }
}

pub(super) fn remove_link(path: &Path) -> String {
    format!("rm {}", quoted(path))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c)) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn user() -> u32 {
    geteuid().as_raw()
}

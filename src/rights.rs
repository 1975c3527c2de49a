//! Who else may read or change what salver keeps and what it obeys.
//!
//! Why: the spool names a server by its anonymous ids, and the settings and catalogues decide what leaves it and where it goes.
//! Whoever can write to them, or put something else in their place, decides in salver's stead.
//!
//! The rules for a private folder, the same for every command and checked before anything in it is opened:
//!
//! 1. **It is its owner's alone**: 0700 on Unix; on Windows administrators, SYSTEM and the account that made it, and service
//!    accounts of Windows if an administrator lets them in.
//! 2. **Only its owner works in it.** On Unix that leaves out root too: what root made there would belong to root, and the
//!    service that owns the folder could not go on. The error names the `sudo -u` to use instead. On Windows new files take
//!    the access list of their folder, so there administrators may work in the folder of a service account.
//! 3. **No link** in its place or directly in it. Deeper ones are its owner's doing: nobody else can get there.
//! 4. **Nobody can exchange it.** On Unix a folder above it that everybody may write to is refused unless it is sticky, as
//!    `/tmp` is; groups are trusted, since many systems give each user one of their own. On Windows the folder right above it
//!    is looked at, since below `%ProgramData%` everybody may make one: it belongs to whom the spool may belong to, and
//!    nobody else may remove what is in it.
//! 5. **What cannot be checked is refused**, such as access lists on a FAT disk: a spool that is open to all without saying
//!    so would be worse than one that has to be moved.
//!
//! Those for what salver obeys stand in settings/trust.rs. How each system answers stands in unix.rs and windows.rs; the
//! decisions about access lists in access.rs are tested on every system. That Windows keeps the lists as written was only
//! seen under wine.

#[cfg(any(windows, test))]
#[cfg_attr(not(windows), allow(dead_code, reason = "on other systems only its tests use it"))]
mod access;
#[cfg(unix)]
#[path = "rights/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "rights/windows.rs"]
mod system;

use std::path::{Path, PathBuf};

pub use system::keep_new_files_private;
pub(crate) use system::{Author, check_above, make_private};

/// Somebody else may be, or may have been, at a path. The text names the path, the cause, and a command that mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// A link stands where the folder should.
    #[error(
        "{}: a link stands in place of this folder, and whoever may change it decides where records go; name the folder \
         that it leads to, or remove the link with `{mend}`",
        path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
        /// The command that removes it.
        mend: String,
    },
    /// A link stands where a file in the folder should.
    #[error("{}: a link stands where salver keeps something of its own; remove it with `{mend}`", path.display())]
    LinkWithin {
        /// The link.
        path: PathBuf,
        /// The command that removes it.
        mend: String,
    },
    /// The folder belongs to somebody else.
    #[error(
        "{}: this folder belongs to another user, and only its owner works in it; {instead}, or make it yours with `{mend}`",
        path.display()
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// How to be that user.
        instead: String,
        /// The command that changes the owner.
        mend: String,
    },
    /// Others may enter the folder.
    #[error("{}: others than its owner may read or write this folder; run `{mend}`", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// The command that shuts it.
        mend: String,
    },
    /// Others may put something else in its place.
    #[error(
        "{}: others may change {} and so put something else in its place; name another place, or run `{mend}`",
        path.display(), above.display()
    )]
    Exchangeable {
        /// The folder or file.
        path: PathBuf,
        /// The folder above it.
        above: PathBuf,
        /// The command that shuts that one.
        mend: String,
    },
    /// This user may not even ask.
    #[error("{}: the user who runs salver has no right to this; {instead}", path.display())]
    Denied {
        /// What was asked about.
        path: PathBuf,
        /// Who has.
        instead: &'static str,
    },
    /// The operating system did not tell.
    #[error("{}: cannot tell who may use this: {cause}; it needs a local disk that keeps rights", path.display())]
    Unknown {
        /// What was asked about.
        path: PathBuf,
        /// The system's answer.
        cause: String,
    },
}

/// Checks that a folder, or what is to become one, is where it seems to be, and its owner's. What is not there is exposed
/// to nobody, and what is no folder is left to whoever opens it.
pub(crate) fn check_place(path: &Path) -> Result<(), Exposed> {
    check_above(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            return Err(Exposed::Link { path: path.to_owned(), mend: system::remove_link(path) });
        }
        Ok(found) if found.is_dir() => system::check_owner(path)?,
        _ => return Ok(()),
    }
    // Of a folder that cannot be listed, whoever opens it says why.
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            return Err(Exposed::LinkWithin { mend: system::remove_link(&entry.path()), path: entry.path() });
        }
    }
    Ok(())
}

/// Checks a private folder: its place, and that nobody else may enter it.
pub(crate) fn check_private(path: &Path) -> Result<(), Exposed> {
    check_place(path)?;
    if path.is_dir() { system::check_shut(path) } else { Ok(()) }
}

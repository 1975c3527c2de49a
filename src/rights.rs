//! Access rights: who else may read or change the spool, the settings and the catalogues.
//!
//! Why: the spool names a server by its anonymous ids, and the settings and catalogues decide which
//! values leave it and where they go. A user who can write to them, or exchange them, makes these
//! decisions instead of the admin.
//!
//! The rules for a private folder, the same for every command and checked before anything in it is
//! opened:
//!
//! 1. **It is its owner's alone**: 0700 on Unix; on Windows an access list that inherits nothing
//!    and lets in administrators, SYSTEM and the account that made it.
//! 2. **Only its owner works in it.** On Unix that leaves out root too: what root made there would
//!    belong to root, and the service that owns the folder could not go on. The error names the
//!    `sudo -u` to use instead. On Windows new files take the access list of their folder, so there
//!    administrators and SYSTEM may own it as well.
//! 3. **No link** in its place or directly in it. Only its owner can make deeper ones.
//! 4. **Nobody can exchange it.** On Unix each folder above it belongs to root or its owner, and
//!    nobody else may rename what is in it (as with `StrictModes` of sshd). Sticky folders such as
//!    `/tmp` are fine, and so are those that a group may write to if root decided that, or if it is
//!    the user's own group, which many systems give to each user alone. On Windows this is not
//!    checked: a user who puts another folder in its place owns that folder, so rule 2 refuses it.
//! 5. **Unknown rights are refused**, such as those on a FAT disk, which keeps no access lists.
//!
//! The rules for settings and catalogues stand in settings/trust.rs. unix.rs and windows.rs query
//! the operating system; access.rs reads access lists and is tested on every system. Tested on
//! wine, not yet on a real Windows.

#[cfg(any(windows, test))]
mod access;
#[cfg(unix)]
#[path = "rights/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "rights/windows.rs"]
mod system;

use std::path::{Path, PathBuf};

pub use system::keep_new_files_private;
pub(crate) use system::{Author, make_private};

/// Other users have, or may have had, access to a path. The text names the path, the cause, and a
/// command that mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// A link stands where the folder should.
    #[error(
        "{}: a link stands in place of this folder, and a user who can change the link decides where records go; name the folder \
         that it leads to, or remove the link with `{mend}`",
        path.display()
    )]
    Link { path: PathBuf, mend: String },
    /// A link stands where a file in the folder should.
    #[error("{}: a link stands where salver keeps something of its own; remove it with `{mend}`", path.display())]
    LinkWithin { path: PathBuf, mend: String },
    /// The folder belongs to another user.
    #[error(
        "{}: this folder belongs to another user, and only its owner works in it; {instead}, or make it yours with `{mend}`",
        path.display()
    )]
    Owner {
        path: PathBuf,
        /// How to run as that user.
        instead: String,
        /// The command that changes the owner.
        mend: String,
    },
    /// Another user could exchange the folder.
    #[error(
        "{}: others may write to {}, a folder above it, and could put something else in its place; name another place, or \
         run `{mend}`",
        path.display(), above.display()
    )]
    Exchangeable { path: PathBuf, above: PathBuf, mend: String },
    /// A folder above it belongs to another user, who could exchange it.
    #[error(
        "{}: {}, a folder above it, belongs to another user, who could put something else in its place; {instead}, name \
         another place, or, if nobody else needs that folder, run `{mend}`",
        path.display(), above.display()
    )]
    OwnerAbove { path: PathBuf, above: PathBuf, instead: String, mend: String },
    /// The operating system did not tell the owner.
    #[error("{}: cannot tell who may use this folder ({cause}); {instead}", path.display())]
    Unknown { path: PathBuf, cause: String, instead: &'static str },
    /// Others may enter the folder.
    #[error("{}: others than its owner may read or write this folder; run `{mend}`", path.display())]
    Open { path: PathBuf, mend: String },
}

/// Checks that a folder, which need not exist yet, is its owner's and that nobody else can exchange
/// it. A path that is no folder is left to the code that opens it.
pub(crate) fn check_place(path: &Path) -> Result<(), Exposed> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            return Err(Exposed::Link { path: path.to_owned(), mend: system::remove_link(path) });
        }
        Ok(found) if found.is_dir() => system::check_owner(path)?,
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    system::check_above(path)?;
    // A folder that cannot be listed is an error when it is opened.
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

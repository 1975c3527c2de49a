//! Who else may read or change what salver keeps and what it obeys.
//!
//! Why: the spool names a server by its anonymous ids, and the settings and catalogues decide what
//! leaves it and where it goes. Whoever can write to them, or put something else in their place,
//! decides in salver's stead.
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
//! 3. **No link** in its place or directly in it. Deeper ones are its owner's doing: nobody else
//!    can get there.
//! 4. **Nobody can exchange it.** On Unix each folder above it belongs to root or its owner, and
//!    nobody else may rename what is in it (as with `StrictModes` of sshd). Sticky folders such as
//!    `/tmp` are fine, and so are those that a group may write to if root decided that, or if it is
//!    the user's own group, which many systems give to each user alone. On Windows this is not
//!    looked at: who puts another folder in its place owns that, so rule 2 tells.
//! 5. **What cannot be asked is refused**, such as access lists on a FAT disk.
//!
//! Those for what salver obeys stand in settings/trust.rs. How each system is asked stands in
//! unix.rs and windows.rs; what an access list says is read in access.rs, which is tested on every
//! system. Real Windows was not tried, only wine.

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

/// Somebody else may be, or may have been, at a path. The text names the path, the cause, and a
/// command that mends it.
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
    /// Somebody else may put something else in its place.
    #[error(
        "{}: others may write to {}, a folder above it, and could put something else in its place; name another place, or \
         run `{mend}`",
        path.display(), above.display()
    )]
    Exchangeable {
        /// The folder.
        path: PathBuf,
        /// The one above it.
        above: PathBuf,
        /// The command that shuts that one.
        mend: String,
    },
    /// A folder above it belongs to somebody else, who may put something else in its place.
    #[error(
        "{}: {}, a folder above it, belongs to another user, who could put something else in its place; {instead}, name \
         another place, or, if nobody else needs that folder, run `{mend}`",
        path.display(), above.display()
    )]
    OwnerAbove {
        /// The folder.
        path: PathBuf,
        /// The one above it.
        above: PathBuf,
        /// How to be that user.
        instead: String,
        /// The command that changes the owner.
        mend: String,
    },
    /// The operating system did not tell whose it is.
    #[error("{}: cannot tell who may use this folder ({cause}); {instead}", path.display())]
    Unknown {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        cause: String,
        /// What to do.
        instead: &'static str,
    },
    /// Others may enter the folder.
    #[error("{}: others than its owner may read or write this folder; run `{mend}`", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// The command that shuts it.
        mend: String,
    },
}

/// Checks that a folder, or what is to become one, is where it seems to be, and its owner's. What
/// is not there is exposed to nobody, and what is no folder is left to whoever opens it.
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

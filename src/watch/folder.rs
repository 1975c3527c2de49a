//! What differs between operating systems in watching folders.
//!
//! - **Linux** (inotify): a watch follows the folder and not the path, so a folder that is moved away takes its watch along, and one that is
//!   made anew has none. Folders are therefore told apart by device and inode, and every folder above is watched
//!   for the names on the way, which is cheap. Two paths to one folder (bind mounts) share a watch.
//! - **macOS** (FSEvents): a watch follows the path, and a folder cannot be watched without all that is below it. So only the
//!   nearest folders are watched; the poll finds out about the others.
//! - **Windows** (`ReadDirectoryChangesW`): the handle on a watched folder keeps every folder *above* it from being renamed. An
//!   upgrade that writes into the tool's folder, or replaces files in it, is not disturbed; one that renames the whole folder needs
//!   salver to be stopped for that moment. A watched folder that is deleted is let go of. Where more happens in a folder at
//!   once than the buffer holds, what was missed is not told; the poll finds it.
//!   The library that asks for the events wakes up ten times a second there, whether anything happens or not.
//!   Names come back in the case that the disk has, so case is no difference there.
//!
//! Only Linux was tried for real, Windows under wine.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// So many folders above a file are watched; folders with links on the way in any case.
pub const NEAR: usize = if cfg!(any(target_os = "linux", target_os = "android")) { usize::MAX } else { 3 };

/// A folder, by whatever path it is reached.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderId(u64, u64);

/// A folder, by its path.
#[cfg(not(unix))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderId(std::path::PathBuf);

impl FolderId {
    /// Of the folder that stands at a path now, if one does.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<FolderId> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(FolderId(metadata.dev(), metadata.ino()))
    }

    /// Of the folder that stands at a path now, if one does.
    #[cfg(not(unix))]
    pub fn of(path: &Path) -> Option<FolderId> {
        path.is_dir().then(|| FolderId(plain(path.as_os_str()).into()))
    }

    /// For tests that have no disk.
    #[cfg(test)]
    pub fn number(number: u8) -> FolderId {
        #[cfg(unix)]
        return FolderId(0, number.into());
        #[cfg(not(unix))]
        return FolderId(number.to_string().into());
    }
}

/// A name or path in the spelling in which it is compared.
pub fn plain(name: &OsStr) -> OsString {
    if cfg!(any(windows, target_os = "macos")) {
        name.to_string_lossy().to_lowercase().into()
    } else {
        name.to_owned()
    }
}

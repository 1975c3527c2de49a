//! The differences between operating systems in watching folders.
//!
//! - **Linux** (inotify): a watch follows the folder and not the path, so a folder that is moved
//!   away takes its watch along, and a new one at the same path has none. Folders are therefore
//!   told apart by device and inode. A watch reports that its own folder was moved or deleted. Two
//!   paths to one folder (bind mounts) share a watch. notify subscribes to every opening of a file
//!   as well: a watch on `/etc` would wake this program whenever any program starts. So the folder
//!   of the file and the one above are watched, and folders at the top of the file system only
//!   where there is no other; the poll covers the rest.
//! - **macOS** (FSEvents): a watch follows the path and always covers everything below it. So only
//!   the nearest folders are watched, as on Linux.
//! - **Windows** (`ReadDirectoryChangesW`): the handle on a watched folder keeps every folder
//!   *above* it from being renamed. An upgrade that writes into the tool's folder, or replaces
//!   files in it, is not disturbed; one that renames the whole folder needs salver to be stopped
//!   for that moment. A watched folder that is deleted is let go of. More events at once than the
//!   buffer holds are lost without a sign; the poll finds those changes. notify wakes up ten times
//!   a second there, whether anything happens or not. Names come back in the case that the disk
//!   has, so case makes no difference there.
//!
//! Tested on Linux, and on Windows under wine.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// How many folders on the path to a file are watched, from its own upwards. The folder of the
/// file, or the last one that exists, and folders with links on the path are watched in any case.
pub const NEAR: usize = if cfg!(target_os = "linux") { 2 } else { 3 };

/// Whether every program of the system opens files in this folder.
pub fn is_crowded(folder: &Path) -> bool {
    cfg!(target_os = "linux") && folder.components().count() <= 2
}

/// A folder, whatever path leads to it.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderId(u64, u64);

/// A folder, by its path.
#[cfg(not(unix))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderId(std::path::PathBuf);

impl FolderId {
    /// The folder that stands at a path now.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<FolderId> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(FolderId(metadata.dev(), metadata.ino()))
    }

    /// The folder that stands at a path now.
    #[cfg(not(unix))]
    pub fn of(path: &Path) -> Option<FolderId> {
        path.is_dir().then(|| FolderId(comparable(path.as_os_str()).into()))
    }

    /// For tests without a disk.
    #[cfg(test)]
    pub fn number(number: u8) -> FolderId {
        #[cfg(unix)]
        return FolderId(0, number.into());
        #[cfg(not(unix))]
        return FolderId(number.to_string().into());
    }
}

/// A name or path in the spelling in which names are compared.
pub fn comparable(name: &OsStr) -> OsString {
    if cfg!(any(windows, target_os = "macos")) {
        name.to_string_lossy().to_lowercase().into()
    } else {
        name.to_owned()
    }
}

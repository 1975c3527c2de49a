//! Files and folders: reading, syncing and removing them, with errors that name the path.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::{Doing, SpoolError};

/// Size and checksum of the files of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub bytes: u64,
    pub crc: u32,
}

/// Size and checksum of all files in a folder; an absent folder has none.
pub(super) fn checksum(folder: &Path) -> Result<Checksum, SpoolError> {
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    // In portions: a whole file in memory would be most of what the program needs of it.
    let mut portion = vec![0; 64 * 1024];
    for file in files(folder)? {
        hasher.update(file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().as_bytes());
        let mut content = File::open(&file).doing("read", &file)?;
        loop {
            match content.read(&mut portion) {
                Ok(0) => break,
                Ok(length) => {
                    bytes += length as u64;
                    hasher.update(&portion[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).doing("read", &file),
            }
        }
    }
    Ok(Checksum { bytes, crc: hasher.finalize() })
}

/// Size of all files in a folder.
pub(super) fn bytes(folder: &Path) -> Result<u64, SpoolError> {
    let size = |file: &PathBuf| match file.metadata() {
        // sled replaces its snapshots while it writes.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        metadata => metadata.map(|metadata| metadata.len()).doing("look at", file),
    };
    files(folder)?.iter().map(size).sum()
}

/// The files in a folder and in the folders below, sorted; none if the folder is absent.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.doing("list", folder)?,
    };
    for entry in entries {
        let entry = entry.doing("list", folder)?;
        let kind = entry.file_type().doing("look at", &entry.path())?;
        match kind.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    Ok(found)
}

/// Opens a file for reading. What somebody else put in its place, such as a FIFO, is never waited for.
pub(super) fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    options.read(true).open(path)
}

/// Syncs a folder, so that names made or removed in it stay so. On Windows folders cannot be synced;
/// there NTFS's journal orders such changes.
pub(super) fn sync_folder(folder: &Path) -> Result<(), SpoolError> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).doing("sync the folder", folder)?;
    }
    Ok(())
}

/// Syncs a folder above the spool. An account that may not list it cannot sync it either; the new
/// name in it is then left to the file system.
pub(super) fn sync_folder_above(folder: &Path) -> Result<(), SpoolError> {
    match sync_folder(folder) {
        Err(SpoolError::Io { cause, .. }) if cause.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Syncs all files in a folder, and the names that lead to them.
pub(super) fn sync_whole(folder: &Path) -> Result<(), SpoolError> {
    for file in files(folder)? {
        let opened = File::options().read(true).write(true).open(&file);
        opened.and_then(|file| file.sync_all()).doing("sync", &file)?;
    }
    sync_folder(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Replaces a file of the spool: when this returns the new one is on stable storage, and until then
/// the old one is whole.
pub(super) fn replace(spool: &Path, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
    let path = spool.join(name);
    let fresh = spool.join(format!("{name}.new"));
    let file = File::create(&fresh);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).doing("write", &fresh)?;
    std::fs::rename(&fresh, &path).doing("replace", &path)?;
    sync_folder(spool)
}

/// Removes a folder and all in it, and returns when it is gone. On Windows a file that somebody holds
/// open lingers, so this tries again for a while.
pub(super) fn remove_folder(path: &Path) -> Result<(), SpoolError> {
    let started = Instant::now();
    loop {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(_) if cfg!(windows) && started.elapsed() < Duration::from_secs(2) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error).doing("remove", path),
        }
    }
}

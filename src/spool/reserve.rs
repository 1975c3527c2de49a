//! The reserve: room that nobody else on a full disk can take.
//!
//! Why: what frees room needs some first. A commit may need a block more, and a purge writes a segment anew
//! before the old one may go. So a file of that size lies in the folder. A step that lets records leave (a
//! flush, a purge, withdrawn consent, retention) releases it where the disk is short of room, and it is
//! made again when the spool is closed. Recording never uses it: the first record that finds the disk
//! full would use it up. Reading needs no room.
//!
//! # Invariants
//!
//! 1. Its blocks are allocated: it is filled with bytes that no file system can compress or leave out, and synced.
//! 2. It is as large as the largest segment that may have to be written anew, and [`ROOM`] for the steps
//!    around that.
//! 3. It is part of the folder's `maxBytes`, gives way to records where that is narrow, and shrinks with the
//!    largest segment.
//! 4. It never fills a disk: it grows into half of what is free at most. What was released is taken back
//!    whole.
//!
//! What it cannot promise: where snapshots keep blocks, or every change is written to a new place (btrfs,
//! ZFS, ReFS), removing a file need not free its room at once.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::error::{self, Doing, SpoolError};
use super::files;
use super::manifest::Manifest;
use super::store::LOG_PIECE;

/// The file's name.
const FILE: &str = "reserve";

/// What commits, the dedup index and a new folder may add to the files, in bytes.
pub(super) const ROOM: u64 = 2 * LOG_PIECE as u64;

/// It grows and shrinks by as many bytes, so that few records change it.
const STEP: u64 = LOG_PIECE as u64;

/// How large the reserve of a spool has to be.
pub(super) fn wanted(manifest: &Manifest) -> u64 {
    let largest = manifest.segments.iter().map(|entry| entry.frame_bytes).max().unwrap_or(0);
    ROOM + largest.next_multiple_of(STEP)
}

/// How large it may be within the limit on the folder's bytes. `other_bytes` are those outside of
/// segments.
pub(super) fn allowed(manifest: &Manifest, other_bytes: u64, max_bytes: u64) -> u64 {
    let segments: u64 = manifest.segments.iter().map(|entry| entry.bytes()).sum();
    wanted(manifest).min(max_bytes.saturating_sub(segments + other_bytes))
}

/// Bytes that are free on the disk of a folder, as far as the system tells.
pub(super) fn free(spool: &Path) -> Option<u64> {
    fs4::available_space(spool).ok()
}

/// Releases the reserve and returns its size.
pub(super) fn release(spool: &Path) -> Result<u64, SpoolError> {
    let path = spool.join(FILE);
    let size = size(spool);
    if size > 0 {
        std::fs::remove_file(&path).doing("remove", &path)?;
        tracing::info!(bytes = size, "the disk is full: the spool uses its reserve to let records leave");
    }
    Ok(size)
}

/// Makes the reserve this large, or as large as there is room for. `released` is what was released before,
/// and is taken back as far as nobody else took it.
pub(super) fn keep(spool: &Path, wanted: u64, released: u64) -> Result<(), SpoolError> {
    let size = size(spool);
    if size == wanted {
        return Ok(());
    }
    let path = spool.join(FILE);
    if size > wanted {
        let file = File::options().write(true).open(&path).doing("open", &path)?;
        return file.set_len(wanted).doing("shrink", &path);
    }
    let room = free(spool).unwrap_or(0) / 2 / STEP * STEP;
    let most = wanted.min(released.max(size + room));
    if most == size {
        return Ok(());
    }
    match fill(&path, size, most) {
        // What was given up and is taken by somebody else by now cannot be had back.
        Err(error) if error::is_full(&error) => Ok(()),
        filled => filled.doing("fill", &path),
    }?;
    if size == 0 { files::sync_folder(spool) } else { Ok(()) }
}

fn size(spool: &Path) -> u64 {
    std::fs::metadata(spool.join(FILE)).map_or(0, |file| file.len())
}

/// Writes the file from `from` to `to`.
fn fill(path: &Path, from: u64, to: u64) -> std::io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut piece = vec![0; LOG_PIECE];
    let mut left = to - from;
    while left > 0 {
        getrandom::fill(&mut piece)?;
        let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&piece[..length])?;
        left -= length as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_shrinks_to_its_size_and_its_blocks_are_allocated() {
        let folder = tempfile::tempdir().unwrap();
        for wanted in [3 * STEP, 5 * STEP, STEP, 2 * STEP] {
            keep(folder.path(), wanted, 0).unwrap();
            let file = std::fs::metadata(folder.path().join(FILE)).unwrap();
            assert_eq!(file.len(), wanted);
            #[cfg(unix)]
            assert!(std::os::unix::fs::MetadataExt::blocks(&file) * 512 >= wanted);
        }
        assert_eq!(release(folder.path()).unwrap(), 2 * STEP);
        assert_eq!((size(folder.path()), release(folder.path()).unwrap()), (0, 0));
    }
}

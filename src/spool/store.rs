//! One small sled database in a folder of its own: opened, used, closed.
//!
//! Why a wrapper: sled 0.34.7 has habits that must not reach the rest (measured; see the module docs of the spool). Its `flush`
//! does not sync to stable storage, it turns a second opener away at once, it lets go of its lock late, it can panic on
//! damaged files, and its cache defaults to 1 GB. Here a commit returns after an fdatasync, opening waits, closing waits
//! until the lock is free, and a panic becomes an error. This is the only file that names sled.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::{Doing, SpoolError};

/// What sled may keep of a database in memory. A whole segment fits in it.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The pieces in which sled writes its log and takes room back. Measured with records of 371 bytes: a database takes 1,050 bytes
/// a record with sled's own 512 KiB, 830 with this.
pub(super) const LOG_PIECE: usize = 128 * 1024;

/// sled writes a value, and a leaf of up to 17 of them, to its log only while it is smaller than this; a larger one becomes a
/// file of its own each time it is written.
pub(super) const LEAF_BYTES: usize = LOG_PIECE / 4;

/// How long the late release of sled's own lock is waited out; measured: up to 9 ms.
const LATE_RELEASE: Duration = Duration::from_secs(5);

/// What sled's log grows by: room for some dozen records, and little enough to be no burden where a segment ends.
static GROWTH: [u8; LOG_PIECE / 4] = [0; LOG_PIECE / 4];

/// The file sled keeps its log in.
const LOG: &str = "db";

/// An open database.
pub(super) struct Store {
    path: PathBuf,
    db: sled::Db,
    /// sled's log, opened once more: what sled calls a flush is not one, so each commit syncs it.
    log: File,
}

/// Size and checksum of a database's files while it is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub bytes: u64,
    pub crc: u32,
}

/// Changes that become durable together or not at all.
#[derive(Default)]
pub(super) struct Changes(sled::Batch);

impl Changes {
    pub(super) fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl Store {
    /// Opens the database in `path`, or makes one.
    pub(super) fn open(path: &Path) -> Result<Store, SpoolError> {
        remove_half_written_snapshots(path)?;
        let fresh = !path.join(LOG).exists();
        let started = Instant::now();
        loop {
            let config = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .segment_size(LOG_PIECE)
                .mode(sled::Mode::LowSpace)
                .use_compression(false)
                .flush_every_ms(None);
            match contained(path, || config.open()) {
                Ok(db) => {
                    if fresh {
                        sync_whole(path)?;
                    }
                    let log = open_log(path)?;
                    return Ok(Store { path: path.to_owned(), db, log });
                }
                // sled hands the lock's answer on as text.
                Err(SpoolError::Io { cause, .. })
                    if cause.to_string().contains("WouldBlock") && started.elapsed() < LATE_RELEASE =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SpoolError> {
        Ok(contained(&self.path, || self.db.get(key))?.map(|value| value.to_vec()))
    }

    /// Keys and values from `from` on, ascending, while the key starts with `prefix`.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<Go, SpoolError>,
    ) -> Result<(), SpoolError> {
        let mut entries = self.db.range(from.to_vec()..);
        while let Some((key, value)) = contained(&self.path, || entries.next().transpose())? {
            if !key.starts_with(prefix) || each(&key, &value)? == Go::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Makes the changes durable: when this returns they are on stable storage.
    pub(super) fn commit(&self, changes: Changes) -> Result<(), SpoolError> {
        contained(&self.path, || self.db.apply_batch(changes.0))?;
        self.sync()
    }

    /// Adds entries with one sync for all: when this returns they are on stable storage. Unlike `commit` it is not all or
    /// nothing; after a crash an entry may be there without those behind it, but never without those before it. It is
    /// cheaper: sled writes a log of its own for the bounds of each batch, and waits for it.
    pub(super) fn append(&self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), SpoolError> {
        for (key, value) in entries {
            contained(&self.path, || self.db.insert(key, value))?;
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), SpoolError> {
        contained(&self.path, || self.db.flush())?;
        // On a disk without room for it every sync takes longer, and that is all.
        _ = self.grow_ahead();
        self.log.sync_data().doing("sync", &self.path)
    }

    /// Lets the log grow in steps, up to the end of sled's piece, with zeros behind what sled wrote; sled takes them for the end
    /// of its log, and writes the same when it opens one. Why: a write that makes the file longer has the sync wait for the
    /// file's length as well.
    fn grow_ahead(&self) -> std::io::Result<()> {
        if cfg!(windows) {
            // There sled's lock keeps everybody else from writing, this process included.
            return Ok(());
        }
        // Asking for the metadata instead would have the file system date the next write exactly, and write that down too.
        let begun = (&self.log).seek(SeekFrom::End(0))? as usize % GROWTH.len();
        // The file is open for appending: whatever sled writes meanwhile, this cannot overwrite it.
        if begun > 0 { (&self.log).write_all(&GROWTH[begun..]) } else { Ok(()) }
    }

    /// Closes the database, waits until sled let go of it, and tells the checksum of its files.
    pub(super) fn close(self) -> Result<Checksum, SpoolError> {
        let Store { path, db, log } = self;
        contained(&path, || {
            drop(db);
            Ok(())
        })?;
        wait_for_release(log);
        checksum(&path)
    }
}

/// Whether a scan goes on.
#[derive(PartialEq, Eq)]
pub(super) enum Go {
    On,
    Stop,
}

/// Removes the snapshot that sled was writing when its process died. sled 0.34.7 takes such a `snap.….generating` for the newest
/// snapshot (its filter leaves out an ending that it no longer uses, `.in___motion`) and calls the database corrupt from then
/// on. Nothing is lost with it: the snapshot before it stays until the new one is in place, and the log has the rest.
fn remove_half_written_snapshots(path: &Path) -> Result<(), SpoolError> {
    for file in files(path)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(&file).doing("remove", &file)?;
        }
    }
    Ok(())
}

fn open_log(path: &Path) -> Result<File, SpoolError> {
    let log = path.join(LOG);
    File::options().read(true).append(true).open(&log).doing("open", &log)
}

fn wait_for_release(log: File) {
    let started = Instant::now();
    while log.try_lock().is_err() && started.elapsed() < LATE_RELEASE {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Runs a call into sled; its errors and its panics become errors of ours.
fn contained<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, SpoolError> {
    let damaged = |what: String| SpoolError::Damaged { path: path.to_owned(), what };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(cause))) => {
            Err(SpoolError::Io { path: path.to_owned(), doing: "use the database", cause })
        }
        Ok(Err(sled::Error::Corruption { .. })) => Err(damaged("sled reports corruption".into())),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("sled panicked".into())),
    }
}

/// Size and checksum of all files of a closed database; an absent one has none.
pub(super) fn checksum(path: &Path) -> Result<Checksum, SpoolError> {
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    // In pieces: a file whole in memory would be most of what the program needs of it.
    let mut piece = vec![0; 64 * 1024];
    for file in files(path)? {
        hasher.update(file.strip_prefix(path).unwrap_or(&file).to_string_lossy().as_bytes());
        let mut content = File::open(&file).doing("read", &file)?;
        loop {
            match content.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    bytes += length as u64;
                    hasher.update(&piece[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).doing("read", &file),
            }
        }
    }
    Ok(Checksum { bytes, crc: hasher.finalize() })
}

/// Size of all files of a database, open or closed.
pub(super) fn bytes(path: &Path) -> Result<u64, SpoolError> {
    let size = |file: &PathBuf| file.metadata().map(|metadata| metadata.len()).doing("look at", file);
    files(path)?.iter().map(size).sum()
}

/// The raw bytes of each file of a database, without asking sled.
pub(super) fn raw_files(path: &Path) -> Result<Vec<Vec<u8>>, SpoolError> {
    files(path)?.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, SpoolError> {
    let mut content = Vec::new();
    File::open(file).and_then(|mut f| f.read_to_end(&mut content)).doing("read", file)?;
    Ok(content)
}

/// The files of a folder and of the folders in it, sorted.
fn files(path: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.doing("list", path)?,
    };
    for entry in entries {
        let entry = entry.doing("list", path)?.path();
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// Syncs a folder, so that files made, renamed or removed in it stay so. On Windows folders cannot be synced; there
/// NTFS's journal orders such changes.
pub(super) fn sync_folder(folder: &Path) -> Result<(), SpoolError> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).doing("sync the folder", folder)?;
    }
    Ok(())
}

/// Syncs a database that was just made, and the names that lead to it: a commit syncs its log only.
fn sync_whole(path: &Path) -> Result<(), SpoolError> {
    for file in files(path)? {
        let opened = File::options().read(true).write(true).open(&file);
        opened.and_then(|file| file.sync_all()).doing("sync", &file)?;
    }
    sync_folder(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes a folder and all in it, and says so only when it is gone. On Windows a file somebody holds open lingers, so
/// this tries again for a while.
pub(super) fn remove_folder(path: &Path) -> Result<(), SpoolError> {
    let started = Instant::now();
    loop {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(_) if started.elapsed() < Duration::from_secs(2) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error).doing("remove", path),
        }
    }
}

#[cfg(all(test, unix))]
mod tests;

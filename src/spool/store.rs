//! One small sled database in a folder of its own: made or opened, appended to, closed.
//!
//! Why a wrapper: sled 0.34.7 has habits that must not reach the rest (measured; see the module docs
//! of the spool). Its `flush` does not sync to stable storage, it turns a second opener away at once,
//! it releases its lock late, it panics where a disk fails, and its cache defaults to 1 GB. Here an
//! append returns after an fdatasync, opening waits, closing waits until the lock is free, and a panic
//! becomes an error. This is the only file that names sled.

use std::any::Any;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Doing, SpoolError};
use super::files::{self, Checksum};

/// What sled may keep of a database in memory. A whole segment fits in it.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The pieces in which sled writes its log and takes room back. Measured with records of 371 bytes: a
/// database takes 1,050 bytes a record with sled's own 512 KiB, 830 with this.
pub(super) const LOG_PIECE: usize = 128 * 1024;

/// sled writes a value, and a leaf of up to 17 of them, to its log only while it is smaller than this;
/// a larger one becomes a file of its own each time it is written.
pub(super) const LEAF_BYTES: usize = LOG_PIECE / 4;

/// How long to wait for the late release of sled's own lock; measured: up to 9 ms.
const LATE_RELEASE: Duration = Duration::from_secs(5);

/// What sled's log grows by: room for some dozen records, and little enough to be no burden where a
/// segment ends.
static GROWTH: [u8; LOG_PIECE / 4] = [0; LOG_PIECE / 4];

/// The file sled keeps its log in.
const LOG: &str = "db";

/// An open database.
pub(super) struct Store {
    path: PathBuf,
    /// `None` once a call failed: then sled's own cleaning up is not run, as it panics on a failing disk.
    db: Option<sled::Db>,
    /// sled's log, opened once more: what sled calls a flush is not one, so each append syncs it.
    log: File,
}

impl Store {
    /// Makes a database in a folder that holds none yet. Its files are on stable storage when this returns.
    pub(super) fn create(path: &Path) -> Result<Store, SpoolError> {
        let store = Store::open(path)?;
        files::sync_whole(path)?;
        Ok(store)
    }

    /// Opens the database in `path`.
    pub(super) fn open(path: &Path) -> Result<Store, SpoolError> {
        let started = Instant::now();
        let db = loop {
            let config = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .segment_size(LOG_PIECE)
                .mode(sled::Mode::LowSpace)
                .use_compression(false)
                .flush_every_ms(None);
            match contained(path, || config.open()) {
                // sled hands the lock's answer on as text.
                Err(SpoolError::Io { cause, .. })
                    if cause.to_string().contains("WouldBlock") && started.elapsed() < LATE_RELEASE =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                opened => break opened?,
            }
        };
        match open_log(path) {
            Ok(log) => Ok(Store { path: path.to_owned(), db: Some(db), log }),
            Err(error) => {
                std::mem::forget(db);
                Err(error)
            }
        }
    }

    pub(super) fn contains(&mut self, key: &[u8]) -> Result<bool, SpoolError> {
        self.call(|db| db.contains_key(key))
    }

    /// Appends entries with one sync for all: when this returns they are on stable storage. After a
    /// crash an entry may be there without those behind it, but never without those before it. (A batch
    /// of sled's would be all or nothing, and cost a log entry and a wait more.)
    pub(super) fn append(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), SpoolError> {
        for (key, value) in entries {
            self.call(|db| db.insert(key, value))?;
        }
        self.call(|db| db.flush())?;
        // On a disk without room for it every sync takes longer, and that is all.
        _ = self.grow_ahead();
        let synced = self.log.sync_data().doing("sync", &self.path);
        if synced.is_err() {
            self.abandon();
        }
        synced
    }

    /// Lets the log grow in steps, up to the end of sled's piece, with zeros behind what sled wrote;
    /// sled takes them for the end of its log, and writes the same when it opens one. Why: a write that
    /// makes the file longer has the sync wait for the file's length as well.
    fn grow_ahead(&self) -> io::Result<()> {
        if cfg!(windows) {
            // There sled's lock keeps everybody else from writing, this process included.
            return Ok(());
        }
        // Asking for the metadata instead would have the file system date the next write exactly, and
        // write that down too.
        let begun = (&self.log).seek(SeekFrom::End(0))? as usize % GROWTH.len();
        // The file is open for appending: whatever sled writes meanwhile, this cannot overwrite it.
        if begun > 0 { (&self.log).write_all(&GROWTH[begun..]) } else { Ok(()) }
    }

    /// Closes the database, waits until sled released it, and returns the checksum of its files.
    pub(super) fn close(mut self) -> Result<Checksum, SpoolError> {
        if let Some(db) = self.db.take() {
            contained(&self.path, || {
                drop(db);
                Ok(())
            })?;
        }
        let started = Instant::now();
        while self.log.try_lock().is_err() && started.elapsed() < LATE_RELEASE {
            std::thread::sleep(Duration::from_micros(200));
        }
        files::checksum(&self.path)
    }

    /// Calls into sled; after an error it is not called again.
    fn call<T>(&mut self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, SpoolError> {
        let Some(db) = &self.db else {
            let cause = io::Error::other("an earlier write failed");
            return Err(SpoolError::Io { path: self.path.clone(), doing: "use the database", cause });
        };
        let called = contained(&self.path, || call(db));
        if called.is_err() {
            self.abandon();
        }
        called
    }

    /// Leaves sled's database as it is. Its destructor would sync, and panic where that fails.
    pub(super) fn abandon(&mut self) {
        if let Some(db) = self.db.take() {
            std::mem::forget(db);
        }
    }
}

fn open_log(path: &Path) -> Result<File, SpoolError> {
    let log = path.join(LOG);
    File::options().read(true).append(true).open(&log).doing("open", &log)
}

/// Runs a call into sled; its errors and its panics become errors of ours.
fn contained<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, SpoolError> {
    let io = |cause| SpoolError::Io { path: path.to_owned(), doing: "use the database", cause };
    let damaged = |what: String| SpoolError::Damaged { path: path.to_owned(), what };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        // Where one thread of sled's hands an error to another, only its text is left.
        Ok(Err(sled::Error::Io(cause)))
            if cause.raw_os_error().is_none() && !cause.to_string().contains("WouldBlock") =>
        {
            Err(io(cause_in(&cause.to_string())))
        }
        Ok(Err(sled::Error::Io(cause))) => Err(io(cause)),
        Ok(Err(sled::Error::Corruption { .. })) => Err(damaged("the database reports corruption".into())),
        Ok(Err(error)) => Err(io(cause_in(&error.to_string()))),
        Err(panic) => Err(io(cause_in(text_of(&*panic)))),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// The error of the operating system that sled wrapped in a text.
fn cause_in(text: &str) -> io::Error {
    let digits = text.split_once("code: ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    let code = digits.flatten().and_then(|digits| digits.parse().ok());
    code.map_or_else(|| io::Error::other("the database failed"), io::Error::from_raw_os_error)
}

/// Whether a panic at this place is handled here, so that nobody else needs to report it.
pub(crate) fn is_contained(location: &Location<'_>) -> bool {
    let path = Path::new(location.file());
    path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("sled-0."))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn one_entry_after_another_makes_the_log_longer_only_now_and_then() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("database");
        let mut store = Store::create(&path).unwrap();
        let mut lengths: Vec<u64> = (0..64u8)
            .map(|n| {
                store.append(vec![(vec![n], vec![n; 400])]).unwrap();
                store.log.metadata().unwrap().len()
            })
            .collect();
        lengths.dedup();
        assert!(lengths.len() < 16, "{lengths:?}");
        store.close().unwrap();
        let mut reopened = Store::open(&path).unwrap();
        assert!((0..64u8).all(|n| reopened.contains(&[n]).unwrap()));
    }

    #[test]
    fn a_panic_of_sleds_about_a_disk_becomes_the_systems_error() {
        let panicking =
            || panic!("called `Result::unwrap()` on an `Err` value: Os {{ code: 28, kind: StorageFull }}");
        let error = contained::<()>(Path::new("spool"), panicking).unwrap_err();
        assert!(error.is_full(), "{error}");
    }
}

//! The spool folder: where it is, whether it is one, and how it is opened.
//!
//! # Invariants
//!
//! 1. Nothing is made or removed in a folder that does not carry the marker of a spool, except that
//!    an empty folder becomes one, and a damaged marker is written anew where the manifest or a
//!    record is ours.
//! 2. Nothing is opened at all in a folder that others may read, change or exchange (rights.rs):
//!    records name a server by its ids, and a link that somebody put there would be written
//!    through.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dedup::DedupIndex;
use super::error::{Doing, SpoolError};
use super::lock::Lock;
use super::manifest::Manifest;
use super::manifest::slots::{self, Slots, SpoolStamp};
use super::marker::{self, Marker};
use super::queue::Spool;
use super::reader::SpoolReader;
use super::recover::numbers;
use super::retention::SpoolLimits;
use super::segment::records::{Records, Wanted};
use super::{FORMAT, files, reserve, segment};
use crate::rights;

const LOCK: &str = "lock";
const FLUSH_LOCK: &str = "flush-lock";

/// Where a spool is and within which limits it is kept. Opening it is cheap: do it for each action,
/// and close it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpoolFolder {
    pub path: PathBuf,
    pub limits: SpoolLimits,
    /// How long an opener waits for others.
    pub wait: Duration,
}

/// Held while a batch is on the wire, so that two flushes never send the same one. Unlike the
/// spool's own lock it may be held while waiting for the network: it stops nobody but another
/// flush, and a purge for a while.
#[derive(Debug)]
pub struct FlushTurn {
    lock: Lock,
}

impl FlushTurn {
    /// Whether another process waits for it.
    pub fn is_wanted(&self) -> bool {
        self.lock.is_wanted()
    }
}

impl SpoolFolder {
    /// Opens the spool, making it where there is none. `now_ms` is the time in milliseconds since
    /// 1970.
    pub fn open(&self, now_ms: i64) -> Result<Spool, SpoolError> {
        self.make()?;
        if self.short_of_room().is_some() && self.is_overdue(now_ms) {
            // What has expired makes room for what is to be recorded.
            let mut spool = self.open_to_release(now_ms)?;
            spool.keep_limits()?;
            spool.close()?;
        }
        self.open_existing(now_ms)
    }

    /// Opens the spool if there is one.
    pub fn open_existing(&self, now_ms: i64) -> Result<Spool, SpoolError> {
        self.check()?;
        let lock = Lock::acquire(&self.path, LOCK, self.wait)?;
        self.open_locked(lock, slots::read(&self.path)?, now_ms, 0)
    }

    /// Opens the spool, if there is one, to let records leave it: on a full disk the reserve is
    /// used for that.
    pub fn open_to_release(&self, now_ms: i64) -> Result<Spool, SpoolError> {
        self.check()?;
        match self.open_with_reserve(now_ms, false) {
            // There is a limit that the free bytes of the disk do not tell, such as an account's
            // quota.
            Err(error) if error.is_full() => self.open_with_reserve(now_ms, true),
            opened => opened,
        }
    }

    fn open_with_reserve(&self, now_ms: i64, short: bool) -> Result<Spool, SpoolError> {
        let lock = Lock::acquire(&self.path, LOCK, self.wait)?;
        let slots = slots::read(&self.path)?;
        let needed = slots.manifest.as_deref().map_or(reserve::ROOM, reserve::wanted);
        let short = short || reserve::free(&self.path).is_none_or(|free| free < needed);
        let released = if short { reserve::release(&self.path)? } else { 0 };
        self.open_locked(lock, slots, now_ms, released)
    }

    fn open_locked(&self, lock: Lock, slots: Slots, now_ms: i64, released: u64) -> Result<Spool, SpoolError> {
        if marker::read(&self.path)? == Marker::Unknown {
            marker::write(&self.path)?;
        }
        let is_lost = slots.manifest.is_none();
        let had_one = slots.damaged > 0 && slots.empty == 0;
        let is_rebuild = is_lost && (had_one || !numbers(&self.path)?.is_empty());
        let manifest = match slots.manifest {
            Some(manifest) => *manifest,
            None => Manifest::new()
                .map_err(std::io::Error::from)
                .doing("ask for a random number for", &self.path)?,
        };
        // That of a new spool counts as changed, so that it is written.
        let committed = if is_lost { Manifest::default() } else { manifest.clone() };
        let mut spool = Spool {
            reader: SpoolReader::new(&self.path, manifest, self.limits, self.wait, now_ms),
            committed,
            dedup: DedupIndex::of(&self.path),
            active: None,
            undigested: std::collections::BTreeMap::new(),
            obsolete: Vec::new(),
            into_both_slots: is_lost,
            failed: false,
            released,
            _lock: lock,
        };
        if is_rebuild {
            spool.add_problem(LOST_MANIFEST.into());
        } else if is_lost {
            // From now on a spool without a manifest has lost it.
            spool.commit()?;
        } else if slots.damaged > 0 {
            spool.add_problem(DAMAGED_SLOT.into());
        }
        spool.reconcile(is_rebuild)?;
        spool.resume_purge();
        Ok(spool)
    }

    /// Reads the spool, if there is one, as its newest commit left it; waits for nobody and writes
    /// nothing.
    pub fn read(&self, now_ms: i64) -> Result<SpoolReader, SpoolError> {
        self.check()?;
        let slots = slots::read(&self.path)?;
        let Some(manifest) = slots.manifest else {
            let is_new = slots.damaged == 0 && numbers(&self.path)?.is_empty();
            let manifest = Manifest { next_seq: 1, next_segment: 1, ..Manifest::default() };
            return match is_new {
                true => Ok(SpoolReader::new(&self.path, manifest, self.limits, self.wait, now_ms)),
                false => Err(SpoolError::Damaged {
                    path: self.path.clone(),
                    what: "both copies of its bookkeeping, the files `manifest.0` and `manifest.1`, are missing or damaged"
                        .into(),
                }),
            };
        };
        Ok(SpoolReader::new(&self.path, *manifest, self.limits, self.wait, now_ms))
    }

    /// The stamp of the spool's newest commit, from two small reads and without the lock; `None`
    /// where there is no spool.
    pub fn stamp(&self) -> Result<Option<SpoolStamp>, SpoolError> {
        slots::stamp(&self.path)
    }

    /// Whether the retention would let records go.
    fn is_overdue(&self, now_ms: i64) -> bool {
        let before_ms = self.limits.expired_before(now_ms);
        let manifest = slots::read(&self.path).ok().and_then(|slots| slots.manifest);
        manifest.is_some_and(|it| it.segments.iter().any(|entry| entry.newest_ms < before_ms))
    }

    /// Bytes that are free on its disk, if they are too few to work with.
    pub fn short_of_room(&self) -> Option<u64> {
        reserve::free(&self.path).filter(|free| *free < reserve::ROOM)
    }

    /// Why the spool cannot be written to, such as a read-only file system. Nothing is written to
    /// find out.
    pub fn cannot_be_written(&self) -> Option<std::io::Error> {
        let opened = std::fs::File::options().write(true).open(self.path.join(LOCK));
        let denied = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
        opened.err().filter(|error| denied.contains(&error.kind()))
    }

    /// Whether a spool is there, or something of which only opening it tells what is wrong.
    pub fn exists(&self) -> bool {
        self.path.is_symlink() || marker::exists(&self.path)
    }

    /// Waits for the turn to flush, as long as an opener waits and `longer`, for others' requests.
    pub fn flush_turn(&self, longer: Duration) -> Result<FlushTurn, SpoolError> {
        self.check()?;
        match Lock::acquire(&self.path, FLUSH_LOCK, self.wait + longer) {
            Err(SpoolError::Busy { folder, holder, waited }) => {
                Err(SpoolError::Flushing { folder, holder, waited })
            }
            lock => Ok(FlushTurn { lock: lock? }),
        }
    }

    /// Checks that it is a spool, and of those who may use this one.
    fn check(&self) -> Result<(), SpoolError> {
        if !self.exists() {
            return match what_is_in(&self.path)? {
                None => Err(SpoolError::Absent { folder: self.path.clone() }),
                Some(what) => Err(SpoolError::Foreign { folder: self.path.clone(), what }),
            };
        }
        rights::check_place(&self.path)?;
        // First, so that nobody is told to change the rights of a folder that is no spool.
        self.check_marker()?;
        Ok(rights::check_private(&self.path)?)
    }

    fn check_marker(&self) -> Result<(), SpoolError> {
        let folder = self.path.clone();
        match marker::read(&self.path)? {
            Marker::Format(FORMAT) => Ok(()),
            Marker::Format(format) if format > FORMAT => Err(SpoolError::Newer { folder, format }),
            Marker::Format(format) => Err(SpoolError::Older { folder, format }),
            Marker::Absent => Err(SpoolError::Absent { folder }),
            Marker::Unknown if self.is_ours()? => Ok(()),
            Marker::Unknown => {
                let what = format!("its {} is not one of ours", marker::NAME);
                Err(SpoolError::Foreign { folder, what })
            }
        }
    }

    /// Whether a folder with a damaged marker holds a manifest or a record of ours.
    fn is_ours(&self) -> Result<bool, SpoolError> {
        if slots::read(&self.path)?.manifest.is_some() {
            return Ok(true);
        }
        for number in numbers(&self.path)? {
            let wanted = || Wanted { is: |_| true, enough: 1 };
            let folder = segment::folder(&self.path, number);
            if files::read_patiently(self.wait, || Records::read_some(&folder, wanted()))?.len() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the folder and its marker, unless they are there.
    fn make(&self) -> Result<(), SpoolError> {
        if self.exists() {
            return Ok(());
        }
        // Looked at again, since another process may be making the spool: its marker comes before
        // everything else.
        if let Some(what) = what_is_in(&self.path)?.filter(|_| !self.exists()) {
            return Err(SpoolError::Foreign { folder: self.path.clone(), what });
        }
        rights::check_place(&self.path)?;
        let above = folders_to_make(&self.path);
        rights::make_private(&self.path).doing("make the spool folder", &self.path)?;
        // Others may have been in it until now.
        rights::check_private(&self.path)?;
        marker::write(&self.path)?;
        // Each folder that got a new name.
        above.iter().try_for_each(|folder| files::sync_folder_above(folder))
    }
}

/// Both slots of the manifest were lost, and with them everything that only they hold.
const LOST_MANIFEST: &str = "both copies of the spool's bookkeeping (the files `manifest.0` and `manifest.1`) were missing or \
                             damaged, and were made anew from the records: pauses (`salver pause`), the ledger and the reasons of dead letters are lost, and some \
                             records may be sent once more";

/// One of the two slots was lost, and the other was used.
const DAMAGED_SLOT: &str = "one of the two copies of the spool's bookkeeping was cut short or damaged, and the other was used: \
                            after a power failure nothing is lost by that; otherwise the last batch may be sent once more";

/// The folders above `path` that hold, or will hold, a name which is not there yet.
fn folders_to_make(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut folders = Vec::new();
    for pair in path.ancestors().collect::<Vec<_>>().windows(2) {
        folders.push(pair[1].to_owned());
        if pair[1].is_dir() {
            break;
        }
    }
    folders
}

/// What a folder without a marker holds, in words; `None` for an empty or absent one, or one that
/// is being made.
fn what_is_in(path: &Path) -> Result<Option<String>, SpoolError> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // What the error says of it differs from system to system.
        Err(_) if path.is_file() => return Ok(Some("it is a file".into())),
        entries => entries.doing("list", path)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.doing("list", path)?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with(marker::NAME));
    Ok(match names.as_slice() {
        [] => None,
        names if names.iter().any(|name| name == "conf") && names.iter().any(|name| name == "db") => {
            Some("it holds somebody else's sled database".into())
        }
        [name, ..] => Some(format!("it holds {name}{}", if names.len() > 1 { " and more" } else { "" })),
    })
}

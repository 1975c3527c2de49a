//! The spool folder: where it is, whether it is one, and how it is opened.
//!
//! Invariants:
//!
//! 1. Nothing is opened by sled, made or removed in a folder that does not carry the marker of a spool, except that an empty
//!    folder becomes one.
//! 2. Nothing is opened at all in a folder that others may read, change or exchange (rights.rs): records name a server by
//!    its ids, and a link that somebody put there would be written through.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Doing, SpoolError};
use super::lock::Lock;
use super::queue::Spool;
use super::retention::SpoolLimits;
use super::witness::{self, Witness};
use super::{FORMAT, reconcile, reserve, state, store};
use crate::rights;

const MARKER: &str = "SALVER-SPOOL";
const MARKER_HEAD: &str = "This folder is a spool of salver. Do not change files in it by hand.\nformat ";
const LOCK: &str = "lock";
const FLUSH_LOCK: &str = "flush-lock";

/// Where a spool is and within which limits it is kept. Opening it is cheap: do it for each action, and close it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpoolFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its limits.
    pub limits: SpoolLimits,
    /// How long an opener waits for others.
    pub wait: Duration,
}

/// Held by the one who has a batch on the wire, so that two flushes never send the same one. Unlike the spool's own lock it may
/// be held while waiting for the network: it stops nobody but another flush, and a purge for a while.
#[derive(Debug)]
pub struct FlushTurn {
    lock: Lock,
}

impl FlushTurn {
    /// Whether somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.lock.is_wanted()
    }
}

impl SpoolFolder {
    /// Opens the spool, making it where there is none. `now_ms` is the time in milliseconds since 1970.
    pub fn open(&self, now_ms: i64) -> Result<Spool, SpoolError> {
        self.make()?;
        match self.open_existing(now_ms) {
            Err(error) if error.is_full() && self.is_overdue(now_ms) => {
                let mut spool = self.open_to_release(now_ms)?;
                spool.keep_limits()?;
                spool.close()?;
                self.open_existing(now_ms)
            }
            opened => opened,
        }
    }

    /// Opens the spool if there is one.
    pub fn open_existing(&self, now_ms: i64) -> Result<Spool, SpoolError> {
        self.check()?;
        let lock = Lock::acquire(&self.path, LOCK, self.wait)?;
        self.open_locked(lock, witness::read(&self.path), now_ms)
    }

    /// Opens the spool, if there is one, to let records leave it: on a full disk the reserve is used for that.
    pub fn open_to_release(&self, now_ms: i64) -> Result<Spool, SpoolError> {
        self.check()?;
        match self.open_with_reserve(now_ms, false) {
            // There is a limit that the free bytes of the disk do not tell, such as an account's quota.
            Err(error) if error.is_full() => self.open_with_reserve(now_ms, true),
            opened => opened,
        }
    }

    fn open_with_reserve(&self, now_ms: i64, short: bool) -> Result<Spool, SpoolError> {
        let lock = Lock::acquire(&self.path, LOCK, self.wait)?;
        let known = witness::read(&self.path);
        let needed = reserve::wanted(known.as_ref().unwrap_or(&Witness::default()));
        let short = short || reserve::free(&self.path).is_none_or(|free| free < needed);
        let given_up = if short { reserve::give_up(&self.path)? } else { 0 };
        let mut spool = self.open_locked(lock, known, now_ms)?;
        spool.given_up = given_up;
        Ok(spool)
    }

    /// Whether the retention would let records go.
    fn is_overdue(&self, now_ms: i64) -> bool {
        let before_ms = self.limits.expired_before(now_ms);
        witness::read(&self.path).is_some_and(|it| it.segments.iter().any(|it| it.newest_ms < before_ms))
    }

    /// Bytes that are free on its disk, if they are too few to work with.
    pub fn short_of_room(&self) -> Option<u64> {
        reserve::free(&self.path).filter(|free| *free < reserve::ROOM)
    }

    /// Whether a spool is there, or something of which only opening it tells what is wrong.
    pub fn exists(&self) -> bool {
        let absent =
            |error: std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        self.path.is_symlink() || !self.path.join(MARKER).symlink_metadata().is_err_and(absent)
    }

    /// Waits for the turn to flush, as long as an opener waits and, for others' requests, so much longer.
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

    fn open_locked(&self, lock: Lock, known: Option<Witness>, now_ms: i64) -> Result<Spool, SpoolError> {
        state::restore(&self.path)?;
        let mut state = reconcile::open_state(&self.path, known.as_ref(), now_ms)?;
        let witness = reconcile::reconcile(&self.path, known.clone(), &mut state, now_ms)?;
        let mut spool = Spool::opened(&self.path, self.limits, lock, state, witness, known, now_ms);
        spool.resume_purge()?;
        Ok(spool)
    }

    pub(super) fn check_marker(&self) -> Result<(), SpoolError> {
        let path = self.path.join(MARKER);
        let text = std::fs::read_to_string(&path).doing("read", &path)?;
        let format = text.strip_prefix(MARKER_HEAD).and_then(|rest| rest.trim().parse::<u32>().ok());
        match format {
            Some(format) if format > FORMAT => Err(SpoolError::Newer { folder: self.path.clone(), format }),
            Some(_) => Ok(()),
            None => Err(SpoolError::Foreign {
                folder: self.path.clone(),
                what: format!("its {MARKER} is not one of ours"),
            }),
        }
    }

    /// Makes the folder and its marker, unless they are there.
    fn make(&self) -> Result<(), SpoolError> {
        if self.exists() {
            return Ok(());
        }
        // Looked at again, since another process may be making the spool: its marker comes before everything else.
        if let Some(what) = what_is_in(&self.path)?.filter(|_| !self.exists()) {
            return Err(SpoolError::Foreign { folder: self.path.clone(), what });
        }
        rights::check_place(&self.path)?;
        rights::make_private(&self.path).doing("make the spool folder", &self.path)?;
        // Others may have been in it until now.
        rights::check_private(&self.path)?;
        // Written beside and renamed, so that nobody ever sees half a marker.
        let fresh = self.path.join(format!("{MARKER}.{}", std::process::id()));
        std::fs::write(&fresh, format!("{MARKER_HEAD}{FORMAT}\n")).doing("write", &fresh)?;
        std::fs::File::options()
            .write(true)
            .open(&fresh)
            .and_then(|file| file.sync_all())
            .doing("sync", &fresh)?;
        std::fs::rename(&fresh, self.path.join(MARKER)).doing("move into place", &fresh)?;
        store::sync_folder(&self.path)?;
        // Whoever may not list the folder above cannot sync it either; the name of the spool is then left to the file system.
        self.path.parent().map(store::sync_folder).transpose().or_else(|error| match error {
            SpoolError::Io { ref cause, .. } if cause.kind() == ErrorKind::PermissionDenied => Ok(None),
            error => Err(error),
        })?;
        Ok(())
    }
}

/// What a folder without a marker holds, in words; nothing for an empty or absent one, or one that is being made.
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
    names.retain(|name| !name.starts_with(MARKER));
    Ok(match names.as_slice() {
        [] => None,
        names if names.iter().any(|name| name == "conf") && names.iter().any(|name| name == "db") => {
            Some("it holds somebody else's sled database".into())
        }
        [name, ..] => Some(format!("it holds {name}{}", if names.len() > 1 { " and more" } else { "" })),
    })
}

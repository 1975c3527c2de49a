//! The witness: what the spool knew of its parts when they were last closed.
//!
//! Why: sled does not notice that a file lost records, and opening such a file makes the loss worse. So the files of a part are
//! compared with the checksum in the witness before sled may touch them. The same checksum: healthy. Another one: the
//! writer died before it could write the witness, or the part is damaged; the frames decide. No witness, or a torn one,
//! means "verify everything", never "damaged".
//!
//! It also keeps a copy of what must not be forgotten if `state/` is lost: which records are done, which are dead letters, and who
//! is paused.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::SpoolError;
use super::ranges::Ranges;
use super::sealed;
use super::store::{Checksum, LOG_PIECE};

/// The file's name.
pub(super) const FILE: &str = "witness";

/// The spool's parts as last closed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Witness {
    /// The number the next segment gets.
    pub next_segment: u64,
    /// The sequence number the next record gets.
    pub next_seq: u64,
    /// The files of `state/`, and how often it was committed.
    pub state: Checksum,
    pub state_commits: u64,
    /// The segments, in the order of their records. Only the last one is written to.
    pub segments: Vec<Entry>,
    /// The instances that were paused by hand.
    pub paused: BTreeSet<String>,
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub number: u64,
    /// The sequence numbers of its records.
    pub present: Ranges,
    /// Those of them that have left the queue.
    pub done: Ranges,
    /// Those of them that wait as dead letters.
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub dead: Ranges,
    /// Bytes of its frames.
    pub frame_bytes: u64,
    /// The times of its records, in milliseconds since 1970.
    pub oldest_ms: i64,
    pub newest_ms: i64,
    /// Its files, as last closed; `None` while it is open.
    pub checksum: Option<Checksum>,
}

impl Entry {
    /// How many of its records are still in the queue, dead ones included.
    pub(super) fn live(&self) -> u64 {
        self.present.len() - self.done.len()
    }

    /// How many of those are not dead letters.
    pub(super) fn waiting(&self) -> u64 {
        self.live().saturating_sub(self.dead.len())
    }

    /// The first of its records that are still in the queue.
    pub(super) fn first_live(&self) -> Option<u64> {
        self.present.first_not_in(&self.done)
    }

    /// Whether a record of it is still in the queue.
    pub(super) fn is_live(&self, seq: u64) -> bool {
        self.present.contains(seq) && !self.done.contains(seq)
    }

    /// Bytes of its files; while it is open no fewer than they will be (measured: 2.3 to 3 a byte of frames, in pieces).
    pub(super) fn bytes(&self) -> u64 {
        self.checksum.map_or(self.frame_bytes * 3 + LOG_PIECE as u64, |checksum| checksum.bytes)
    }

    /// Takes note that a record has left the queue; tells whether it was a dead letter.
    pub(super) fn leave(&mut self, seq: u64) -> bool {
        self.done.insert(seq);
        self.dead.remove(seq)
    }

    /// What is said of it where its folder is missing.
    pub(super) fn gone(&self) -> String {
        format!("segment {} is missing from the spool folder: {} records are gone", self.number, self.live())
    }

    /// Takes note of a record that is in it.
    pub(super) fn note(&mut self, seq: u64, timestamp_ms: i64) {
        let first = self.present.is_empty();
        self.oldest_ms = if first { timestamp_ms } else { self.oldest_ms.min(timestamp_ms) };
        self.newest_ms = if first { timestamp_ms } else { self.newest_ms.max(timestamp_ms) };
        self.present.insert(seq);
    }
}

/// Reads the witness; `None` if there is none or it is torn.
pub(super) fn read(spool: &Path) -> Option<Witness> {
    sealed::read(spool, FILE)
}

/// Replaces the witness: after this returns the new one is on stable storage, before it the old one is whole.
pub(super) fn write(spool: &Path, witness: &Witness) -> Result<(), SpoolError> {
    sealed::write(spool, FILE, witness)
}

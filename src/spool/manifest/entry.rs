//! What the manifest knows of a segment.

use serde::{Deserialize, Serialize};

use crate::spool::files::Checksum;
use crate::spool::ranges::Ranges;
use crate::spool::store::LOG_PIECE;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::spool) struct Entry {
    pub number: u64,
    /// Nobody writes to it any more.
    pub sealed: bool,
    /// The sequence numbers of its records.
    pub present: Ranges,
    /// The present ones that have left the queue.
    pub done: Ranges,
    /// The present ones that are dead letters.
    pub dead: Ranges,
    /// Bytes of its frames.
    pub frame_bytes: u64,
    /// The times of its records, in milliseconds since 1970.
    pub oldest_ms: i64,
    pub newest_ms: i64,
    /// Its files, as the manifest vouches for them; `None` while it is open.
    pub checksum: Option<Checksum>,
}

impl Entry {
    /// The records that are still in the queue, dead letters included.
    pub(in crate::spool) fn live(&self) -> Ranges {
        self.present.without(&self.done)
    }

    pub(in crate::spool) fn live_count(&self) -> u64 {
        self.present.len().saturating_sub(self.done.len())
    }

    /// How many records in the queue are not dead letters.
    pub(in crate::spool) fn waiting_count(&self) -> u64 {
        self.live_count().saturating_sub(self.dead.len())
    }

    pub(in crate::spool) fn is_live(&self, seq: u64) -> bool {
        self.present.contains(seq) && !self.done.contains(seq)
    }

    /// Bytes of its files; while it is open no fewer than they will be (measured: 2.3 to 3 for each
    /// byte of frames, in pieces).
    pub(in crate::spool) fn bytes(&self) -> u64 {
        let while_open = || self.frame_bytes.saturating_mul(3).saturating_add(LOG_PIECE as u64);
        self.checksum.map_or_else(while_open, |checksum| checksum.bytes)
    }

    pub(in crate::spool) fn add(&mut self, seq: u64, timestamp_ms: i64) {
        let first = self.present.is_empty();
        self.oldest_ms = if first { timestamp_ms } else { self.oldest_ms.min(timestamp_ms) };
        self.newest_ms = if first { timestamp_ms } else { self.newest_ms.max(timestamp_ms) };
        self.present.insert(seq);
    }
}

/// A damaged segment that was replaced and is kept for inspection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::spool) struct Quarantined {
    pub number: u64,
    /// When it was replaced, in milliseconds since 1970.
    pub at_ms: i64,
    pub bytes: u64,
}

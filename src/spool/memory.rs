//! What the other stages keep in the spool between two runs, and what is told of the queue as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{MOST_AHEAD_MS, is_ahead};
use super::error::SpoolError;
use super::ledger::LedgerEntry;
use super::queue::Spool;
use super::state::{FlushMemory, IdHistory, Instance, LinkState, Problem};
use super::witness::Entry;
use crate::record::identity::Fingerprint;

/// Counts and times of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records waiting.
    pub queued: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of the folder's databases, and of the digests of what left.
    pub bytes: u64,
    /// Times of the oldest and the newest record waiting, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// See `oldest_ms`.
    pub newest_ms: Option<i64>,
}

impl Spool {
    /// What is remembered of an instance.
    pub fn instance(&self, name: &str) -> Result<Option<Instance>, SpoolError> {
        self.state.instance(name)
    }

    /// Remembers an instance.
    pub fn put_instance(&mut self, name: &str, instance: &Instance) {
        if instance.paused {
            self.witness.paused.insert(name.to_owned());
        } else {
            self.witness.paused.remove(name);
        }
        self.state.put_instance(name, instance);
    }

    /// All instances that were ever looked at and not forgotten since.
    pub fn instances(&self) -> Result<Vec<(String, Instance)>, SpoolError> {
        self.state.instances()
    }

    /// The host that the pinned ids belong to, if that was noted yet.
    pub fn host(&self) -> Result<Option<Fingerprint>, SpoolError> {
        self.state.host()
    }

    /// Takes note of the host that the pinned ids belong to.
    pub fn put_host(&mut self, host: &Fingerprint) {
        self.state.put_host(host);
    }

    /// All ids that were ever used here and not purged since.
    pub fn ids(&self) -> Result<Vec<(String, IdHistory)>, SpoolError> {
        self.state.ids()
    }

    /// What the forwarder remembers.
    pub fn flush_memory(&mut self) -> &mut FlushMemory {
        &mut self.state.meta.flush
    }

    /// What the forwarder remembers of the line.
    pub fn link_state(&self) -> Result<LinkState, SpoolError> {
        self.state.line()
    }

    /// Remembers the line.
    pub fn put_link_state(&mut self, line: &LinkState) -> Result<(), SpoolError> {
        self.state.put_line(line)
    }

    /// The sequence numbers of the batch that is on the wire, or was when its sender died: it goes out first and alone.
    pub fn on_the_wire(&self) -> BTreeSet<u64> {
        self.state.meta.in_flight.iter().collect()
    }

    /// What an admin should know of, oldest first.
    pub fn problems(&self) -> &[Problem] {
        &self.state.meta.problems
    }

    /// Takes note of something that an admin should know of.
    pub fn add_problem(&mut self, text: String) {
        self.state.meta.problems.push(Problem { at_ms: self.now_ms, text });
    }

    /// Takes note that an admin has seen the problems.
    pub fn acknowledge_problems(&mut self) {
        self.state.meta.problems.clear();
    }

    /// Why records left the queue, oldest first.
    pub fn ledger(&self) -> Result<Vec<LedgerEntry>, SpoolError> {
        self.state.ledger()
    }

    /// The sequence number that the next record will get.
    pub fn next_seq(&self) -> u64 {
        self.witness.next_seq
    }

    /// Counts and times of the queue.
    pub fn counts(&mut self) -> Result<Counts, SpoolError> {
        let segments = &self.witness.segments;
        let bytes = segments.iter().filter_map(|entry| entry.checksum).map(|sum| sum.bytes).sum::<u64>();
        let mut counts = Counts {
            queued: segments.iter().map(Entry::waiting).sum(),
            dead: segments.iter().map(|entry| entry.dead.len()).sum(),
            bytes: bytes + self.witness.state.bytes + self.left.bytes(),
            newest_ms: None,
            oldest_ms: None,
        };
        if counts.queued > 0 {
            counts.newest_ms = self.witness.segments.iter().map(|entry| entry.newest_ms).max();
            self.each(0, |queued| {
                if queued.dead.is_none() {
                    counts.oldest_ms = Some(queued.record.timestamp_ms);
                }
                counts.oldest_ms.is_none()
            })?;
        }
        Ok(counts)
    }

    /// How many records were stamped too far in the future to be sent now, and when the first of them may be.
    pub fn ahead(&mut self) -> Result<(u64, Option<i64>), SpoolError> {
        let now_ms = self.now_ms;
        let mut first = None::<i64>;
        let mut ahead = 0;
        if self.witness.segments.iter().any(|entry| is_ahead(entry.newest_ms, now_ms)) {
            self.each(0, |queued| {
                let time_ms = queued.record.timestamp_ms;
                if queued.dead.is_none() && is_ahead(time_ms, now_ms) {
                    ahead += 1;
                    first = Some(first.map_or(time_ms, |first| first.min(time_ms)));
                }
                true
            })?;
        }
        Ok((ahead, first.map(|time_ms| time_ms - MOST_AHEAD_MS)))
    }

    /// How many records of each instance wait.
    pub fn waiting(&mut self) -> Result<BTreeMap<String, u64>, SpoolError> {
        let mut waiting = BTreeMap::new();
        self.each(0, |queued| {
            if queued.dead.is_none() {
                *waiting.entry(queued.record.instance).or_default() += 1;
            }
            true
        })?;
        Ok(waiting)
    }
}

//! The manifest: everything about the spool that its records cannot tell.
//!
//! Writing it is the one commit point of the spool (slots.rs): a step that is not in the manifest
//! did not happen, except that records beyond it are taken in from their frames (recover.rs).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock_guard::ClockGuard;
use super::ledger::Ledger;
use super::ranges::Ranges;
use super::selector::Selector;
use crate::record::Record;
use crate::record::identity::Fingerprint;

mod entry;
pub(super) mod slots;
#[cfg(test)]
mod tests;
mod validate;
mod values;

pub(super) use entry::{Entry, Quarantined};
pub use values::{DeadLetter, FlushMemory, IdHistory, Instance, LinkState, Pin, Problem};

/// How many dead letters keep the server's words. Older ones are only known to be dead.
const DEAD_LETTERS_WITH_WORDS: usize = 1000;

/// How many problems are kept; the oldest are dropped first.
const PROBLEMS: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Random: tells this spool from every other.
    pub spool: [u8; 16],
    /// The number of commits.
    pub generation: u64,
    pub next_seq: u64,
    pub next_segment: u64,
    /// The segments, in the order of their records. Only the last one may be active.
    pub segments: Vec<Entry>,
    /// Damaged segments that are kept for inspection; the oldest first.
    pub quarantined: Vec<Quarantined>,
    pub instances: BTreeMap<String, Instance>,
    /// Every id that records carried and that was not purged since.
    pub ids: BTreeMap<String, IdHistory>,
    /// The host that the pinned ids belong to.
    pub host: Option<Fingerprint>,
    pub clock: Option<ClockGuard>,
    pub flush: FlushMemory,
    pub link: LinkState,
    /// The batch that is on the wire, or was when its sender died.
    pub in_flight: Ranges,
    /// Records that were sent and are still in the queue, by how often they were sent.
    pub attempts: BTreeMap<u32, Ranges>,
    /// Why the newest dead letters are dead. Which records are dead is in their segment's entry.
    pub dead: BTreeMap<u64, DeadLetter>,
    pub ledger: Ledger,
    pub problems: Vec<Problem>,
    pub pending_purge: Option<PendingPurge>,
    /// The running number of the next digest in the dedup index.
    pub next_digest: u64,
}

/// A purge that has begun and is completed by a later opening if it was interrupted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PendingPurge {
    pub selector: Selector,
    /// It applies to records below this sequence number, and not to those recorded later.
    pub before_seq: u64,
}

impl PendingPurge {
    pub(super) fn selects(&self, seq: u64, record: &Record, dead: bool) -> bool {
        seq < self.before_seq && self.selector.matches(record, dead)
    }
}

impl Manifest {
    /// That of a new spool.
    pub(super) fn new() -> Result<Manifest, getrandom::Error> {
        let mut spool = [0; 16];
        getrandom::fill(&mut spool)?;
        Ok(Manifest { spool, next_seq: 1, next_segment: 1, ..Manifest::default() })
    }

    /// The position of the segment in which a record is still in the queue.
    pub(super) fn segment_of(&self, seq: u64) -> Option<usize> {
        self.segments.iter().position(|entry| entry.is_live(seq))
    }

    pub(super) fn position(&self, number: u64) -> Option<usize> {
        self.segments.iter().position(|entry| entry.number == number)
    }

    /// Adds an entry at its place in the order of records.
    pub(super) fn add_segment(&mut self, entry: Entry) {
        self.next_segment = self.next_segment.max(entry.number + 1);
        self.next_seq = self.next_seq.max(entry.present.last().map_or(0, |last| last + 1));
        let first = entry.present.first();
        let at = self.segments.partition_point(|other| other.present.first() < first);
        self.segments.insert(at, entry);
    }

    /// Whether an instance uses an id now, or records in the queue carry it.
    pub(super) fn uses_id(&self, id: &str) -> bool {
        self.ids.contains_key(id)
            || self.instances.values().filter_map(|it| it.pin.as_ref()).any(|pin| pin.id == id)
    }

    /// How often a record was sent.
    pub(super) fn attempts_of(&self, seq: u64) -> u32 {
        let found = self.attempts.iter().find(|(_, records)| records.contains(seq));
        found.map_or(0, |(attempts, _)| *attempts)
    }

    /// Notes that a record is being sent once more.
    pub(super) fn add_attempt(&mut self, seq: u64) {
        let attempts = self.forget_attempts(seq);
        self.attempts.entry(attempts.saturating_add(1)).or_default().insert(seq);
    }

    fn forget_attempts(&mut self, seq: u64) -> u32 {
        let attempts = self.attempts_of(seq);
        if let Some(records) = self.attempts.get_mut(&attempts) {
            records.remove(seq);
            if records.is_empty() {
                self.attempts.remove(&attempts);
            }
        }
        attempts
    }

    /// Why a record is a dead letter, if it is one.
    pub(super) fn dead_letter(&self, entry: &Entry, seq: u64) -> Option<DeadLetter> {
        entry.dead.contains(seq).then(|| self.dead.get(&seq).cloned().unwrap_or_default())
    }

    /// Turns a record into a dead letter.
    pub(super) fn bury(&mut self, at: usize, seq: u64, letter: DeadLetter) {
        self.in_flight.remove(seq);
        self.segments[at].dead.insert(seq);
        self.dead.insert(seq, letter);
        while self.dead.len() > DEAD_LETTERS_WITH_WORDS {
            self.dead.pop_first();
        }
    }

    /// Puts all dead letters back into the queue and returns how many.
    pub(super) fn revive_dead(&mut self) -> u64 {
        self.dead.clear();
        self.segments.iter_mut().map(|entry| std::mem::take(&mut entry.dead).len()).sum()
    }

    /// Notes that a record has left the queue.
    pub(super) fn mark_done(&mut self, at: usize, seq: u64) {
        let entry = &mut self.segments[at];
        entry.done.insert(seq);
        if entry.dead.remove(seq) {
            self.dead.remove(&seq);
        }
        self.in_flight.remove(seq);
        self.forget_attempts(seq);
    }

    /// Forgets what is noted of records that are no longer in the queue.
    pub(super) fn forget_absent(&mut self) {
        let live: Ranges =
            self.segments.iter().flat_map(|entry| entry.live().iter().collect::<Vec<_>>()).collect();
        self.in_flight = self.in_flight.within(&live);
        self.attempts.retain(|_, records| {
            *records = records.within(&live);
            !records.is_empty()
        });
        self.dead.retain(|seq, _| live.contains(*seq));
    }

    /// Forgets what an instance last recorded if that record is lost, so that the next look records
    /// it again.
    pub(super) fn forget_last_recorded(&mut self, lost: &Ranges) {
        for instance in self.instances.values_mut() {
            if instance.last_seq.is_some_and(|seq| lost.contains(seq)) {
                instance.last_digest = None;
            }
        }
    }

    /// Adds a problem for `status`, unless the same one is there already.
    pub(super) fn add_problem(&mut self, at_ms: i64, text: String) {
        if self.problems.iter().all(|problem| problem.text != text) {
            self.problems.push(Problem { at_ms, text });
        }
        let excess = self.problems.len().saturating_sub(PROBLEMS);
        self.problems.drain(..excess);
    }
}

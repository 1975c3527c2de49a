//! Whether a manifest that was read makes sense. Its checksum tells damage; this tells numbers that
//! would make a loop or a sum run away, whoever wrote them.

use std::collections::BTreeSet;

use super::{Entry, Manifest};
use crate::spool::frame::MAX_SEQ;

/// No segment holds more records: twice as many as salver ever puts into one.
const MAX_PRESENT: u64 = 8192;

/// No spool has more segments: a hundred million records, the highest limit that can be set, take a
/// quarter of them.
const MAX_SEGMENTS: usize = 100_000;

impl Manifest {
    /// Whether all numbers are in their ranges.
    pub(super) fn is_plausible(&self) -> bool {
        let numbers: BTreeSet<u64> = self.segments.iter().map(|entry| entry.number).collect();
        let mut counted = numbers.len() == self.segments.len();
        counted &= self.segments.len() <= MAX_SEGMENTS && self.quarantined.len() <= MAX_SEGMENTS;
        counted &= (1..=MAX_SEQ).contains(&self.next_seq) && (1..=MAX_SEQ).contains(&self.next_segment);
        counted &= self.quarantined.iter().all(|part| part.number < self.next_segment);
        let total: u64 = self.segments.iter().map(|entry| entry.present.len().min(MAX_SEQ)).sum();
        let in_queue =
            |records: &super::Ranges| records.len() <= total && records.last() < Some(self.next_seq);
        counted
            && self.segments.iter().all(|entry| self.is_plausible_entry(entry))
            && in_queue(&self.in_flight)
            && self.attempts.values().all(in_queue)
            && self.ledger.is_plausible()
    }

    fn is_plausible_entry(&self, entry: &Entry) -> bool {
        let is_part = |records: &super::Ranges| records.without(&entry.present).is_empty();
        entry.number < self.next_segment
            && entry.present.len() <= MAX_PRESENT
            && entry.present.last() < Some(self.next_seq)
            && entry.frame_bytes <= MAX_SEQ
            && entry.checksum.is_none_or(|checksum| checksum.bytes <= MAX_SEQ)
            && is_part(&entry.done)
            && is_part(&entry.dead)
            && entry.dead.within(&entry.done).is_empty()
    }
}

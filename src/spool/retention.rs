//! Which records leave so that the spool stays within its limits: a pure function of what is there,
//! the limits and the clock.
//!
//! Why pure: the plan can be tested, and shown before it is carried out. Damaged files that are
//! kept for inspection leave first. Then segments are compacted, which costs no record. Then the
//! oldest records leave, and of each instance the newest record last, so that a server that was
//! offline for years still tells its latest state. Whole segments where that is enough: they cost
//! nothing to delete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::LedgerReason;
pub use step::RetentionStep;

mod step;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolLimits {
    /// Bytes of the folder's files, damaged ones included.
    pub max_bytes: u64,
    /// Records in the queue, dead letters included.
    pub max_records: u64,
    /// How long a record may wait.
    pub retention: Duration,
}

impl SpoolLimits {
    /// The time before which records have expired now.
    pub(super) fn expired_before(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What retention needs to know of a segment. The last one is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u64,
    /// Records in the queue.
    pub live: u64,
    /// The number of them that are the newest of their instance.
    pub newest_of_instance: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// No more bytes than this are left when the segment is compacted.
    pub least_bytes: u64,
    pub sealed: bool,
    /// Times of its oldest and its newest record, in milliseconds since 1970. The oldest may have
    /// left.
    pub oldest_ms: i64,
    /// See `oldest_ms`.
    pub newest_ms: i64,
}

/// A damaged segment that is kept for inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quarantine {
    pub number: u64,
    pub bytes: u64,
    /// Since when, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A segment whose files are no larger than this is not rewritten to save room, in bytes.
const SMALL: u64 = 64 * 1024;

/// Computes which segments and records to drop so that the spool stays within its limits.
/// `other_bytes` are the folder's bytes outside of segments; `expire` is false while the clock is
/// not trusted.
pub(super) fn plan(
    segments: &[Segment],
    quarantined: &[Quarantine],
    other_bytes: u64,
    limits: &SpoolLimits,
    now_ms: i64,
    expire: bool,
) -> Vec<RetentionStep> {
    let mut plan = Plan {
        segments: segments.to_vec(),
        quarantined: quarantined.to_vec(),
        other_bytes,
        steps: Vec::new(),
    };
    if expire && plan.expire(limits.expired_before(now_ms)) {
        return plan.steps;
    }
    plan.keep_records(limits.max_records);
    plan.keep_bytes(limits.max_bytes);
    plan.steps
}

struct Plan {
    /// What is left after the steps so far, oldest first.
    segments: Vec<Segment>,
    quarantined: Vec<Quarantine>,
    other_bytes: u64,
    steps: Vec<RetentionStep>,
}

impl Plan {
    /// Returns whether the plan ends here.
    fn expire(&mut self, before_ms: i64) -> bool {
        for part in self.quarantined.extract_if(.., |part| part.at_ms < before_ms) {
            self.steps.push(RetentionStep::DropQuarantined { number: part.number });
        }
        for segment in self.segments.extract_if(.., |segment| segment.newest_ms < before_ms) {
            self.steps.push(RetentionStep::Drop { number: segment.number, reason: LedgerReason::Expired });
        }
        // Any segment may hold one: after the clock was set back, later records have earlier times.
        let partly = self.segments.iter().find(|segment| segment.oldest_ms < before_ms);
        let partly = partly.map(|segment| segment.number);
        self.steps.extend(partly.map(|number| RetentionStep::Expire { number, before_ms }));
        partly.is_some()
    }

    fn keep_records(&mut self, max: u64) {
        let all = self.segments.iter().map(|segment| segment.live).sum::<u64>();
        let mut excess = all.saturating_sub(max);
        for spare_newest in [true, false] {
            for segment in &mut self.segments {
                let spared = if spare_newest { segment.newest_of_instance } else { 0 };
                let records = excess.min(segment.live - spared);
                if records > 0 {
                    self.steps.push(RetentionStep::Trim { number: segment.number, records, spare_newest });
                    segment.live -= records;
                    segment.newest_of_instance = segment.live.min(segment.newest_of_instance);
                    excess -= records;
                }
            }
        }
        self.segments.retain(|segment| segment.live > 0);
    }

    fn keep_bytes(&mut self, max: u64) {
        let segments: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let quarantined: u64 = self.quarantined.iter().map(|part| part.bytes).sum();
        let mut excess = (self.other_bytes + segments + quarantined).saturating_sub(max);
        self.drop_quarantined(&mut excess);
        self.compact(&mut excess);
        // The last segment stays: it is written to, and small beside any limit.
        let sealed = self.segments.len().saturating_sub(1);
        for segment in &mut self.segments[..sealed] {
            if excess == 0 {
                return;
            }
            if segment.newest_of_instance == 0 {
                self.steps.push(evict(segment.number));
                excess = excess.saturating_sub(segment.bytes);
                (segment.live, segment.bytes) = (0, 0);
            } else if segment.bytes > SMALL && segment.live > segment.newest_of_instance {
                let (number, records) = (segment.number, segment.live - segment.newest_of_instance);
                self.steps.push(RetentionStep::Trim { number, records, spare_newest: true });
                self.steps.push(RetentionStep::Compact { number });
                excess = excess.saturating_sub(segment.bytes - SMALL);
                (segment.live, segment.bytes) = (segment.newest_of_instance, SMALL);
            }
        }
        for segment in self.segments[..sealed].iter().filter(|segment| segment.live > 0) {
            if excess == 0 {
                return;
            }
            self.steps.push(evict(segment.number));
            excess = excess.saturating_sub(segment.bytes);
        }
    }

    fn drop_quarantined(&mut self, excess: &mut u64) {
        for part in &self.quarantined {
            if *excess > 0 {
                self.steps.push(RetentionStep::DropQuarantined { number: part.number });
                *excess = excess.saturating_sub(part.bytes);
            }
        }
    }

    /// A database takes more than twice the room of its frames.
    fn compact(&mut self, excess: &mut u64) {
        for segment in self.segments.iter_mut().filter(|segment| segment.sealed) {
            let saved = segment.bytes.saturating_sub(segment.least_bytes);
            if *excess > 0 && saved > SMALL {
                self.steps.push(RetentionStep::Compact { number: segment.number });
                *excess = excess.saturating_sub(saved);
                segment.bytes = segment.least_bytes;
            }
        }
    }
}

fn evict(number: u64) -> RetentionStep {
    RetentionStep::Drop { number, reason: LedgerReason::Evicted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const MIB: u64 = 1024 * 1024;

    fn limits(max_records: u64, max_bytes: u64) -> SpoolLimits {
        SpoolLimits { max_bytes, max_records, retention: Duration::from_secs(10 * 24 * 3600) }
    }

    /// Segments of 4 MiB, each given as its number of records and how many of these are the newest
    /// of their instance.
    fn parts(sizes: &[(u64, u64)]) -> Vec<Segment> {
        let part = |(at, (live, newest_of_instance))| Segment {
            number: at as u64 + 1,
            live,
            newest_of_instance,
            bytes: 4 * MIB,
            least_bytes: 4 * MIB,
            sealed: true,
            oldest_ms: 89 * DAY + at as i64,
            newest_ms: 90 * DAY + at as i64,
        };
        sizes.iter().copied().enumerate().map(part).collect()
    }

    fn planned(sizes: &[(u64, u64)], limits: &SpoolLimits) -> Vec<RetentionStep> {
        plan(&parts(sizes), &[], 0, limits, 91 * DAY, true)
    }

    /// As many leave, but not the newest of an instance.
    fn trim(number: u64, records: u64) -> RetentionStep {
        RetentionStep::Trim { number, records, spare_newest: true }
    }

    #[test]
    fn nothing_leaves_within_the_limits() {
        assert_eq!(planned(&[(10, 0), (10, 1)], &limits(20, 8 * MIB)), []);
    }

    #[test]
    fn the_oldest_leave_first_and_no_more_than_needed() {
        assert_eq!(planned(&[(10, 0), (10, 0), (5, 1)], &limits(12, 8 * MIB)), [trim(1, 10), trim(2, 3)]);
        assert_eq!(planned(&[(10, 0), (10, 0), (5, 1)], &limits(100, 8 * MIB)), [evict(1)]);
        assert_eq!(planned(&[(10, 1)], &limits(100, 50)), [], "the last one stays for bytes");
    }

    #[test]
    fn the_newest_record_of_each_instance_leaves_last() {
        assert_eq!(planned(&[(10, 2), (10, 1)], &limits(5, u64::MAX)), [trim(1, 8), trim(2, 7)]);
        let all = RetentionStep::Trim { number: 1, records: 2, spare_newest: false };
        assert_eq!(planned(&[(2, 2), (1, 1)], &limits(1, 4 * MIB)), [all], "when nothing else is left");
        let compact = |number| RetentionStep::Compact { number };
        let steps = planned(&[(10, 1), (10, 0), (10, 1)], &limits(100, 5 * MIB));
        assert_eq!(steps, [trim(1, 9), compact(1), evict(2)], "bytes as well");
        let steps = planned(&[(10, 1), (10, 1), (10, 1)], &limits(100, 4 * MIB + SMALL));
        let all = [trim(1, 9), compact(1), trim(2, 9), compact(2), evict(1)];
        assert_eq!(steps, all, "when nothing else is left");
    }

    #[test]
    fn room_that_costs_no_record_is_used_first() {
        let damaged = [Quarantine { number: 9, bytes: MIB, at_ms: 90 * DAY }];
        let mut segments = parts(&[(10, 0), (10, 1)]);
        segments[0].least_bytes = MIB;
        let limits = |max_bytes| limits(100, max_bytes);
        let planned = |max_bytes| plan(&segments, &damaged, 0, &limits(max_bytes), 91 * DAY, true);
        let (inspected, compact) =
            (RetentionStep::DropQuarantined { number: 9 }, RetentionStep::Compact { number: 1 });
        assert_eq!(planned(9 * MIB), []);
        assert_eq!(planned(8 * MIB), [inspected]);
        assert_eq!(planned(5 * MIB), [inspected, compact]);
        assert_eq!(planned(5 * MIB - 1), [inspected, compact, evict(1)]);
    }

    #[test]
    fn damaged_files_are_kept_no_longer_than_records() {
        let damaged =
            [(9, 80), (10, 81)].map(|(number, day)| Quarantine { number, bytes: 1, at_ms: day * DAY });
        let planned = plan(&[], &damaged, 0, &limits(9, u64::MAX), 91 * DAY, true);
        assert_eq!(planned, [RetentionStep::DropQuarantined { number: 9 }]);
    }

    #[test]
    fn what_is_older_than_the_retention_expires_unless_the_clock_is_in_doubt() {
        let expired = |number| RetentionStep::Drop { number, reason: LedgerReason::Expired };
        let limits = limits(9, u64::MAX);
        let old = parts(&[(1, 0), (1, 1)]);
        assert_eq!(plan(&old, &[], 0, &limits, 101 * DAY, true), [expired(1), expired(2)]);
        assert_eq!(plan(&old, &[], 0, &limits, 101 * DAY, false), []);
        let partly = |number, day| RetentionStep::Expire { number, before_ms: day * DAY };
        assert_eq!(plan(&old, &[], 0, &limits, 100 * DAY, true), [partly(1, 90)], "some are old enough");
        assert_eq!(plan(&old, &[], 0, &limits, 99 * DAY, true), [], "just young enough");
        let mut set_back = parts(&[(1, 0), (2, 0), (1, 1)]);
        (set_back[1].oldest_ms, set_back[2].oldest_ms, set_back[2].newest_ms) =
            (70 * DAY, 70 * DAY, 71 * DAY);
        let steps = plan(&set_back, &[], 0, &limits, 90 * DAY, true);
        assert_eq!(steps, [expired(3), partly(2, 80)], "behind a younger segment");
    }

    /// Whatever the sizes, what is left after the plan is within the limit on records, and no more
    /// has left than needed.
    #[test]
    fn a_plan_leaves_as_many_records_as_may_stay() {
        for number in 0..500u64 {
            let sizes: Vec<(u64, u64)> = (0..number % 7)
                .map(|at| (1 + (number * 7 + at * 13) % 10, (number + at * 5) % 3))
                .map(|(live, newest)| (live, newest.min(live)))
                .collect();
            let all: u64 = sizes.iter().map(|(live, _)| live).sum();
            let most = number % 23;
            let left: u64 =
                planned(&sizes, &limits(most, u64::MAX)).iter().fold(all, |left, step| match step {
                    RetentionStep::Trim { records, .. } => left - records,
                    other => panic!("{other:?}"),
                });
            assert_eq!(left, all.min(most), "{sizes:?}");
        }
    }
}

//! What has to go: a pure function of what is there, the limits and the clock.
//!
//! Why pure: the plan can be tested and shown before it is carried out. The oldest leave first, and of each instance the newest
//! record last, so that a server that was cut off for years still tells its latest state. Whole segments where that is
//! enough: they cost nothing to delete.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::LedgerReason;

/// The limits of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolLimits {
    /// Bytes of the folder's files.
    pub max_bytes: u64,
    /// Records in the queue, dead ones included.
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

/// A segment, as far as retention looks at it. The last one is the one that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: u64,
    /// Records still in the queue.
    pub live: u64,
    /// How many of them are the newest of their instance.
    pub newest_of_instance: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Times of its oldest and its newest record, in milliseconds since 1970. The oldest may have left already.
    pub oldest_ms: i64,
    /// See `oldest_ms`.
    pub newest_ms: i64,
}

/// One step of a plan. The records that leave are the oldest of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionStep {
    /// All that is left of the segment leaves.
    Drop {
        /// The segment.
        number: u64,
        /// Why.
        fate: LedgerReason,
    },
    /// Those from before this time leave. How many they are shows only then, so the plan ends here, and another follows.
    Expire {
        /// The segment.
        number: u64,
        /// In milliseconds since 1970.
        before_ms: i64,
    },
    /// So many leave, none of which is the newest of its instance.
    Trim {
        /// The segment.
        number: u64,
        /// How many.
        records: u64,
    },
    /// All leave but the newest of their instances, and the segment is rewritten to the size of those.
    Shrink {
        /// The segment.
        number: u64,
    },
    /// So many leave, although they are the newest of their instances.
    TrimNewest {
        /// The segment.
        number: u64,
        /// How many.
        records: u64,
    },
}

impl fmt::Display for RetentionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetentionStep::Drop { number, fate } => {
                write!(f, "all of segment {number} leaves ({})", fate.as_str())
            }
            RetentionStep::Expire { number, .. } => {
                write!(f, "what is too old in segment {number} leaves (expired)")
            }
            RetentionStep::Trim { number, records } | RetentionStep::TrimNewest { number, records } => {
                write!(f, "the {records} oldest records of segment {number} leave (evicted)")
            }
            RetentionStep::Shrink { number } => {
                write!(f, "segment {number} leaves (evicted), but for the newest record of each instance")
            }
        }
    }
}

/// A segment with a few records has about this size, in bytes: sled's smallest file.
const SMALL: u64 = 640 * 1024;

/// What has to leave so that the limits hold. `other_bytes` are the folder's bytes outside of segments; `expire` is false
/// while the clock is in doubt.
pub fn plan(
    parts: &[Part],
    other_bytes: u64,
    limits: &SpoolLimits,
    now_ms: i64,
    expire: bool,
) -> Vec<RetentionStep> {
    let mut plan = Plan { parts: parts.to_vec(), other_bytes, steps: Vec::new() };
    if expire && plan.expire(limits.expired_before(now_ms)) {
        return plan.steps;
    }
    plan.keep_records(limits.max_records);
    plan.keep_bytes(limits.max_bytes);
    plan.steps
}

struct Plan {
    /// What is left after the steps so far, oldest first.
    parts: Vec<Part>,
    other_bytes: u64,
    steps: Vec<RetentionStep>,
}

impl Plan {
    /// Tells whether the plan ends here.
    fn expire(&mut self, before_ms: i64) -> bool {
        let expired = self.parts.iter().take_while(|part| part.newest_ms < before_ms).count();
        for part in self.parts.drain(..expired) {
            self.steps.push(RetentionStep::Drop { number: part.number, fate: LedgerReason::Expired });
        }
        let partly = self.parts.first().filter(|part| part.oldest_ms < before_ms).map(|part| part.number);
        self.steps.extend(partly.map(|number| RetentionStep::Expire { number, before_ms }));
        partly.is_some()
    }

    fn keep_records(&mut self, most: u64) {
        let mut excess = self.parts.iter().map(|part| part.live).sum::<u64>().saturating_sub(most);
        for part in &mut self.parts {
            let records = excess.min(part.live - part.newest_of_instance);
            if records > 0 {
                self.steps.push(RetentionStep::Trim { number: part.number, records });
                part.live -= records;
                excess -= records;
            }
        }
        for part in &mut self.parts {
            let records = excess.min(part.live);
            if records > 0 {
                self.steps.push(RetentionStep::TrimNewest { number: part.number, records });
                part.live -= records;
                part.newest_of_instance = part.live.min(part.newest_of_instance);
                excess -= records;
            }
        }
        self.parts.retain(|part| part.live > 0);
    }

    /// The last segment stays for bytes: it is the one that is written to, and small beside any limit.
    fn keep_bytes(&mut self, most: u64) {
        let mut excess =
            (self.other_bytes + self.parts.iter().map(|part| part.bytes).sum::<u64>()).saturating_sub(most);
        let sealed = self.parts.len().saturating_sub(1);
        for part in &mut self.parts[..sealed] {
            if excess == 0 {
                return;
            }
            if part.newest_of_instance == 0 {
                self.steps.push(RetentionStep::Drop { number: part.number, fate: LedgerReason::Evicted });
                excess = excess.saturating_sub(part.bytes);
                (part.live, part.bytes) = (0, 0);
            } else if part.bytes > SMALL && part.live > part.newest_of_instance {
                self.steps.push(RetentionStep::Shrink { number: part.number });
                excess = excess.saturating_sub(part.bytes - SMALL);
                (part.live, part.bytes) = (part.newest_of_instance, SMALL);
            }
        }
        for part in self.parts[..sealed].iter().filter(|part| part.live > 0) {
            if excess == 0 {
                return;
            }
            self.steps.push(RetentionStep::Drop { number: part.number, fate: LedgerReason::Evicted });
            excess = excess.saturating_sub(part.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const MIB: u64 = 1024 * 1024;

    fn limits(max_records: u64, max_bytes: u64) -> SpoolLimits {
        SpoolLimits { max_bytes, max_records, retention: Duration::from_secs(10 * 24 * 3600) }
    }

    /// Segments of 4 MiB with so many records, of which so many are the newest of their instances.
    fn parts(sizes: &[(u64, u64)]) -> Vec<Part> {
        let part = |(at, (live, newest_of_instance))| Part {
            number: at as u64 + 1,
            live,
            newest_of_instance,
            bytes: 4 * MIB,
            oldest_ms: 89 * DAY + at as i64,
            newest_ms: 90 * DAY + at as i64,
        };
        sizes.iter().copied().enumerate().map(part).collect()
    }

    fn planned(sizes: &[(u64, u64)], limits: &SpoolLimits) -> Vec<RetentionStep> {
        plan(&parts(sizes), 0, limits, 91 * DAY, true)
    }

    fn evicted(number: u64) -> RetentionStep {
        RetentionStep::Drop { number, fate: LedgerReason::Evicted }
    }

    #[test]
    fn nothing_leaves_within_the_limits() {
        assert_eq!(planned(&[(10, 0), (10, 1)], &limits(20, 8 * MIB)), []);
    }

    #[test]
    fn the_oldest_leave_first_and_no_more_than_needed() {
        let trim = |number, records| RetentionStep::Trim { number, records };
        assert_eq!(planned(&[(10, 0), (10, 0), (5, 1)], &limits(12, u64::MAX)), [trim(1, 10), trim(2, 3)]);
        assert_eq!(planned(&[(10, 0), (10, 0), (5, 1)], &limits(100, 8 * MIB)), [evicted(1)]);
        assert_eq!(planned(&[(10, 1)], &limits(100, 50)), [], "the last one stays for bytes");
    }

    #[test]
    fn the_newest_record_of_each_instance_leaves_last() {
        let steps = planned(&[(10, 2), (10, 1)], &limits(5, u64::MAX));
        assert_eq!(
            steps,
            [RetentionStep::Trim { number: 1, records: 8 }, RetentionStep::Trim { number: 2, records: 7 }]
        );
        let steps = planned(&[(2, 2), (1, 1)], &limits(1, u64::MAX));
        assert_eq!(steps, [RetentionStep::TrimNewest { number: 1, records: 2 }], "when nothing else is left");
        let steps = planned(&[(10, 1), (10, 0), (10, 1)], &limits(100, 5 * MIB));
        assert_eq!(steps, [RetentionStep::Shrink { number: 1 }, evicted(2)], "bytes as well");
        let steps = planned(&[(10, 1), (10, 1), (10, 1)], &limits(100, 5 * MIB));
        let shrink = |number| RetentionStep::Shrink { number };
        assert_eq!(steps, [shrink(1), shrink(2), evicted(1)], "when nothing else is left");
    }

    #[test]
    fn what_is_older_than_the_retention_expires_unless_the_clock_is_in_doubt() {
        let expired = |number| RetentionStep::Drop { number, fate: LedgerReason::Expired };
        let limits = limits(9, u64::MAX);
        let old = parts(&[(1, 0), (1, 1)]);
        assert_eq!(plan(&old, 0, &limits, 101 * DAY, true), [expired(1), expired(2)]);
        assert_eq!(plan(&old, 0, &limits, 101 * DAY, false), []);
        let front = RetentionStep::Expire { number: 1, before_ms: 90 * DAY };
        assert_eq!(
            plan(&old, 0, &limits, 100 * DAY, true),
            [front],
            "a segment in which some are old enough"
        );
    }

    /// Whatever the sizes, what is left after the plan is within the limit on records, and no more has left than needed.
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
                    RetentionStep::Trim { records, .. } | RetentionStep::TrimNewest { records, .. } => {
                        left - records
                    }
                    other => panic!("{other:?}"),
                });
            assert_eq!(left, all.min(most), "{sizes:?}");
        }
    }
}

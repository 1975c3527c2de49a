//! What has to go: a pure function of what is there, the limits and the clock.
//!
//! Why pure: the plan can be tested and shown before it is carried out. Oldest first, and segments whole where that is
//! enough; only the limit on the number of records trims a segment from its front.

use std::time::Duration;

use super::ledger::Fate;

/// The limits of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the folder's files.
    pub max_bytes: u64,
    /// Records in the queue, dead ones included.
    pub max_records: u64,
    /// How long a record may wait.
    pub retention: Duration,
}

/// A segment, as far as retention looks at it. The last one is the one that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: u64,
    /// Records still in the queue.
    pub live: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Time of its newest record, in milliseconds since 1970.
    pub newest_ms: i64,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All that is left of the segment leaves.
    Drop {
        /// The segment.
        number: u64,
        /// Why.
        fate: Fate,
    },
    /// The oldest `records` of the segment leave.
    Trim {
        /// The segment.
        number: u64,
        /// How many.
        records: u64,
    },
}

/// What has to leave so that the limits hold. `other_bytes` are the folder's bytes outside of segments.
pub fn plan(parts: &[Part], other_bytes: u64, limits: &Limits, now_ms: i64) -> Vec<Step> {
    let oldest_ms = now_ms.saturating_sub(i64::try_from(limits.retention.as_millis()).unwrap_or(i64::MAX));
    let mut steps = Vec::new();
    let mut bytes = other_bytes + parts.iter().map(|part| part.bytes).sum::<u64>();
    let mut records: u64 = parts.iter().map(|part| part.live).sum();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let excess = records.saturating_sub(limits.max_records);
        if part.newest_ms < oldest_ms {
            steps.push(Step::Drop { number: part.number, fate: Fate::Expired });
        } else if excess >= part.live && part.live > 0 || bytes > limits.max_bytes && !last {
            steps.push(Step::Drop { number: part.number, fate: Fate::Evicted });
        } else {
            if excess > 0 {
                steps.push(Step::Trim { number: part.number, records: excess });
            }
            break;
        }
        bytes -= part.bytes;
        records -= part.live;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    fn limits(max_records: u64, max_bytes: u64) -> Limits {
        Limits { max_bytes, max_records, retention: Duration::from_secs(10 * 24 * 3600) }
    }

    fn parts(sizes: &[u64]) -> Vec<Part> {
        let part =
            |(i, live)| Part { number: i as u64 + 1, live, bytes: 100, newest_ms: 90 * DAY + i as i64 };
        sizes.iter().copied().enumerate().map(part).collect()
    }

    #[test]
    fn nothing_leaves_within_the_limits() {
        assert_eq!(plan(&parts(&[10, 10]), 50, &limits(20, 250), 91 * DAY), []);
    }

    #[test]
    fn the_oldest_leave_first_and_no_more_than_needed() {
        let evicted = |number| Step::Drop { number, fate: Fate::Evicted };
        assert_eq!(
            plan(&parts(&[10, 10, 5]), 0, &limits(12, 1000), 91 * DAY),
            [evicted(1), Step::Trim { number: 2, records: 3 }]
        );
        assert_eq!(plan(&parts(&[10, 10, 5]), 0, &limits(100, 250), 91 * DAY), [evicted(1)]);
        assert_eq!(plan(&parts(&[10]), 0, &limits(100, 50), 91 * DAY), [], "the last one stays for bytes");
    }

    #[test]
    fn what_is_older_than_the_retention_expires() {
        let expired = |number| Step::Drop { number, fate: Fate::Expired };
        assert_eq!(plan(&parts(&[1, 1]), 0, &limits(9, 999), 101 * DAY), [expired(1), expired(2)]);
    }
}

//! The times of records: no two records of one id share one, whatever happens to the clock.
//!
//! Why: PostHog tells events apart by their time too, and charts count by it. A clock may be set
//! back, forth and back again, so the time of the last record is not enough: all times that were
//! used are kept, as runs of milliseconds. Records are rare, so a run is mostly one record. Beyond
//! [`MAX_RUNS`] the oldest two runs are joined, with the free times between them: those are not
//! used either, and the newest runs, where a clock that is set right again comes by, stay exact.

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use crate::clock;

/// How many runs are kept for each id. One takes about ten bytes of each commit.
const MAX_RUNS: usize = 16;

/// A clock that was set back by less than this is waited for, in milliseconds: times go on from the
/// last record. Set back further, it is believed.
const SMALL_STEP_MS: i64 = 3_600_000;

/// PostHog moves an event that is more than 23 hours ahead of its clock to its own present, which
/// would be another time than the one recorded. So records stamped further ahead, by a clock that
/// was wrong, are held until their time comes, and never restamped. In milliseconds.
pub(super) const MAX_AHEAD_MS: i64 = 23 * 3600 * 1000;

/// Whether a record was stamped too far in the future to be sent now; both times in milliseconds
/// since 1970.
pub fn is_ahead(timestamp_ms: i64, now_ms: i64) -> bool {
    timestamp_ms > now_ms.saturating_add(MAX_AHEAD_MS)
}

/// The times that records of one id have used, in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct UsedTimes {
    used: Ranges,
    /// The time of the last record.
    last_ms: Option<i64>,
}

impl UsedTimes {
    /// The time of the next record; `None` if there is none up to the year 9999.
    pub(super) fn next(&self, now_ms: i64) -> Option<i64> {
        let ms = match self.last_ms {
            Some(last) if last >= now_ms && last - now_ms < SMALL_STEP_MS => last + 1,
            _ => now_ms,
        };
        let key = u64::try_from(ms).ok()?;
        let free = self.used.end_of_run(key).map_or(Some(ms), |last| i64::try_from(last + 1).ok())?;
        clock::RANGE.contains(&free).then_some(free)
    }

    /// Notes that a record has this time.
    pub(super) fn add(&mut self, ms: i64) {
        let Ok(key) = u64::try_from(ms) else { return };
        self.used.insert(key);
        self.last_ms = Some(ms);
        if self.used.runs().count() > MAX_RUNS {
            self.used.join_first_two();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The last time of all.
    const LAST_MS: i64 = *clock::RANGE.end();
    const NOW: i64 = 1_800_000_000_000;

    fn times(clock: &[i64]) -> Vec<i64> {
        let mut used = UsedTimes::default();
        let next = |now_ms: &i64| {
            let ms = used.next(*now_ms).unwrap();
            used.add(ms);
            ms
        };
        clock.iter().map(next).collect()
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_a_little_is_gone_on_from() {
        assert_eq!(times(&[NOW, NOW, NOW - 3_599_998]), [NOW, NOW + 1, NOW + 2]);
    }

    #[test]
    fn a_clock_that_is_set_back_far_is_believed_and_no_time_is_used_twice_when_it_comes_by_again() {
        let back = NOW - 3_600_000;
        assert_eq!(times(&[NOW, back, NOW, NOW + 1, back]), [NOW, back, NOW + 1, NOW + 2, back + 1]);
    }

    #[test]
    fn what_is_more_than_23_hours_ahead_waits() {
        assert_eq!([82_800_000, 82_800_001].map(|ms| is_ahead(NOW + ms, NOW)), [false, true]);
    }

    #[test]
    fn there_is_no_time_before_1970_and_none_after_9999() {
        assert_eq!(UsedTimes::default().next(-1), None);
        assert_eq!(UsedTimes::default().next(LAST_MS + 1), None);
        let mut used = UsedTimes::default();
        used.add(LAST_MS);
        assert_eq!(used.next(LAST_MS), None);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_does_no_time_is_used_twice(
            steps in prop::collection::vec((0..4_i64, -40..40_i64), 1..200)
        ) {
            let mut now = NOW;
            let clock: Vec<i64> = steps.iter().map(|(unit, step)| {
                now += step * [1, 1000, SMALL_STEP_MS / 7, SMALL_STEP_MS][*unit as usize];
                now
            }).collect();
            let used = times(&clock);
            prop_assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len());
        }
    }
}

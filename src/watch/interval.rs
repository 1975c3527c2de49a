//! When a record is due although nothing changed.
//!
//! Why the time counts from the last record: the spool keeps that time, so a restart neither skips
//! nor doubles a record, and a service that was down for a year owes one record, not seven hundred.
//!
//! The clock may be wrong, now or when the last record was written. A last record in the future
//! counts as written at the moment when that was noticed: a clock that was set back costs at most
//! one interval and never makes records follow each other without a pause. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The last record of an instance, as far as the interval is concerned.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Schedule {
    last_ms: Option<i64>,
    from_ms: i64,
}

impl Schedule {
    /// Time from `now_ms` until a record is due, at most `interval`. `last_ms` is the time of the
    /// last record. Times are in milliseconds since 1970.
    pub fn wait(&mut self, last_ms: i64, interval: Duration, now_ms: i64) -> Duration {
        if self.last_ms != Some(last_ms) {
            *self = Schedule { last_ms: Some(last_ms), from_ms: last_ms };
        }
        self.from_ms = self.from_ms.min(now_ms);
        let age = now_ms.saturating_sub(self.from_ms).unsigned_abs();
        interval.saturating_sub(Duration::from_millis(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const INTERVAL: Duration = Duration::from_hours(12);

    #[test]
    fn a_record_is_due_an_interval_after_the_last() {
        let wait = |last_ms, now_ms| Schedule::default().wait(last_ms, INTERVAL, now_ms);
        assert_eq!(wait(0, 0), INTERVAL);
        assert_eq!(wait(0, 11 * HOUR), Duration::from_hours(1));
        assert_eq!(wait(0, 12 * HOUR), Duration::ZERO);
        assert_eq!(wait(0, 100 * HOUR), Duration::ZERO);
        assert_eq!(wait(i64::MIN, i64::MAX), Duration::ZERO);
        let mut after_a_wrong_clock = Schedule::default();
        assert_eq!(after_a_wrong_clock.wait(1000 * HOUR, INTERVAL, 0), INTERVAL);
        assert_eq!(after_a_wrong_clock.wait(1000 * HOUR, INTERVAL, 12 * HOUR), Duration::ZERO);
    }

    /// A service that sleeps until a record is due, is restarted, is down, and whose clock is set.
    fn live(seed: u64, clock_is_set: bool) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let interval = i64::try_from(INTERVAL.as_millis()).unwrap();
        let mut schedule = Schedule::default();
        let (mut time, mut clock_is_ahead, mut away) = (0i64, 0i64, 0i64);
        let (mut records, mut last, mut mishaps) = (1i64, 0i64, 0i64);
        for _ in 0..500 {
            let now = time + clock_is_ahead;
            let left = schedule.wait(last, INTERVAL, now);
            if left.is_zero() {
                (records, last) = (records + 1, now);
                assert_eq!(schedule.wait(last, INTERVAL, now), INTERVAL, "never two at once");
                continue;
            }
            match dice.u8(..20) {
                0 if clock_is_set => (clock_is_ahead, mishaps) = (dice.i64(-1000..1000) * HOUR, mishaps + 1),
                1 => (time, away) = (time + 100 * HOUR, away + 100 * HOUR),
                2 => (schedule, mishaps) = (Schedule::default(), mishaps + i64::from(clock_is_set)),
                _ => time += dice.i64(1..=i64::try_from(left.as_millis()).unwrap()),
            }
        }
        // A downtime gives at most one record; a wrong clock costs an interval or gives a record.
        let (least, most) = ((time - away) / interval - mishaps, time / interval + mishaps + 1);
        assert!((least..=most).contains(&records), "{seed}: {records} records, not {least} to {most}");
    }

    #[test]
    fn records_keep_their_distance_despite_restarts_and_clock_changes() {
        (0..200).for_each(|seed| live(seed, seed % 2 == 1));
    }
}

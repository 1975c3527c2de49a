//! Whether the clock is trusted when it says that records are too old.
//!
//! Why: a server whose clock jumps ahead (an empty battery, a wrong time zone of the firmware, a
//! typing error) would otherwise lose its whole backlog at once. So after a jump nothing expires
//! until the clock has gone on from there for a day, which is time enough to notice: `status` says
//! so. A clock that was set back makes records younger, so nothing expires either.

use serde::{Deserialize, Serialize};

/// A clock that moved further than this between two looks may have jumped, in milliseconds.
const JUMP_MS: i64 = 30 * 24 * 3600 * 1000;

/// How long a clock must go on after a jump before it is trusted, in milliseconds.
const PROBATION_MS: i64 = 24 * 3600 * 1000;

/// Looks closer together than this are not noted, so that few commits are needed for them.
const GRAIN_MS: i64 = 3600 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClockGuard {
    /// What the clock said last, in milliseconds since 1970.
    last_ms: i64,
    /// What the clock said after it jumped, while it is not trusted.
    jumped_to_ms: Option<i64>,
}

impl ClockGuard {
    /// After the first look at a clock.
    pub(super) fn new(now_ms: i64) -> ClockGuard {
        ClockGuard { last_ms: now_ms, jumped_to_ms: None }
    }

    /// After one more look. The same as before if there is nothing worth noting.
    pub(super) fn see(self, now_ms: i64) -> ClockGuard {
        let moved = now_ms.saturating_sub(self.last_ms);
        let jumped_to_ms = match self.jumped_to_ms {
            _ if moved.saturating_abs() > JUMP_MS => Some(now_ms),
            Some(since) if now_ms.saturating_sub(since) >= PROBATION_MS => None,
            before => before,
        };
        if jumped_to_ms == self.jumped_to_ms && moved.saturating_abs() < GRAIN_MS {
            return self;
        }
        ClockGuard { last_ms: now_ms, jumped_to_ms }
    }

    /// Whether records may expire by this clock.
    pub(super) fn is_trusted(self) -> bool {
        self.jumped_to_ms.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const NOW: i64 = 20_000 * DAY;

    /// Whether the clock is trusted after each of these looks.
    fn trusted(looks: &[i64]) -> Vec<bool> {
        let mut guard = ClockGuard::new(NOW);
        let see = |now_ms: &i64| {
            guard = guard.see(*now_ms);
            guard.is_trusted()
        };
        looks.iter().map(see).collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_trusted() {
        assert_eq!(trusted(&[NOW + 1, NOW + DAY, NOW + 31 * DAY, NOW + 50 * DAY]), [true; 4]);
    }

    #[test]
    fn after_a_jump_it_has_to_go_on_for_a_day_first() {
        let far = NOW + 27_000 * DAY;
        assert_eq!(trusted(&[far, far + DAY / 2, far + DAY, far + 2 * DAY]), [false, false, true, true]);
    }

    #[test]
    fn a_jump_that_is_taken_back_is_a_jump_too() {
        let far = NOW + 400 * DAY;
        assert_eq!(trusted(&[far, NOW + 60_000, NOW + DAY / 2, NOW + 2 * DAY]), [false, false, false, true]);
    }

    #[test]
    fn looks_within_the_hour_are_not_written_down() {
        let guard = ClockGuard::new(NOW);
        assert_eq!(guard.see(NOW + 3_599_999), guard);
        assert_ne!(guard.see(NOW + 3_600_000), guard);
    }
}

//! Whether the clock may be believed when it says that records are too old.
//!
//! Why: a server whose clock jumps ahead (an empty battery, a wrong time zone of the firmware, a slip of the hand) would otherwise
//! lose its whole backlog at once. So after a jump nothing expires until the clock has gone on from there for a day, which
//! is time enough to notice it: `status` says so. A clock that was set back makes records younger, so nothing expires either.

use serde::{Deserialize, Serialize};

/// A clock that moved further than this since it was last looked at may have jumped, in milliseconds.
const JUMP_MS: i64 = 30 * 24 * 3600 * 1000;

/// So long it has to go on after a jump before it is believed.
const PROBATION_MS: i64 = 24 * 3600 * 1000;

/// It is looked at no more often than this, so that few looks need to be written down.
const GRAIN_MS: i64 = 3600 * 1000;

/// What is known of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Era {
    /// What it said last, in milliseconds since 1970.
    last_ms: i64,
    /// What it said after it jumped, while that is in doubt.
    jumped_to_ms: Option<i64>,
}

impl Era {
    /// Looks at a clock for the first time.
    pub(super) fn new(now_ms: i64) -> Era {
        Era { last_ms: now_ms, jumped_to_ms: None }
    }

    /// What is known after one more look. The same as before if there is nothing worth keeping.
    pub(super) fn see(self, now_ms: i64) -> Era {
        let moved = now_ms - self.last_ms;
        let jumped_to_ms = match self.jumped_to_ms {
            _ if moved.abs() > JUMP_MS => Some(now_ms),
            Some(since) if now_ms - since >= PROBATION_MS => None,
            before => before,
        };
        if jumped_to_ms == self.jumped_to_ms && moved.abs() < GRAIN_MS {
            return self;
        }
        Era { last_ms: now_ms, jumped_to_ms }
    }

    /// Whether records may expire by this clock.
    pub(super) fn is_believed(self) -> bool {
        self.jumped_to_ms.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const NOW: i64 = 20_000 * DAY;

    /// Whether the clock is believed after each of these looks.
    fn believed(looks: &[i64]) -> Vec<bool> {
        let mut era = Era::new(NOW);
        let see = |now_ms: &i64| {
            era = era.see(*now_ms);
            era.is_believed()
        };
        looks.iter().map(see).collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        assert_eq!(believed(&[NOW + 1, NOW + DAY, NOW + 25 * DAY, NOW + 50 * DAY]), [true; 4]);
    }

    #[test]
    fn after_a_jump_it_has_to_go_on_for_a_day_first() {
        let far = NOW + 27_000 * DAY;
        assert_eq!(believed(&[far, far + DAY / 2, far + DAY, far + 2 * DAY]), [false, false, true, true]);
    }

    #[test]
    fn a_jump_that_is_taken_back_is_a_jump_too() {
        let far = NOW + 400 * DAY;
        assert_eq!(believed(&[far, NOW + 60_000, NOW + DAY / 2, NOW + 2 * DAY]), [false, false, false, true]);
    }

    #[test]
    fn looks_within_the_hour_are_not_written_down() {
        let era = Era::new(NOW);
        assert_eq!(era.see(NOW + GRAIN_MS - 1), era);
        assert_ne!(era.see(NOW + GRAIN_MS), era);
    }
}

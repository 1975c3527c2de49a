//! When a target is due: once it has been quiet for a while, or has been restless for too long.
//!
//! Why: a burst of writes should give one record of the final state, and a file that never settles must be looked at
//! anyway. Pure: times are counted from any fixed moment and passed in.

use std::collections::BTreeMap;
use std::time::Duration;

/// A file that never settles is looked at after this many settle times.
const RESTLESS: u32 = 10;

/// Targets that something happened to, by their number.
#[derive(Debug)]
pub struct Settling {
    settle: Duration,
    waiting: BTreeMap<usize, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    first: Duration,
    due: Duration,
}

impl Settling {
    /// Nothing is waiting yet.
    pub fn new(settle: Duration) -> Settling {
        Settling { settle, waiting: BTreeMap::new() }
    }

    /// Something happened to a target.
    pub fn touch(&mut self, target: usize, now: Duration) {
        let settle = self.settle;
        let waiting = self.waiting.entry(target).or_insert(Waiting { first: now, due: now });
        waiting.due = (now + settle).min(waiting.first + settle * RESTLESS);
    }

    /// A target is to be looked at again after `wait`, unless it is due earlier.
    pub fn retry(&mut self, target: usize, now: Duration, wait: Duration) {
        self.waiting.entry(target).or_insert(Waiting { first: now, due: now + wait });
    }

    /// The targets that are due; they wait no longer.
    pub fn due(&mut self, now: Duration) -> Vec<usize> {
        let due: Vec<usize> =
            self.waiting.iter().filter(|(_, it)| it.due <= now).map(|(target, _)| *target).collect();
        for target in &due {
            self.waiting.remove(target);
        }
        due
    }

    /// When the next target is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_burst_is_one_look_after_it_ended() {
        let mut settling = Settling::new(MS(100));
        for at in [0, 50, 90, 180] {
            settling.touch(7, MS(at));
            assert!(settling.due(MS(at)).is_empty());
        }
        assert_eq!(settling.next_due(), Some(MS(280)));
        assert!(settling.due(MS(279)).is_empty());
        assert_eq!(settling.due(MS(280)), [7]);
        assert_eq!(settling.next_due(), None);
    }

    #[test]
    fn a_file_that_never_settles_is_looked_at_anyway() {
        let mut settling = Settling::new(MS(100));
        let looks = (0..5_000).filter(|at| {
            settling.touch(0, MS(*at));
            !settling.due(MS(*at)).is_empty()
        });
        assert_eq!(looks.count(), 4);
    }

    #[test]
    fn a_retry_never_delays_what_is_due_earlier() {
        let mut settling = Settling::new(MS(100));
        settling.touch(1, MS(0));
        settling.retry(1, MS(0), MS(5_000));
        settling.retry(2, MS(0), MS(5_000));
        assert_eq!(settling.due(MS(100)), [1]);
        assert_eq!(settling.next_due(), Some(MS(5_000)));
        settling.touch(2, MS(200));
        assert_eq!(settling.due(MS(300)), [2]);
    }
}

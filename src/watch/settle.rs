//! When a target is due: once it has been quiet for a while, or has been restless for too long.
//!
//! Why: a burst of writes should give one record of the final state, and a file that never settles must be looked at
//! anyway. Pure: times are counted from any fixed moment and passed in.

use std::collections::BTreeMap;
use std::time::Duration;

/// A file that never settles is looked at after this many settle times.
pub(super) const RESTLESS: u32 = 10;

/// Targets that are to be looked at, by their number.
#[derive(Debug)]
pub struct Settling {
    settle: Duration,
    waiting: BTreeMap<usize, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// When something happened to it first, if anything did.
    restless_since: Option<Duration>,
    due: Duration,
}

impl Settling {
    /// Nothing is waiting yet.
    pub fn new(settle: Duration) -> Settling {
        Settling { settle, waiting: BTreeMap::new() }
    }

    /// Something happened to a target. Tells whether whoever waits for [`Settling::next_due`] has to know.
    pub fn touch(&mut self, target: usize, now: Duration) -> bool {
        let before = self.next_due();
        let settle = self.settle;
        let waiting = self.waiting.entry(target).or_insert(Waiting { restless_since: None, due: now });
        let since = *waiting.restless_since.get_or_insert(now);
        // A look that was planned anyway waits as well: a file should not be read while it is written.
        waiting.due = (now + settle).min(since + settle * RESTLESS);
        before.is_none_or(|before| waiting.due < before)
    }

    /// A target is to be looked at after `wait` at the latest, unless something happens to it.
    pub fn plan(&mut self, target: usize, now: Duration, wait: Duration) {
        let due = now.saturating_add(wait);
        let waiting = self.waiting.entry(target).or_insert(Waiting { restless_since: None, due });
        waiting.due = waiting.due.min(due);
    }

    /// Something happened to the target, and it did not settle yet.
    pub fn is_restless(&self, target: usize) -> bool {
        self.waiting.get(&target).is_some_and(|waiting| waiting.restless_since.is_some())
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
        let news: Vec<bool> = [0, 50, 90, 180].map(|at| settling.touch(7, MS(at))).into();
        assert_eq!(news, [true, false, false, false], "nobody is woken to hear that it goes on");
        assert!(settling.due(MS(180)).is_empty());
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
    fn a_planned_look_is_no_excuse_to_read_a_file_that_is_being_written() {
        let mut settling = Settling::new(MS(100));
        settling.plan(1, MS(0), MS(60_000));
        settling.plan(2, MS(0), MS(5_050));
        settling.plan(2, MS(0), MS(90_000));
        assert_eq!(settling.next_due(), Some(MS(5_050)));
        assert!(!settling.is_restless(2));
        assert!(!settling.touch(2, MS(5_000)), "it is due later than before");
        assert!(settling.is_restless(2) && settling.due(MS(5_099)).is_empty());
        assert_eq!(settling.due(MS(5_100)), [2]);
        assert!(settling.touch(1, MS(5_200)), "and this one earlier");
        assert_eq!(settling.due(MS(5_300)), [1]);
    }
}

//! When a file is due: once it has been quiet for the settle time, or busy for ten of them.
//!
//! Why: a burst of writes should give one record of the final state, and a file that never settles
//! must be read anyway. Pure: times are counted from any fixed moment and passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::watched::Watched;

/// A file that never settles is read after this many settle times.
pub(super) const MAX_SETTLE_TIMES: u32 = 10;

/// What has to be read, and when.
#[derive(Debug)]
pub struct Settling {
    settle: Duration,
    waiting: BTreeMap<Watched, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Time of the first event that has not settled.
    busy_since: Option<Duration>,
    due: Duration,
}

impl Settling {
    /// Nothing waits at first.
    pub fn new(settle: Duration) -> Settling {
        Settling { settle, waiting: BTreeMap::new() }
    }

    /// Takes in an event. Returns whether [`Settling::next_due`] is earlier than before.
    pub fn touch(&mut self, watched: Watched, now: Duration) -> bool {
        let before = self.next_due();
        let settle = self.settle;
        let waiting = self.waiting.entry(watched).or_insert(Waiting { busy_since: None, due: now });
        let since = *waiting.busy_since.get_or_insert(now);
        // A planned read waits as well: a file should not be read while it is written.
        waiting.due = (now + settle).min(since + settle * MAX_SETTLE_TIMES);
        before.is_none_or(|before| waiting.due < before)
    }

    /// Plans a read after `wait` at the latest; an event in between delays it.
    pub fn plan(&mut self, watched: Watched, now: Duration, wait: Duration) {
        let due = now.saturating_add(wait);
        let waiting = self.waiting.entry(watched).or_insert(Waiting { busy_since: None, due });
        waiting.due = waiting.due.min(due);
    }

    /// Whether an event has not settled yet.
    pub fn is_busy(&self, watched: Watched) -> bool {
        self.waiting.get(&watched).is_some_and(|waiting| waiting.busy_since.is_some())
    }

    /// Takes out what is due.
    pub fn due(&mut self, now: Duration) -> Vec<Watched> {
        let due: Vec<Watched> =
            self.waiting.iter().filter(|(_, it)| it.due <= now).map(|(watched, _)| *watched).collect();
        for watched in &due {
            self.waiting.remove(watched);
        }
        due
    }

    /// When the next read is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const A: Watched = Watched::Instance(1);
    const B: Watched = Watched::Settings;

    #[test]
    fn a_burst_is_one_read_after_it_ended() {
        let mut settling = Settling::new(MS(100));
        let news: Vec<bool> = [0, 50, 90, 180].map(|at| settling.touch(A, MS(at))).into();
        assert_eq!(news, [true, false, false, false], "later events of a burst wake nobody");
        assert!(settling.due(MS(180)).is_empty());
        assert_eq!(settling.next_due(), Some(MS(280)));
        assert!(settling.due(MS(279)).is_empty());
        assert_eq!(settling.due(MS(280)), [A]);
        assert_eq!(settling.next_due(), None);
    }

    #[test]
    fn a_second_file_in_the_same_moment_wakes_nobody_again() {
        let mut settling = Settling::new(MS(100));
        assert_eq!([A, B].map(|watched| settling.touch(watched, MS(0))), [true, false]);
        assert_eq!(settling.due(MS(100)).len(), 2);
    }

    #[test]
    fn a_file_that_never_settles_is_read_anyway() {
        let mut settling = Settling::new(MS(100));
        let reads = (0..5_000).filter(|at| {
            settling.touch(A, MS(*at));
            !settling.due(MS(*at)).is_empty()
        });
        assert_eq!(reads.count(), 4);
    }

    #[test]
    fn a_planned_read_waits_for_a_file_that_is_being_written() {
        let mut settling = Settling::new(MS(100));
        settling.plan(A, MS(0), MS(60_000));
        settling.plan(B, MS(0), MS(5_050));
        settling.plan(B, MS(0), MS(90_000));
        assert_eq!(settling.next_due(), Some(MS(5_050)));
        assert!(!settling.is_busy(B));
        assert!(!settling.touch(B, MS(5_000)), "it is due later than before");
        assert!(settling.is_busy(B) && settling.due(MS(5_099)).is_empty());
        assert_eq!(settling.due(MS(5_100)), [B]);
        assert!(settling.touch(A, MS(5_200)), "and this one earlier");
        assert_eq!(settling.due(MS(5_300)), [A]);
    }
}

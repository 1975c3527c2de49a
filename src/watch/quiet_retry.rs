//! Retries, silent for the first few failures.
//!
//! Why: a file is empty while it is written, missing while it is replaced, locked while an editor
//! saves. Most of that is over within a second, and an admin who reads about it learns nothing. A
//! failure that lasts must be seen, once. Pure.

use std::time::Duration;

/// The failure with this number is the first to be reported.
const QUIET_TRIES: u32 = 4;

/// The failures of one operation since it last succeeded.
#[derive(Debug, Default)]
pub struct QuietRetry {
    failures: u32,
    /// The reason that was reported last.
    reported: Option<String>,
}

/// How to handle one failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Retry {
    /// The failure lasts: `status` should show it.
    pub lasts: bool,
    /// The failure has to be reported now.
    pub report: bool,
    /// Wait before the next try; doubles from try to try.
    pub wait: Duration,
}

impl QuietRetry {
    /// Counts a failure. The first wait is `settle`, no wait is longer than `longest`. A reason
    /// that was reported before is not reported again.
    pub fn failed(&mut self, why: &str, settle: Duration, longest: Duration) -> Retry {
        let doubled = settle.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let lasts = self.failures >= QUIET_TRIES;
        let report = lasts && self.reported.as_deref() != Some(why);
        if report {
            self.reported = Some(why.to_owned());
        }
        Retry { lasts, report, wait: doubled.min(longest) }
    }

    /// Whether one more failure would be one that lasts.
    pub fn next_failure_lasts(&self) -> bool {
        self.failures.saturating_add(1) >= QUIET_TRIES
    }

    /// Counts a success. Returns whether a failure had been reported before it.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.reported.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(250);
    const POLL: Duration = Duration::from_secs(60);

    #[test]
    fn a_short_failure_is_never_reported_and_a_lasting_one_is_reported_once() {
        let mut retry = QuietRetry::default();
        let mut fail = |why| retry.failed(why, SETTLE, POLL);
        let first: Vec<Retry> = (0..12).map(|_| fail("locked")).collect();
        assert_eq!(
            first.iter().map(|it| it.report).collect::<Vec<_>>(),
            std::array::from_fn::<_, 12, _>(|n| n == 3)
        );
        assert!(!first[2].lasts && first[3].lasts && first[11].lasts);
        let waits: Vec<u128> = first.iter().map(|it| it.wait.as_millis()).collect();
        assert_eq!(waits[..5], [250, 500, 1000, 2000, 4000]);
        assert_eq!(waits[11], POLL.as_millis(), "never more rarely than the poll");
        assert!(fail("empty").report, "another reason is news");
        assert!(!fail("empty").report);
        assert!(retry.succeeded() && !retry.succeeded(), "cleared, once");
        for _ in 1..QUIET_TRIES {
            assert!(!retry.failed("empty", SETTLE, POLL).report);
        }
        assert!(!retry.succeeded(), "the failure was not reported");
    }
}

//! What cannot be read now is tried again, for a while without a word.
//!
//! Why: a file is empty while it is written, missing while it is replaced, locked while an editor saves. Most of that heals within a
//! second, and an admin who reads about it learns nothing. What does not heal must be seen, once. Pure.

use std::time::Duration;

/// So often it is tried before anything is said.
const QUIET_TRIES: u32 = 4;

/// How long a target has failed, and what was said of it.
#[derive(Debug, Default)]
pub struct Patience {
    failures: u32,
    said: Option<String>,
}

/// What to do about a failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// It has lasted: `status` should show it.
    pub lasts: bool,
    /// It is to be said, which was not done yet.
    pub say: bool,
    /// When to try again: ever more rarely.
    pub wait: Duration,
}

impl Patience {
    /// It failed, for this reason, which is no news if it was said before. First waits are as long as `settle`.
    pub fn failed(&mut self, why: &str, settle: Duration, longest: Duration) -> Failed {
        let doubled = settle.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let lasts = self.failures >= QUIET_TRIES;
        let say = lasts && self.said.as_deref() != Some(why);
        if say {
            self.said = Some(why.to_owned());
        }
        Failed { lasts, say, wait: doubled.min(longest) }
    }

    /// Whether one more failure would be one that lasts.
    pub fn is_at_its_end(&self) -> bool {
        self.failures.saturating_add(1) >= QUIET_TRIES
    }

    /// It works. Tells whether that is news to whoever was told of the failure.
    pub fn healed(&mut self) -> bool {
        self.failures = 0;
        self.said.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(250);
    const POLL: Duration = Duration::from_secs(60);

    #[test]
    fn what_heals_soon_is_never_said_and_what_lasts_is_said_once() {
        let mut patience = Patience::default();
        let mut fail = |why| patience.failed(why, SETTLE, POLL);
        let first: Vec<Failed> = (0..12).map(|_| fail("locked")).collect();
        assert_eq!(
            first.iter().map(|it| it.say).collect::<Vec<_>>(),
            std::array::from_fn::<_, 12, _>(|n| n == 3)
        );
        assert!(!first[2].lasts && first[3].lasts && first[11].lasts);
        let waits: Vec<u128> = first.iter().map(|it| it.wait.as_millis()).collect();
        assert_eq!(waits[..5], [250, 500, 1000, 2000, 4000]);
        assert_eq!(waits[11], POLL.as_millis(), "never more rarely than the poll");
        assert!(fail("empty").say, "another reason is news");
        assert!(!fail("empty").say);
        assert!(patience.healed() && !patience.healed(), "cleared, once");
        for _ in 1..QUIET_TRIES {
            assert!(!patience.failed("empty", SETTLE, POLL).say);
        }
        assert!(!patience.healed(), "nobody was told of the failure");
    }
}

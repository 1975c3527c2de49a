//! How long to wait, after a failure and without one: pure, with the random number passed in.
//!
//! A thousand servers that lose their line together also get it back together. If each then waited a fixed
//! time, they would all arrive in the same second, again and again. So waits are drawn from the whole range
//! up to a ceiling that doubles with each failure ("full jitter", AWS Architecture Blog, "Exponential Backoff
//! And Jitter"). What a server asks for with `Retry-After` is added to the draw, not put in its place, for
//! the same reason. And for the same reason a service that starts, as all do when the power is back, waits for a random time
//! first, and so do those that have nothing to complain of.

use std::time::Duration;

/// The ceiling after the first failure.
const BASE: Duration = Duration::from_secs(1);
/// The longest wait that salver chooses by itself: a line that is back is noticed within five minutes.
pub const CAP: Duration = Duration::from_secs(5 * 60);
/// The longest wait that a server can ask for; beyond it a mistaken date would silence salver for good.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(60 * 60);
/// The shortest wait, so that an unlucky row of draws never becomes a tight loop.
const FLOOR: Duration = Duration::from_millis(100);

/// The wait before the next attempt, after so many `failures` in a row (the first is 1).
///
/// `asked` is the wait that the server asked for, if it did; `random` is any evenly spread number.
/// Never longer than [`CAP`], or [`RETRY_AFTER_CAP`] if the server asked.
pub fn delay(failures: u32, asked: Option<Duration>, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = BASE.saturating_mul(1 << doublings).min(CAP);
    let span = (ceiling - FLOOR).as_millis() as u64;
    let drawn = FLOOR + Duration::from_millis(random % (span + 1));
    match asked {
        Some(asked) => asked.saturating_add(drawn).min(RETRY_AFTER_CAP),
        None => drawn,
    }
}

/// The longest wait of a service that starts.
const START: Duration = Duration::from_secs(2 * 60);

/// The wait of a service that starts: any up to two minutes, or up to `every` where that is less.
pub fn at_start(every: Duration, random: u64) -> Duration {
    every.min(START).mul_f64(share(random))
}

/// The wait after a run that left nothing to complain of: between half and the whole of `every`.
pub fn regular(every: Duration, random: u64) -> Duration {
    let half = every / 2;
    half + half.mul_f64(share(random))
}

/// A random number as a share of the whole.
fn share(random: u64) -> f64 {
    random as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_one_second_to_five_minutes() {
        let ceiling = |failures| (0..300_000).map(|random| delay(failures, None, random)).max().unwrap();
        let seconds: Vec<u64> = (1..=10).map(|failures| ceiling(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }

    #[test]
    fn no_wait_leaves_its_bounds() {
        for failures in [0, 1, 2, 9, 17, 40, u32::MAX] {
            for random in [0, 1, 999, 299_900, 299_901, u64::MAX] {
                let own = delay(failures, None, random);
                assert!((FLOOR..=CAP).contains(&own), "{failures} {random} {own:?}");
                assert_eq!(delay(failures, Some(Duration::MAX), random), RETRY_AFTER_CAP);
                let asked = delay(failures, Some(Duration::from_secs(60)), random);
                assert!((Duration::from_secs(60)..=RETRY_AFTER_CAP).contains(&asked));
            }
        }
    }

    #[test]
    fn without_a_failure_waits_are_spread_as_well() {
        let every = Duration::from_secs(15 * 60);
        assert_eq!((at_start(every, 0), at_start(every, u64::MAX)), (Duration::ZERO, START));
        assert_eq!(at_start(Duration::from_secs(1), u64::MAX), Duration::from_secs(1));
        assert_eq!((regular(every, 0), regular(every, u64::MAX)), (every / 2, every));
    }
}

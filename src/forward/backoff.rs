//! The length of waits, after failures and between runs: pure, with the random number passed in.
//!
//! A thousand servers that lose the network together also get it back together. With fixed waits,
//! all of them would send in the same second, again and again. So a wait is drawn from the whole
//! range up to a ceiling that doubles with each failure ("full jitter": AWS Architecture Blog,
//! "Exponential Backoff And Jitter"). For the same reason `Retry-After` is added to the draw and
//! does not replace it, and a service waits for a random time when it starts (as all do after a
//! power cut) and between runs without failures.

use std::time::Duration;

/// The ceiling after the first failure.
const BASE: Duration = Duration::from_secs(1);
/// The longest wait that salver chooses: a network that is back is noticed within five minutes.
pub const CAP: Duration = Duration::from_mins(5);
/// The longest wait that a server can ask for. Without it a wrong date would silence salver for
/// good.
pub const RETRY_AFTER_CAP: Duration = Duration::from_hours(1);
/// The shortest wait, so that a series of small draws never becomes a busy loop.
const FLOOR: Duration = Duration::from_millis(100);

/// The wait after a failure, the last of `failures` in a row. `random` is a uniform random number.
///
/// Never longer than [`CAP`], or [`RETRY_AFTER_CAP`] if the server asked for a pause.
pub fn delay(failures: u32, retry_after: Option<Duration>, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = BASE.saturating_mul(1 << doublings).min(CAP);
    let span = (ceiling - FLOOR).as_millis() as u64;
    let drawn = FLOOR + Duration::from_millis(random % (span + 1));
    match retry_after {
        Some(pause) => pause.saturating_add(drawn).min(RETRY_AFTER_CAP),
        None => drawn,
    }
}

/// The longest wait after the start of a service.
const START: Duration = Duration::from_mins(2);

/// The wait after the start of a service: up to two minutes, or up to `every` if that is less.
pub fn at_start(every: Duration, random: u64) -> Duration {
    every.min(START).mul_f64(fraction(random))
}

/// The wait after a run without a failure: between half of `every` and all of it.
pub fn regular(every: Duration, random: u64) -> Duration {
    let half = every / 2;
    half + half.mul_f64(fraction(random))
}

/// A random number as a fraction from 0 to 1.
fn fraction(random: u64) -> f64 {
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
    fn each_wait_up_to_the_ceiling_is_as_likely_as_the_others() {
        let wait = |random| delay(1, None, random).as_millis();
        let draws = [0, 1, 899, 900, 901, 902].map(wait);
        assert_eq!(draws, [100, 101, 999, 1000, 100, 101]);
    }

    #[test]
    fn a_pause_that_the_server_asks_for_is_added_to_the_draw() {
        let minute = Duration::from_mins(1);
        assert_eq!(delay(1, Some(minute), 900), minute + Duration::from_secs(1));
        assert_eq!(delay(1, Some(Duration::MAX), 0).as_secs(), 3600);
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
        let every = Duration::from_mins(15);
        let [first, middle, last] =
            [0, u64::MAX / 2, u64::MAX].map(|random| at_start(every, random).as_secs());
        assert_eq!((first, middle, last), (0, 60, 120));
        assert_eq!(at_start(Duration::from_secs(1), u64::MAX), Duration::from_secs(1));
        assert_eq!((regular(every, 0), regular(every, u64::MAX)), (every / 2, every));
    }
}

//! Times on the command line: RFC 3339 (UTC where no offset is given) or an age such as `30d`.

use jiff::civil::DateTime;
use jiff::{Timestamp, tz::TimeZone};

use crate::record::message::rfc3339;
use crate::settings::parse_duration;

/// A time as it is given on the command line, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub i64);

/// Reads a time, or an age back from `now_ms`.
pub fn parse(text: &str, now_ms: i64) -> Result<Time, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Time(time.as_millisecond()));
    }
    if let Ok(time) = text.parse::<DateTime>()
        && let Ok(zoned) = time.to_zoned(TimeZone::UTC)
    {
        return Ok(Time(zoned.timestamp().as_millisecond()));
    }
    match parse_duration(text) {
        Some(age) => Ok(Time(now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))),
        None => Err(format!(
            "`{text}` is neither a time (2026-11-21T10:00:00Z, 2026-11-21) nor an age (30d, 12h)"
        )),
    }
}

/// For clap: an age counts back from now.
pub fn argument(text: &str) -> Result<Time, String> {
    parse(text, crate::clock::now_ms())
}

/// A time, or `-`.
pub fn shown(time_ms: Option<i64>) -> String {
    time_ms.map_or_else(|| "-".to_owned(), rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_mean_the_same_moment() {
        let now = 1_700_000_000_000;
        let time = |text| parse(text, now).unwrap().0;
        assert_eq!(time("2023-11-14T22:13:20Z"), now);
        assert_eq!(time("2023-11-14T22:13:20"), now);
        assert_eq!(time("2023-11-14T23:13:20+01:00"), now);
        assert_eq!(time("1d"), now - 86_400_000);
        assert_eq!(time("12h"), now - 43_200_000);
        assert_eq!(time("2023-11-14"), now - (22 * 3600 + 13 * 60 + 20) * 1000);
        assert!(parse("yesterday", now).is_err());
    }
}

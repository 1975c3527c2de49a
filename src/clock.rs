//! Time: the system clock, and the texts in which times are read and written.
//!
//! A time is a number of milliseconds since 1970 everywhere else. The system clock can say anything
//! (a dead battery, a mistyped year), so nothing here panics and nothing turns a wrong time into a
//! right one: [`now_ms`] may be outside of [`RANGE`], and the spool refuses it then.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use jiff::fmt::{rfc2822, temporal::DateTimePrinter};
use jiff::{SpanRelativeTo, Timestamp, tz::TimeZone};

/// The times that a record can have: from 1970 to 26 hours before the year 10000,
/// which RFC 3339 can write with any offset.
pub const RANGE: RangeInclusive<i64> = 0..=253_402_207_200_000;

const DAY: u64 = 24 * 60 * 60;

/// The system clock. Negative before 1970.
pub fn now_ms() -> i64 {
    signed_ms(SystemTime::now())
}

fn signed_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(error) => i64::try_from(error.duration().as_millis()).map_or(i64::MIN, |before| -before),
    }
}

/// `2021-04-16T13:43:02.467Z`: RFC 3339 in UTC with milliseconds, as JavaScript writes it.
///
/// A time that has no such form is written as its number, so that a wrong clock can be seen.
pub fn rfc3339(time_ms: i64) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => PRINTER.timestamp_to_string(&time),
        Err(_) => format!("{time_ms} ms since 1970"),
    }
}

/// Reads RFC 3339 (UTC where no offset is given, midnight where no time is), or an age such as
/// `30d` back from `now_ms`.
pub fn parse(text: &str, now_ms: i64) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    if let Ok(civil) = text.parse::<DateTime>() {
        return Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond());
    }
    let age_ms = i64::try_from(parse_duration(text)?.as_millis()).unwrap_or(i64::MAX);
    Some(now_ms.saturating_sub(age_ms))
}

/// Reads the date of an HTTP header, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let time = rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(time.as_millisecond())
}

/// Reads `250ms`, `12h`, `1h 30m` or `730d` (jiff's friendly format). `None` for a number without a
/// unit, a negative duration, and months and years, whose length varies. A day has 24 hours,
/// whatever daylight saving time does.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

/// A duration in the form that [`parse_duration`] reads.
pub fn show_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    if seconds >= DAY && seconds.is_multiple_of(DAY) && length.subsec_nanos() == 0 {
        return format!("{}d", seconds / DAY);
    }
    SpanPrinter::new().unsigned_duration_to_string(&length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn times_are_written_as_javascript_writes_them() {
        assert_eq!(rfc3339(1_618_580_582_467), "2021-04-16T13:43:02.467Z");
        assert_eq!(rfc3339(1_618_580_582_000), "2021-04-16T13:43:02.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_time_that_cannot_be_written_is_shown_as_its_number() {
        assert_eq!(rfc3339(*RANGE.end()), "9999-12-30T22:00:00.000Z");
        for wrong in [RANGE.end() + 1, i64::MAX, i64::MIN] {
            assert_eq!(rfc3339(wrong), format!("{wrong} ms since 1970"));
        }
    }

    #[test]
    fn a_system_clock_that_is_wrong_is_told_as_it_is() {
        let year = Duration::from_secs(365 * 86_400);
        assert_eq!(signed_ms(UNIX_EPOCH + Duration::from_millis(5)), 5);
        assert_eq!(signed_ms(UNIX_EPOCH - Duration::from_millis(5)), -5);
        assert!(!RANGE.contains(&signed_ms(UNIX_EPOCH - year)));
        assert!(!RANGE.contains(&signed_ms(UNIX_EPOCH + year * 9_000)));
        assert!(RANGE.contains(&now_ms()) && now_ms() > NOW);
    }

    #[test]
    fn times_and_ages_mean_the_same_moment() {
        let time = |text| parse(text, NOW).unwrap();
        assert_eq!(time("2023-11-14T22:13:20Z"), NOW);
        assert_eq!(time("2023-11-14T22:13:20"), NOW);
        assert_eq!(time("2023-11-14T23:13:20+01:00"), NOW);
        assert_eq!(time("1d"), NOW - 86_400_000);
        assert_eq!(time("12h"), NOW - 43_200_000);
        assert_eq!(time("2023-11-14"), NOW - (22 * 3600 + 13 * 60 + 20) * 1000);
        assert_eq!(parse("yesterday", NOW), None);
    }

    #[test]
    fn durations_need_a_unit_of_fixed_length() {
        let seconds = |text| parse_duration(text).map(|length| length.as_secs());
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(seconds("15m"), Some(900));
        assert_eq!(seconds("1h 30m"), Some(5400));
        assert_eq!(seconds("730d"), Some(730 * DAY));
        assert_eq!(seconds("2w"), Some(14 * DAY));
        for wrong in ["", "30", "10 parsecs", "-5s", "5s ago", "1 month", "2y", "999999999999d", "1h 30"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_that_is_shown_can_be_written_back() {
        for (seconds, text) in [(1, "1s"), (60, "1m"), (5400, "1h 30m"), (DAY, "1d"), (730 * DAY, "730d")] {
            assert_eq!(show_duration(Duration::from_secs(seconds)), text);
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)));
        }
        let day = Duration::from_hours(24);
        for length in [Duration::ZERO, day + Duration::from_hours(1), day + Duration::from_millis(1)] {
            assert_eq!(parse_duration(&show_duration(length)), Some(length));
        }
    }

    #[test]
    fn the_dates_of_http_headers_can_be_read() {
        assert_eq!(parse_http_date(" Sun, 06 Nov 1994 08:49:37 GMT "), Some(784_111_777_000));
        assert_eq!(parse_http_date("soon"), None);
    }
}

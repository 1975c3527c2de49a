//! Sizes and durations as an admin writes them, and back.
//!
//! A number without a unit is the classic way to be wrong by a factor of a thousand, so a duration
//! always has one. A size may go without: a bare one can only mean bytes. A day has 24 hours, also
//! when clocks are changed for the season; months and years have no fixed length and are refused.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::SpanRelativeTo;
use jiff::fmt::friendly::{SpanParser, SpanPrinter};

const DAY: u64 = 24 * 60 * 60;

/// Reads `250ms`, `12h`, `1h 30m` or `730d` (jiff's friendly format); `None` if the text is no such
/// duration, is negative, or names months or years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

/// Reads `1 GiB`, `500 MB` or a bare number of bytes; `None` if the text is no such size.
pub fn parse_size(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// A duration in the form that [`parse_duration`] reads.
pub fn show_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    if seconds >= DAY && seconds.is_multiple_of(DAY) && length.subsec_nanos() == 0 {
        return format!("{}d", seconds / DAY);
    }
    SpanPrinter::new().unsigned_duration_to_string(&length)
}

/// A size in the form that [`parse_size`] reads, in powers of 1024, rounded to what is readable.
pub fn show_size(bytes: u64) -> String {
    let text = ByteSize::b(bytes).display().iec().to_string();
    text.replacen(".0 ", " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn sizes_are_bytes_unless_they_say_otherwise() {
        assert_eq!(parse_size("1 GiB"), Some(1 << 30));
        assert_eq!(parse_size("1.5MiB"), Some(3 << 19));
        assert_eq!(parse_size("500 MB"), Some(500_000_000));
        assert_eq!(parse_size("4096"), Some(4096));
        for wrong in ["", "10 parsecs", "-1 MiB", "1 GiB 2", "GiB", "1,5 GiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_can_be_written_back() {
        for (seconds, text) in [(1, "1s"), (60, "1m"), (5400, "1h 30m"), (DAY, "1d"), (730 * DAY, "730d")] {
            assert_eq!(show_duration(Duration::from_secs(seconds)), text);
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)));
        }
        for (bytes, text) in [(512, "512 B"), (8 << 20, "8 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(show_size(bytes), text);
            assert_eq!(parse_size(text), Some(bytes));
        }
    }
}

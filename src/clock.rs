//! The clock, read in one place: milliseconds since 1970, as records and the spool count them.

use jiff::Timestamp;

/// The time now.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

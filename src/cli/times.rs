//! Times on the command line: as arguments, and in texts and tables.

use crate::clock;

/// A time given as an argument, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub i64);

/// Reads an argument: RFC 3339, or an age back from now.
pub fn argument(text: &str) -> Result<Time, String> {
    clock::parse(text, clock::now_ms()).map(Time).ok_or_else(|| {
        format!("`{text}` is neither a time (2026-11-21T10:00:00Z, 2026-11-21) nor an age (30d, 12h)")
    })
}

/// A time, or `-` where there is none.
pub fn shown(time_ms: Option<i64>) -> String {
    time_ms.map_or_else(|| "-".to_owned(), clock::rfc3339)
}

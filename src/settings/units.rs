//! Sizes and durations as an admin writes them, and back.
//!
//! A number without a unit is the classic way to be wrong by a factor of a thousand, so a duration
//! always has one (see [`crate::clock`]). A size needs none, since a bare size can mean bytes only.

use bytesize::ByteSize;

pub use crate::clock::{parse_duration, show_duration};

/// Reads `1 GiB`, `500 MB` or a bare number of bytes; `None` if the text is no such size.
pub fn parse_size(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
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
        for (bytes, text) in [(512, "512 B"), (8 << 20, "8 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(show_size(bytes), text);
            assert_eq!(parse_size(text), Some(bytes));
        }
    }
}

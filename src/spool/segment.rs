//! Segments: some thousand records each, in a folder of its own.
//!
//! Why many small ones: a sled file never shrinks and keeps what was removed from it, so a segment is
//! deleted whole once its records are done, and written anew without the records that must be erased.
//!
//! The last segment is **active**: a sled database that takes the next records (active.rs). All others
//! are **sealed**: nobody writes to them and sled never opens them again. One that was written anew
//! (sealed.rs) is a plain file of frames, without sled. Both are read as frames (records.rs).

use std::path::{Path, PathBuf};

pub(super) mod active;
pub(super) mod records;
pub(super) mod rescue;
pub(super) mod sealed;

/// The folder of a segment.
pub(super) fn folder(spool: &Path, number: u64) -> PathBuf {
    spool.join(format!("{PREFIX}{number:08}"))
}

/// The number of a segment's folder, if the name is that of one.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() >= 8)?;
    digits.parse().ok().filter(|number| folder(Path::new(""), *number) == Path::new(name))
}

/// A segment that holds as many bytes of frames has each of its layouts twice, with records between:
/// without its layout no record can be read, and no damaged page can hold both.
const LAYOUTS_TWICE_FROM: u64 = 16 * 1024;

const PREFIX: &str = "seg-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_segment_has_a_number() {
        assert_eq!(number("seg-00000017"), Some(17));
        assert_eq!(number("seg-123456789"), Some(123_456_789));
        for name in ["seg-17", "seg-000000017", "seg-0000001x", "seg-", "other", "seg-+0000017"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}

//! The largest numbers that may be on disk. A larger one is taken for damage.

/// The largest sequence number: every JSON reader keeps it exactly.
pub(super) const MAX_SEQ: u64 = (1 << 53) - 1;

/// The last millisecond of the year 9999.
pub(super) const MAX_TIME_MS: i64 = 253_402_300_799_999;

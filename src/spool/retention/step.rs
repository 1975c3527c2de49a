//! The steps of a plan, and their words in `status`.

use std::fmt;

use crate::spool::ledger::LedgerReason;

/// One step of a plan. The records that leave are the oldest of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionStep {
    /// All records of the segment leave.
    Drop {
        /// The segment.
        number: u64,
        /// Why.
        reason: LedgerReason,
    },
    /// The records from before this time leave. Their number shows only then, so the plan ends here, and
    /// another follows.
    Expire {
        /// The segment.
        number: u64,
        /// In milliseconds since 1970.
        before_ms: i64,
    },
    /// As many leave; the newest of each instance only if they are not spared.
    Trim {
        /// The segment.
        number: u64,
        /// The number of records.
        records: u64,
        spare_newest: bool,
    },
    /// No record leaves; the segment is written anew in less room.
    Compact {
        /// The segment.
        number: u64,
    },
    /// The files of a damaged segment leave.
    DropQuarantined {
        /// The segment.
        number: u64,
    },
}

impl fmt::Display for RetentionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetentionStep::Drop { number, reason } => {
                write!(f, "all records of seg-{number:08} leave ({})", reason.as_str())
            }
            RetentionStep::Expire { number, .. } => {
                write!(f, "the records of seg-{number:08} that are too old leave (expired)")
            }
            RetentionStep::Trim { number, records, .. } => {
                write!(f, "the {records} oldest records of seg-{number:08} leave (evicted)")
            }
            RetentionStep::Compact { number } => write!(f, "seg-{number:08} is written anew in less room"),
            RetentionStep::DropQuarantined { number } => {
                write!(f, "the damaged files in seg-{number:08} are removed")
            }
        }
    }
}

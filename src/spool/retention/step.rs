//! The steps of a plan, and their words in `status`.

use std::fmt;

use crate::spool::ledger::LedgerReason;

/// One step of a plan. `number` is the segment's; the records that leave are its oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionStep {
    /// All records of the segment leave.
    Drop { number: u64, reason: LedgerReason },
    /// The records from before this time leave. Their number shows only then, so the plan ends
    /// here, and another follows.
    Expire {
        number: u64,
        /// In milliseconds since 1970.
        before_ms: i64,
    },
    /// The oldest `records` leave; with `spare_newest` the newest of each instance stays.
    Trim { number: u64, records: u64, spare_newest: bool },
    /// No record leaves; the segment is written anew in less room.
    Compact { number: u64 },
    /// The files of a damaged segment leave.
    DropQuarantined { number: u64 },
}

impl fmt::Display for RetentionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetentionStep::Drop { number, reason } => {
                write!(f, "all records of the folder seg-{number:08} leave ({})", reason.as_str())
            }
            RetentionStep::Expire { number, .. } => {
                write!(f, "the records of the folder seg-{number:08} that are too old leave (expired)")
            }
            RetentionStep::Trim { number, records, .. } => {
                write!(f, "the {records} oldest records of the folder seg-{number:08} leave (evicted)")
            }
            RetentionStep::Compact { number } => {
                write!(f, "the folder seg-{number:08} is written anew in less room")
            }
            RetentionStep::DropQuarantined { number } => {
                write!(f, "the damaged files in the folder seg-{number:08} are removed")
            }
        }
    }
}

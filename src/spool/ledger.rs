//! The ledger: why records left the queue.
//!
//! Why: an admin must be able to answer "where did these records go?" for each record that was ever acknowledged. An entry
//! holds counts, times and a reason, never a payload.
//!
//! One entry a step, and after years of steps one sum for each fate of all that are older than the last thousand: so the ledger
//! stays small, and what has left still adds up.

use serde::{Deserialize, Serialize};

/// How records left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LedgerReason {
    /// PostHog took them.
    Delivered,
    /// Purged, by an admin or because consent was withdrawn.
    Erased,
    /// Older than the retention.
    Expired,
    /// Over the limits of the spool.
    Evicted,
    /// Refused by PostHog one by one; they stay in the spool until purged or retried.
    DeadLettered,
}

impl LedgerReason {
    /// The word used in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            LedgerReason::Delivered => "delivered",
            LedgerReason::Erased => "erased",
            LedgerReason::Expired => "expired",
            LedgerReason::Evicted => "evicted",
            LedgerReason::DeadLettered => "deadLettered",
        }
    }
}

/// One step in which records left the queue, or the sum of earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// When, in milliseconds since 1970; of a sum the last time.
    pub at_ms: i64,
    /// How.
    pub fate: LedgerReason,
    /// How many records.
    pub records: u64,
    /// Time of the oldest of them.
    pub oldest_ms: i64,
    /// Time of the newest of them.
    pub newest_ms: i64,
    /// How many steps it sums up; 1 for a step of its own.
    pub steps: u64,
}

impl LedgerEntry {
    /// The sum of two entries of the same fate.
    pub(super) fn plus(self, later: &LedgerEntry) -> LedgerEntry {
        LedgerEntry {
            at_ms: self.at_ms.max(later.at_ms),
            fate: self.fate,
            records: self.records + later.records,
            oldest_ms: self.oldest_ms.min(later.oldest_ms),
            newest_ms: self.newest_ms.max(later.newest_ms),
            steps: self.steps + later.steps,
        }
    }
}

/// How many steps have an entry of their own; older ones are summed up. Measured: with so many `state/` takes a quarter of a
/// megabyte when it is new, and half of one after years.
pub(super) const KEPT: u64 = 1000;

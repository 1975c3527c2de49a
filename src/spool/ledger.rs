//! The ledger: why records left the queue.
//!
//! Why: an admin must be able to answer "where did these records go?" for each record that was ever acknowledged. An entry
//! holds counts, times and a reason, never a payload.

use serde::{Deserialize, Serialize};

/// How records left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
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

impl Fate {
    /// The word used in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Delivered => "delivered",
            Fate::Erased => "erased",
            Fate::Expired => "expired",
            Fate::Evicted => "evicted",
            Fate::DeadLettered => "deadLettered",
        }
    }
}

/// One step in which records left the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// How.
    pub fate: Fate,
    /// How many records.
    pub records: u64,
    /// Time of the oldest of them.
    pub oldest_ms: i64,
    /// Time of the newest of them.
    pub newest_ms: i64,
}

/// How many entries are kept; the oldest give way.
pub(super) const KEPT: u64 = 1000;

//! The ledger: why records left the queue.
//!
//! Why: an admin must be able to answer "where did these records go?" for each record that was ever
//! acknowledged. An entry holds counts, times and a reason, never a payload.
//!
//! One entry a step, and one sum for each reason of all steps older than the last thousand: so the
//! ledger stays small, and the counts still add up after years.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// How records left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    pub reason: LedgerReason,
    pub records: u64,
    /// Time of the oldest of them.
    pub oldest_ms: i64,
    /// Time of the newest of them.
    pub newest_ms: i64,
    /// How many steps it sums up; 1 for a step of its own.
    pub steps: u64,
}

impl LedgerEntry {
    /// The sum of two entries with the same reason.
    fn plus(self, later: &LedgerEntry) -> LedgerEntry {
        LedgerEntry {
            at_ms: self.at_ms.max(later.at_ms),
            reason: self.reason,
            records: self.records.saturating_add(later.records),
            oldest_ms: self.oldest_ms.min(later.oldest_ms),
            newest_ms: self.newest_ms.max(later.newest_ms),
            steps: self.steps.saturating_add(later.steps),
        }
    }
}

/// How many steps have an entry of their own. They take about 20 kB of each commit.
const KEPT: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Of the last steps, oldest first.
    entries: VecDeque<LedgerEntry>,
    /// The sums of the steps before.
    earlier: BTreeMap<LedgerReason, LedgerEntry>,
}

impl Ledger {
    pub(super) fn append(&mut self, entry: LedgerEntry) {
        self.entries.push_back(entry);
        if self.entries.len() > KEPT
            && let Some(old) = self.entries.pop_front()
        {
            let sum = self.earlier.remove(&old.reason);
            self.earlier.insert(old.reason, sum.map_or(old.clone(), |sum| sum.plus(&old)));
        }
    }

    /// The sums of the earlier steps, and then the entries.
    pub(super) fn all(&self) -> Vec<LedgerEntry> {
        self.earlier.values().chain(&self.entries).cloned().collect()
    }

    /// Whether it is no longer than it may be.
    pub(super) fn is_plausible(&self) -> bool {
        self.entries.len() <= KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_steps_become_sums_and_no_record_is_forgotten() {
        let mut ledger = Ledger::default();
        for at_ms in 0..2500 {
            let reason = if at_ms % 2 == 0 { LedgerReason::Delivered } else { LedgerReason::Expired };
            ledger.append(LedgerEntry {
                at_ms,
                reason,
                records: 3,
                oldest_ms: at_ms,
                newest_ms: at_ms + 5,
                steps: 1,
            });
        }
        let all = ledger.all();
        assert_eq!(all.len(), KEPT + 2);
        assert_eq!(all.iter().map(|entry| entry.records).sum::<u64>(), 7500);
        assert_eq!(all.iter().map(|entry| entry.steps).sum::<u64>(), 2500);
        let sum = &all[0];
        assert_eq!(
            (sum.reason, sum.at_ms, sum.oldest_ms, sum.newest_ms),
            (LedgerReason::Delivered, 1498, 0, 1503)
        );
        assert!(all[2..].is_sorted_by_key(|entry| entry.at_ms) && ledger.is_plausible());
        ledger.entries.push_back(all[2].clone());
        assert!(!ledger.is_plausible(), "longer than salver ever writes it");
    }

    #[test]
    fn a_reason_has_one_word_everywhere() {
        use LedgerReason::*;
        for reason in [Delivered, Erased, Expired, Evicted, DeadLettered] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}

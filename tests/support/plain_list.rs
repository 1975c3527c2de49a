//! What a spool holds, as a plain list in memory: no disk, no process and no file can confuse it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::{BTreeMap, BTreeSet};

use salver::record::Record;
use salver::spool::{DeadLetter, LedgerReason, Queued, Receipt, Selector, SpoolLimits};

/// Records that are stamped further ahead wait for their time.
const AHEAD_MS: i64 = 23 * 3600 * 1000;

/// The words of every dead letter.
pub const REFUSAL: &str = "400 no";

/// Why the records of a batch stay in the list or leave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Delivered,
    /// The first record is refused; what became of the others is not known.
    FirstRefused,
    Kept,
    /// They may have arrived.
    None,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlainList {
    /// The queue, oldest first.
    pub records: Vec<Queued>,
    /// The sequence numbers of records that are on the wire.
    pub in_flight: BTreeSet<u64>,
    /// How many records have left, by reason.
    pub ledger: BTreeMap<LedgerReason, u64>,
    /// The uuids of what was delivered or erased, and when.
    pub gone: BTreeMap<String, i64>,
    /// The sequence number of what was recorded last of each instance.
    newest: BTreeMap<String, u64>,
}

impl PlainList {
    pub fn add(&mut self, seq: u64, record: Record) {
        self.newest.insert(record.instance.clone(), seq);
        self.records.push(Queued { seq, record, attempts: 0, dead: None });
    }

    /// What is too old leaves, and then the oldest while there are too many, but what was recorded
    /// last of an instance only where nothing else is left.
    pub fn keep_limits(&mut self, limits: &SpoolLimits, now_ms: i64) {
        let before_ms = now_ms - i64::try_from(limits.retention.as_millis()).unwrap();
        self.remove(LedgerReason::Expired, |queued| queued.record.timestamp_ms < before_ms);
        let newest: BTreeSet<u64> = self.newest.values().copied().collect();
        for _ in 0..self.records.len().saturating_sub(limits.max_records as usize) {
            let oldest = self.records.iter().find(|queued| !newest.contains(&queued.seq));
            let seq = oldest.unwrap_or(&self.records[0]).seq;
            self.remove(LedgerReason::Evicted, |queued| queued.seq == seq);
        }
    }

    /// The sequence numbers of the batch that is next: what was on the wire comes first and alone.
    pub fn next(&self, most: usize, held: &BTreeSet<String>, now_ms: i64) -> Vec<u64> {
        let may_go = |queued: &&Queued| {
            queued.dead.is_none()
                && !held.contains(&queued.record.instance)
                && queued.record.timestamp_ms <= now_ms + AHEAD_MS
        };
        let sendable: Vec<u64> = self.records.iter().filter(may_go).map(|queued| queued.seq).collect();
        let again: Vec<u64> = sendable.iter().copied().filter(|seq| self.in_flight.contains(seq)).collect();
        if again.is_empty() { sendable } else { again }.into_iter().take(most).collect()
    }

    pub fn begin(&mut self, batch: &[u64]) {
        for queued in self.records.iter_mut().filter(|queued| batch.contains(&queued.seq)) {
            queued.attempts += 1;
            self.in_flight.insert(queued.seq);
        }
    }

    pub fn acknowledge(&mut self, batch: &[u64], answer: Answer, now_ms: i64) {
        match answer {
            Answer::Delivered => {
                let delivered = self.remove(LedgerReason::Delivered, |queued| batch.contains(&queued.seq));
                self.gone.extend(delivered.into_iter().map(|queued| (queued.record.uuid, now_ms)));
            }
            Answer::FirstRefused => {
                let first = self.records.iter_mut().find(|queued| queued.seq == batch[0]).unwrap();
                let words = Some(REFUSAL.to_owned());
                first.dead = Some(DeadLetter { at_ms: Some(now_ms), words, attempts: first.attempts });
                self.in_flight.remove(&batch[0]);
                *self.ledger.entry(LedgerReason::DeadLettered).or_default() += 1;
            }
            Answer::Kept => self.in_flight.retain(|seq| !batch.contains(seq)),
            Answer::None => {}
        }
    }

    /// Erases, and returns what the receipt should say.
    pub fn purge(&mut self, selector: &Selector, now_ms: i64) -> Receipt {
        let in_flight = self.in_flight.clone();
        let erased = self.remove(LedgerReason::Erased, |queued| is_selected(selector, queued));
        let mut receipt = Receipt::default();
        for queued in erased {
            let (time_ms, record) = (queued.record.timestamp_ms, queued.record);
            receipt.records += 1;
            receipt.dead += u64::from(queued.dead.is_some());
            receipt.may_be_delivered += u64::from(in_flight.contains(&queued.seq));
            let (oldest_ms, newest_ms) = receipt.span_ms.unwrap_or((time_ms, time_ms));
            receipt.span_ms = Some((oldest_ms.min(time_ms), newest_ms.max(time_ms)));
            *receipt.instances.entry(record.instance).or_default() += 1;
            receipt.ids.entry(record.draft.id).or_default().erased += 1;
            self.gone.insert(record.uuid, now_ms);
        }
        receipt
    }

    /// Puts the dead letters back into the queue and returns how many.
    pub fn revive_dead(&mut self) -> u64 {
        self.records.iter_mut().filter_map(|queued| queued.dead.take()).count() as u64
    }

    fn remove(&mut self, reason: LedgerReason, leaves: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        let removed: Vec<Queued> = self.records.extract_if(.., |queued| leaves(queued)).collect();
        if !removed.is_empty() {
            *self.ledger.entry(reason).or_default() += removed.len() as u64;
        }
        removed.iter().for_each(|queued| _ = self.in_flight.remove(&queued.seq));
        removed
    }
}

fn is_selected(selector: &Selector, Queued { record, dead, .. }: &Queued) -> bool {
    selector.id.as_ref().is_none_or(|id| *id == record.draft.id)
        && selector.instance.as_ref().is_none_or(|instance| *instance == record.instance)
        && selector.service.as_ref().is_none_or(|service| *service == record.draft.layout.service)
        && selector.before_ms.is_none_or(|before| record.timestamp_ms < before)
        && (!selector.dead || dead.is_some())
}

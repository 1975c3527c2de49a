//! Erasing: after a purge the records are gone from the disk's files, not marked.
//!
//! Why segments are written anew: sled keeps the bytes of what was removed (measured: 995 of 1,000 uuids
//! were still readable after removing and flushing). So a segment that holds such records is written
//! anew without them, under a new number; the manifest switches over, in both slots, and the old folder
//! is removed. That takes room for one segment at a time, which the reserve keeps on a full disk.
//!
//! # Invariants
//!
//! 1. A purge that has begun is completed. Its selector is in the manifest before the first file changes,
//!    with the sequence number below which it applies, and the next opening carries it on.
//! 2. A purge that cannot be completed now stops nobody: others record, read and send, but never what it
//!    selects.
//! 3. Damaged segments that are kept for inspection go with any purge: what they hold cannot be told
//!    apart.

use std::collections::{BTreeMap, BTreeSet};

use super::error::SpoolError;
use super::ledger::LedgerReason;
use super::manifest::PendingPurge;
use super::queue::{Span, Spool};
use super::reader::SpoolReader;
use super::search::{Erased, Search};
use super::segment::{self, records::Records};
use super::selector::Selector;
use crate::record::Record;

/// What was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Records erased that were still in the queue, dead letters included.
    pub records: u64,
    /// The number of them that were dead letters.
    pub dead: u64,
    /// The number of them that were sent without an answer that tells their outcome: they may have been
    /// delivered.
    pub may_be_delivered: u64,
    /// Times of the oldest and the newest, in milliseconds since 1970.
    pub span_ms: Option<(i64, i64)>,
    /// Records by instance.
    pub instances: BTreeMap<String, u64>,
    /// The ids that the records carried, and ids that were forgotten.
    pub ids: BTreeMap<String, Delivered>,
    /// Instances that no longer collect.
    pub stopped: BTreeSet<String>,
    /// Damaged folders that were kept for inspection and are removed now.
    pub quarantined: u64,
    span: Span,
}

/// A purge that was carried out: its receipt, and what a search must not find any more.
#[derive(Default)]
pub struct Purged {
    pub receipt: Receipt,
    erased: Erased,
}

/// What is known of an id's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records with it that were erased.
    pub erased: u64,
    /// When a record with it was last delivered: those are at PostHog, and only its operator can erase
    /// them.
    pub last_ms: Option<i64>,
}

impl SpoolReader {
    /// What a purge would erase.
    pub fn would_purge(&mut self, selector: &Selector) -> Result<Receipt, SpoolError> {
        self.show_up_to_now();
        let mut receipt = Receipt::default();
        let in_flight = self.manifest.in_flight.clone();
        let _ = self.each(0, u64::MAX, |queued| {
            let dead = queued.dead.is_some();
            if selector.matches(&queued.record, dead) {
                receipt.add(&queued.record, dead, in_flight.contains(queued.seq));
            }
            std::ops::ControlFlow::<()>::Continue(())
        })?;
        receipt.quarantined = self.manifest.quarantined.len() as u64;
        self.complete(&mut receipt);
        Ok(receipt)
    }

    fn complete(&self, receipt: &mut Receipt) {
        let Span { records, oldest_ms, newest_ms } = receipt.span;
        receipt.span_ms = (records > 0).then_some((oldest_ms, newest_ms));
        for (id, delivered) in &mut receipt.ids {
            let known = self.manifest.ids.get(id).and_then(|history| history.delivered_ms);
            delivered.last_ms = delivered.last_ms.max(known);
        }
    }
}

impl Spool {
    /// Erases what `selector` selects. When this returns, none of it is in the folder's files.
    pub fn purge(&mut self, selector: &Selector) -> Result<Purged, SpoolError> {
        let before_seq = self.manifest.next_seq;
        let purge = PendingPurge { selector: selector.clone(), before_seq };
        self.manifest.pending_purge = Some(purge.clone());
        self.checkpoint()?;
        self.carry_out(&purge)
    }

    /// Completes a purge that was interrupted. Where that fails it is left for the next opening.
    pub(super) fn resume_purge(&mut self) {
        let Some(purge) = self.manifest.pending_purge.clone() else { return };
        match self.carry_out(&purge) {
            Ok(Purged { receipt, .. }) => {
                tracing::info!(records = receipt.records, "completed a purge that was interrupted")
            }
            Err(error) => tracing::warn!("a purge that was interrupted cannot be completed yet: {error}"),
        }
    }

    fn carry_out(&mut self, purge: &PendingPurge) -> Result<Purged, SpoolError> {
        let mut purged = Purged::default();
        let mut from = 0;
        while let Some(entry) = self.manifest.segments.iter().find(|it| it.present.last() >= Some(from)) {
            let (number, last) = (entry.number, entry.present.last());
            if self.erase_from(number, purge, &mut purged)? {
                from = last.map_or(from, |last| last + 1);
            }
        }
        let quarantined = std::mem::take(&mut self.manifest.quarantined);
        purged.receipt.quarantined = quarantined.len() as u64;
        self.obsolete.extend(quarantined.iter().map(|part| part.number));
        self.complete(&mut purged.receipt);
        self.forget_ids(&purge.selector, &mut purged);
        self.manifest.pending_purge = None;
        self.manifest.forget_absent();
        self.into_both_slots = true;
        self.checkpoint()?;
        Ok(purged)
    }

    /// Writes one segment anew without the selected records, unless it holds none. Returns false if the
    /// segment was damaged and replaced by others, which are to be looked at again.
    fn erase_from(
        &mut self,
        number: u64,
        purge: &PendingPurge,
        purged: &mut Purged,
    ) -> Result<bool, SpoolError> {
        let Some(at) = self.manifest.position(number) else { return Ok(true) };
        let entry = self.manifest.segments[at].clone();
        // Records that have left the queue are still in the files.
        let found =
            match Records::read(&segment::folder(&self.folder, number), |seq| entry.present.contains(seq)) {
                Err(_) if purge.selector.all && entry.present.last() < Some(purge.before_seq) => {
                    self.erase_unread(at, &mut purged.receipt);
                    return Ok(true);
                }
                read => read?,
            };
        if !entry.live().iter().all(|seq| found.contains(seq)) {
            self.recover(&[number])?;
            return Ok(false);
        }
        let records = found.into_records();
        let (erase, keep): (Vec<_>, Vec<_>) =
            records.partition(|(seq, record)| purge.selects(*seq, record, entry.dead.contains(*seq)));
        if erase.is_empty() {
            return Ok(true);
        }
        erase.iter().for_each(|(_, record)| purged.erased.add_uuid(&record.uuid));
        let live: Vec<_> = erase.into_iter().filter(|(seq, _)| entry.is_live(*seq)).collect();
        let uuids: Vec<&str> = live.iter().map(|(_, record)| record.uuid.as_str()).collect();
        self.add_to_dedup(&uuids)?;
        let mut span = Span::default();
        for (seq, record) in &live {
            let in_flight = self.manifest.in_flight.contains(*seq);
            purged.receipt.add(record, entry.dead.contains(*seq), in_flight);
            span.add(record.timestamp_ms);
            self.manifest.mark_done(at, *seq);
        }
        self.append_to_ledger(LedgerReason::Erased, span);
        let keep: Vec<_> = keep.into_iter().filter(|(seq, _)| entry.is_live(*seq)).collect();
        self.replace_segment(number, &keep)?;
        Ok(true)
    }

    /// Erases a whole segment that cannot be read.
    fn erase_unread(&mut self, at: usize, receipt: &mut Receipt) {
        let entry = self.manifest.segments[at].clone();
        let records = entry.live_count();
        let span = Span { records, oldest_ms: entry.oldest_ms, newest_ms: entry.newest_ms };
        receipt.records += records;
        receipt.dead += entry.dead.len();
        entry.live().iter().for_each(|seq| self.manifest.mark_done(at, seq));
        self.append_to_ledger(LedgerReason::Erased, span);
    }

    /// Puts a segment with these records in the place of another, whose files are gone when this returns.
    pub(super) fn replace_segment(&mut self, number: u64, keep: &[(u64, Record)]) -> Result<(), SpoolError> {
        self.close_active()?;
        let Some(at) = self.manifest.position(number) else { return Ok(()) };
        if keep.is_empty() {
            self.manifest.segments.remove(at);
        } else {
            let dead = self.manifest.segments[at].dead.clone();
            self.manifest.segments[at] = self.write_segment(keep, &dead)?;
        }
        self.obsolete.push(number);
        self.checkpoint()
    }

    /// Forgets the ids that the selector speaks of, except those that an instance goes on using.
    fn forget_ids(&mut self, selector: &Selector, purged: &mut Purged) {
        if selector.dead || selector.before_ms.is_some() {
            // Other records with the same id may stay.
            return;
        }
        let names: Vec<String> = (self.manifest.instances.iter())
            .filter(|(name, instance)| selector.speaks_of(name, &instance.service))
            .map(|(name, _)| name.clone())
            .collect();
        self.forget_ids_of(&names, selector.id.as_deref(), purged);
    }

    /// Forgets that these instances used an id, or all ids, unless it is the one that they use now.
    fn forget_ids_of(&mut self, names: &[String], only: Option<&str>, purged: &mut Purged) {
        let manifest = &mut self.reader.manifest;
        let instances = &manifest.instances;
        manifest.ids.retain(|id, history| {
            if only.is_some_and(|only| only != id) {
                return true;
            }
            let uses = |name: &str| {
                instances.get(name).and_then(|it| it.pin.as_ref()).is_some_and(|pin| pin.id == *id)
            };
            history.instances.retain(|name| uses(name) || !names.contains(name));
            let is_used = !history.instances.is_empty() || instances.keys().any(|name| uses(name));
            if !is_used {
                purged.receipt.ids.entry(id.clone()).or_default().last_ms = history.delivered_ms;
                purged.erased.add_id(id);
            }
            is_used
        });
    }

    /// Pauses an instance and forgets its ids, in the files as well: the receipt is the last that names
    /// them.
    pub fn stop_collecting(&mut self, name: &str, purged: &mut Purged) {
        let mut instance = self.instance(name).unwrap_or_default();
        instance.paused = true;
        instance.collecting = false;
        instance.why = "stopped by a purge; `salver resume` starts it again".into();
        if let Some(pin) = instance.pin.take() {
            purged.receipt.ids.entry(pin.id.clone()).or_default();
            purged.erased.add_id(&pin.id);
        }
        self.put_instance(name, instance);
        self.forget_ids_of(&[name.to_owned()], None, purged);
        purged.receipt.stopped.insert(name.to_owned());
        self.into_both_slots = true;
    }

    /// Closes the spool after a purge and searches its folder for what was erased.
    pub fn close_and_search(self, purged: Purged) -> Result<(Receipt, Search), SpoolError> {
        let folder = self.folder.clone();
        let Purged { receipt, mut erased } = purged;
        erased.keep_ids(|id| !self.manifest.uses_id(id));
        self.close()?;
        Ok((receipt, erased.search(&folder)?))
    }
}

impl Receipt {
    fn add(&mut self, record: &Record, dead: bool, in_flight: bool) {
        self.records += 1;
        self.dead += u64::from(dead);
        self.may_be_delivered += u64::from(in_flight);
        *self.instances.entry(record.instance.clone()).or_default() += 1;
        self.ids.entry(record.draft.id.clone()).or_default().erased += 1;
        self.span.add(record.timestamp_ms);
    }
}

//! Erasing: after a purge the records are gone from the disk's files, not marked.
//!
//! Why segments are rewritten: sled keeps the bytes of what was removed (measured: 995 of 1,000 uuids were still readable
//! after removing and flushing). So a segment that holds such records is built anew without them, the witness switches
//! over, and the old folder is removed. It costs room for one segment at a time, which the reserve keeps on a full disk.
//! So is `state/`, since a server's words about a dead letter may quote it.
//!
//! Invariant: a purge that has begun is finished. What it was to erase stands in `state/` before the first file changes,
//! with the sequence number below which it applies, and the next opening carries it on if its process died.

use std::collections::{BTreeMap, BTreeSet};

use super::check;
use super::error::{Doing, SpoolError};
use super::ledger::LedgerReason;
use super::queue::{Span, Spool};
use super::selector::Selector;
use super::state::{self, Intent, State};
use super::store::{self, Go};
use super::witness::Entry;
use crate::record::Record;

/// What was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Records erased that were still in the queue, dead ones included.
    pub records: u64,
    /// How many of them were dead letters.
    pub dead: u64,
    /// How many of them were sent, and no answer says what became of them: they may have been delivered.
    pub may_be_delivered: u64,
    /// Times of the oldest and the newest, in milliseconds since 1970.
    pub span_ms: Option<(i64, i64)>,
    /// Records by instance.
    pub instances: BTreeMap<String, u64>,
    /// The ids the records carried, and ids that were forgotten with their instance.
    pub ids: BTreeMap<String, Delivered>,
    /// Instances that no longer collect.
    pub stopped: BTreeSet<String>,
}

/// What is known of an id's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records with it that were erased.
    pub erased: u64,
    /// When a record with it was last delivered: those are at PostHog, and only its operator can erase them.
    pub last_ms: Option<i64>,
}

impl Spool {
    /// Erases what `selector` selects. When this returns, none of it is in the folder's files.
    pub fn purge(&mut self, selector: &Selector) -> Result<Receipt, SpoolError> {
        let intent = Intent { selector: selector.clone(), below: self.next_seq() };
        self.state.meta.intent = Some(intent.clone());
        self.state.commit()?;
        self.carry_out(&intent)
    }

    /// Tells what a purge would erase.
    pub fn would_purge(&mut self, selector: &Selector) -> Result<Receipt, SpoolError> {
        let mut receipt = Receipt::default();
        let mut span = Span::default();
        let in_flight = self.state.meta.in_flight.clone();
        self.each(0, |queued| {
            let dead = queued.dead.is_some();
            if selector.matches(&queued.record, dead) {
                receipt.note(&queued.record, dead, in_flight.contains(queued.seq), &mut span);
            }
            true
        })?;
        self.complete(&mut receipt, span)?;
        Ok(receipt)
    }

    /// Finishes a purge whose process died.
    pub(super) fn resume_purge(&mut self) -> Result<(), SpoolError> {
        if let Some(intent) = self.state.meta.intent.clone() {
            let receipt = self.carry_out(&intent)?;
            tracing::info!(records = receipt.records, "finished a purge that was interrupted");
        }
        Ok(())
    }

    fn carry_out(&mut self, intent: &Intent) -> Result<Receipt, SpoolError> {
        let mut receipt = Receipt::default();
        let mut span = Span::default();
        let numbers: Vec<u64> = self.witness.segments.iter().map(|entry| entry.number).collect();
        for number in numbers {
            self.rewrite(number, intent, &mut receipt, &mut span)?;
        }
        self.forget_set_aside(&intent.selector)?;
        // A server's words about a dead letter may quote it, and sled keeps what was removed.
        self.scrub_state()?;
        self.state.meta.intent = None;
        self.checkpoint()?;
        self.complete(&mut receipt, span)?;
        Ok(receipt)
    }

    /// Builds one segment anew without the selected records, unless it holds none.
    fn rewrite(
        &mut self,
        number: u64,
        intent: &Intent,
        receipt: &mut Receipt,
        span: &mut Span,
    ) -> Result<(), SpoolError> {
        let Some(at) = self.witness.segments.iter().position(|entry| entry.number == number) else {
            return Ok(());
        };
        let dead = self.state.dead()?;
        let in_flight = self.state.meta.in_flight.clone();
        let mut keep = Vec::new();
        let mut erase = Vec::new();
        self.segment(at)?.each(0, |seq, record| {
            let list = if seq < intent.below && intent.selector.matches(&record, dead.contains_key(&seq)) {
                &mut erase
            } else {
                &mut keep
            };
            list.push((seq, record));
            Ok(Go::On)
        })?;
        if erase.is_empty() {
            return Ok(());
        }
        let old = self.witness.segments[at].clone();
        let mut here = Span::default();
        erase.retain(|(seq, _)| old.is_live(*seq));
        let uuids: Vec<&str> = erase.iter().map(|(_, record)| record.uuid.as_str()).collect();
        self.note_left(&uuids)?;
        for (seq, record) in &erase {
            receipt.note(record, dead.contains_key(seq), in_flight.contains(*seq), span);
            here.add(record.timestamp_ms);
            self.mark_done(at, *seq);
        }
        self.enter(LedgerReason::Erased, here)?;
        keep.retain(|(seq, _)| old.is_live(*seq));
        self.replace_segment(at, &keep)
    }

    /// Puts a segment with these records in the place of another, whose files are gone when this returns. The others are marked
    /// as done and entered in the ledger before.
    pub(super) fn replace_segment(&mut self, at: usize, keep: &[(u64, Record)]) -> Result<(), SpoolError> {
        let Entry { number: old, dead, .. } = self.witness.segments[at].clone();
        self.close_segment()?;
        // Before the new segment is there: from then on the next opening takes it for the truth.
        self.state.commit()?;
        self.doomed.push(old);
        if keep.is_empty() {
            self.witness.segments.remove(at);
        } else {
            let mut fresh = Entry { number: self.witness.next_segment, ..Entry::default() };
            self.witness.next_segment += 1;
            let records = keep.iter().map(|(seq, record)| (*seq, record));
            check::write_segment(&self.folder, &mut fresh, Some(old), records)?;
            fresh.dead = dead;
            self.witness.segments[at] = fresh;
        }
        self.checkpoint()
    }

    /// Removes parts that were set aside as damaged if they hold any of it.
    fn forget_set_aside(&mut self, selector: &Selector) -> Result<(), SpoolError> {
        for path in check::parts_set_aside(&self.folder)? {
            let records = check::records_in(&path)?;
            // Whether a damaged record was a dead letter is not known there: it is taken for one.
            if records.values().any(|record| selector.matches(record, true)) {
                store::remove_folder(&path)?;
                store::sync_folder(&self.folder)?;
            }
        }
        Ok(())
    }

    fn complete(&mut self, receipt: &mut Receipt, span: Span) -> Result<(), SpoolError> {
        receipt.span_ms = (span.records > 0).then_some((span.oldest_ms, span.newest_ms));
        for (id, delivered) in &mut receipt.ids {
            delivered.last_ms = self.state.id(id)?.and_then(|history| history.delivered_ms);
        }
        Ok(())
    }

    /// Pauses an instance and forgets its ids, in the files as well: the receipt is the last that names them.
    pub fn stop_collecting(&mut self, name: &str, receipt: &mut Receipt) -> Result<(), SpoolError> {
        let mut instance = self.instance(name)?.unwrap_or_default();
        instance.paused = true;
        instance.collecting = false;
        instance.why = "stopped by a purge; `salver resume` starts it again".into();
        instance.pin = None;
        self.put_instance(name, &instance);
        for (id, mut history) in self.ids()? {
            if !history.instances.remove(name) {
                continue;
            }
            receipt.ids.entry(id.clone()).or_default().last_ms = history.delivered_ms;
            if history.instances.is_empty() {
                self.state.remove_id(&id);
            } else {
                self.state.put_id(&id, &history);
            }
        }
        receipt.stopped.insert(name.to_owned());
        Ok(())
    }

    /// Builds `state/` anew, so that nothing that was removed from it is left in its files.
    pub fn scrub_state(&mut self) -> Result<(), SpoolError> {
        let place = self.folder.join(state::FOLDER);
        let fresh = place.with_extension("tmp");
        let old = place.with_extension("old");
        store::remove_folder(&fresh)?;
        // First, since it changes the state: what is copied must be the last word.
        self.checkpoint()?;
        self.state.copy_to(&fresh)?;
        // The open database has to be closed before its folder moves; an empty one stands in for a moment.
        let stand_in = self.folder.join("stand-in.tmp");
        let open = std::mem::replace(&mut self.state, State::at(&stand_in)?);
        open.close()?;
        std::fs::rename(&place, &old).doing("move away", &place)?;
        std::fs::rename(&fresh, &place).doing("move into place", &fresh)?;
        store::sync_folder(&self.folder)?;
        std::mem::replace(&mut self.state, State::open(&self.folder)?).close()?;
        store::remove_folder(&old)?;
        store::remove_folder(&stand_in)?;
        // As with segments: what was forgotten must not be back after a power cut.
        store::sync_folder(&self.folder)
    }
}

impl Receipt {
    fn note(&mut self, record: &Record, dead: bool, in_flight: bool, span: &mut Span) {
        self.records += 1;
        self.dead += u64::from(dead);
        self.may_be_delivered += u64::from(in_flight);
        *self.instances.entry(record.instance.clone()).or_default() += 1;
        self.ids.entry(record.draft.id.clone()).or_default().erased += 1;
        span.add(record.timestamp_ms);
    }
}

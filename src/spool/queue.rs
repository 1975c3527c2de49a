//! The open spool: recording, and what the other stages keep in it.
//!
//! Held only while acting, never while waiting. A record is on stable storage when
//! [`Spool::record`] returns; everything else becomes durable with the manifest in
//! [`Spool::close`].

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Deref, DerefMut};

use uuid::{NoContext, Timestamp, Uuid};

use super::dedup::{DedupIndex, Keep};
use super::error::{SpoolError, Unencodable};
use super::ledger::{LedgerEntry, LedgerReason};
use super::lock::Lock;
use super::manifest::{Entry, Manifest};
use super::reader::{Portion, Queued, SpoolReader};
use super::segment::active::ActiveSegment;
use super::segment::rescue::Rescue;
use super::segment::sealed;
use crate::clock;
use crate::record::{Draft, Reason, Record};

/// A segment is full at this many records or bytes of frames.
pub(super) const SEGMENT_RECORDS: u64 = 4096;
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// A folder with a narrow limit on bytes has at least as many segments, since the one that is
/// written to cannot be evicted.
const SEGMENTS_WITHIN_LIMIT: u64 = 16;

/// An open spool. Dropped without [`Spool::close`] the effect is that of a killed process: nothing
/// acknowledged is lost.
pub struct Spool {
    pub(super) reader: SpoolReader,
    /// The manifest as it was last written.
    pub(super) committed: Manifest,
    pub(super) dedup: DedupIndex,
    pub(super) active: Option<ActiveSegment>,
    /// The last draft of each instance whose digest is not in the manifest yet: a digest takes
    /// longer than everything else that is noted of a record, and only the last one counts.
    pub(super) undigested: BTreeMap<String, Draft>,
    /// Folders of segments that the manifest no longer names.
    pub(super) obsolete: Vec<u64>,
    /// The next checkpoint writes both slots of the manifest.
    pub(super) into_both_slots: bool,
    /// A write to the active segment failed: what the disk has of it is not known, so nothing more
    /// is committed by this process.
    pub(super) failed: bool,
    /// Bytes of the reserve that were released to open the spool.
    pub(super) released: u64,
    // Last, so that everything is closed before the next process is let in.
    pub(super) _lock: Lock,
}

impl Deref for Spool {
    type Target = SpoolReader;

    fn deref(&self) -> &SpoolReader {
        &self.reader
    }
}

impl DerefMut for Spool {
    fn deref_mut(&mut self) -> &mut SpoolReader {
        &mut self.reader
    }
}

/// A number of records and their times: what the ledger and receipts say of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub records: u64,
    pub oldest_ms: i64,
    pub newest_ms: i64,
}

impl Span {
    pub(super) fn add(&mut self, timestamp_ms: i64) {
        self.oldest_ms = if self.records == 0 { timestamp_ms } else { self.oldest_ms.min(timestamp_ms) };
        self.newest_ms = if self.records == 0 { timestamp_ms } else { self.newest_ms.max(timestamp_ms) };
        self.records += 1;
    }
}

impl Spool {
    /// Writes a record of `instance` and returns it when it is on stable storage.
    pub fn record(&mut self, instance: &str, draft: Draft, reason: Reason) -> Result<Record, SpoolError> {
        let mut records = self.record_all(instance, vec![draft], reason)?;
        records.pop().ok_or(SpoolError::Clock)
    }

    /// Writes many records with one sync for some hundred of them; all are on stable storage when
    /// this returns.
    pub fn record_all(
        &mut self,
        instance: &str,
        drafts: Vec<Draft>,
        reason: Reason,
    ) -> Result<Vec<Record>, SpoolError> {
        const PORTION: u64 = 512;
        let mut written: Vec<Record> = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter().peekable();
        while drafts.peek().is_some() {
            let at = self.writable_segment()?;
            let room = SEGMENT_RECORDS.saturating_sub(self.manifest.segments[at].present.len());
            let portion = drafts.by_ref().take(room.clamp(1, PORTION) as usize);
            let mut records = Vec::with_capacity(portion.size_hint().0);
            for draft in portion {
                records.push(self.stamp(instance, draft, reason)?);
            }
            self.append(at, &records)?;
            written.append(&mut records);
        }
        Ok(written)
    }

    /// Makes a record of a draft, with a time that no other record of the id has.
    fn stamp(&mut self, instance: &str, draft: Draft, reason: Reason) -> Result<Record, SpoolError> {
        let now_ms = self.now_ms;
        let history = self.manifest.ids.entry(draft.id.clone()).or_default();
        let timestamp_ms = history.used.next(now_ms).ok_or(SpoolError::Clock)?;
        history.used.add(timestamp_ms);
        Ok(Record {
            uuid: uuid_at(timestamp_ms),
            timestamp_ms,
            instance: instance.to_owned(),
            reason,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            draft,
        })
    }

    /// Adds records to the active segment. The manifest learns of them only when they are durable.
    fn append(&mut self, at: usize, records: &[Record]) -> Result<(), SpoolError> {
        let first = self.manifest.next_seq;
        let numbered: Vec<(u64, &Record)> = (first..).zip(records).collect();
        let held = self.manifest.segments[at].frame_bytes;
        // Before they are written: where that fails their frames may be on disk all the same.
        self.manifest.next_seq = first + records.len() as u64;
        let Some(active) = &mut self.active else { return Err(Unencodable.into()) };
        let appended = active.append(&numbered, held);
        // A record that cannot be encoded was not written at all.
        self.failed |= appended.as_ref().is_err_and(|error| !matches!(error, SpoolError::Unencodable(_)));
        let held = appended?;
        let entry = &mut self.manifest.segments[at];
        entry.frame_bytes = held;
        for (seq, record) in &numbered {
            entry.add(*seq, record.timestamp_ms);
        }
        numbered.iter().for_each(|(seq, record)| self.note_record(*seq, record));
        self.keep_limits()
    }

    /// The position of the active segment, opened; a new one if the last is full.
    fn writable_segment(&mut self) -> Result<usize, SpoolError> {
        if !clock::RANGE.contains(&self.now_ms) {
            return Err(SpoolError::Clock);
        }
        let full_bytes = SEGMENT_BYTES.min(self.limits.max_bytes / SEGMENTS_WITHIN_LIMIT);
        if let Some((at, last)) = self.manifest.segments.iter().enumerate().next_back()
            && !last.sealed
            && last.present.len() < SEGMENT_RECORDS
            && last.frame_bytes < full_bytes
        {
            let number = last.number;
            if self.active.as_ref().map(ActiveSegment::number) == Some(number) {
                return Ok(at);
            }
            if self.open_active(at)? {
                return Ok(at);
            }
        }
        self.seal_active()?;
        let number = self.manifest.next_segment;
        self.active = Some(ActiveSegment::create(&self.folder, number)?);
        self.manifest.next_segment = number + 1;
        self.manifest.segments.push(Entry { number, ..Entry::default() });
        Ok(self.manifest.segments.len() - 1)
    }

    /// Opens the active segment. If the database refuses it or lost records at that, the frames are
    /// written anew, and there is no active segment any more.
    fn open_active(&mut self, at: usize) -> Result<bool, SpoolError> {
        let entry = self.manifest.segments[at].clone();
        let rescue = Rescue::read(&self.folder, &entry)?;
        if let Ok(mut active) = ActiveSegment::open(&self.folder, entry.number) {
            let newest = entry.present.last();
            if newest.is_none_or(|newest| active.has(newest).unwrap_or(false)) {
                self.active = Some(active);
                self.manifest.segments[at].checksum = None;
                return Ok(true);
            }
            active.abandon();
        }
        let number = self.manifest.next_segment;
        self.manifest.next_segment = number + 1;
        self.manifest.segments[at] = sealed::write_frames(&self.folder, number, rescue.bytes(), &entry)?;
        self.obsolete.push(entry.number);
        self.into_both_slots = true;
        self.checkpoint()?;
        tracing::warn!(
            "the folder seg-{:08} of the spool did not open as it was closed, as if the disk could not be read; its records \
             were written anew and none is lost",
            entry.number
        );
        Ok(false)
    }

    /// Ends the active segment. What it took is committed, so that a crash has one segment to
    /// recover.
    fn seal_active(&mut self) -> Result<(), SpoolError> {
        if let Some(last) = self.manifest.segments.last_mut() {
            last.sealed = true;
        }
        if self.active.is_some() { self.checkpoint() } else { Ok(()) }
    }

    /// Whether a record was delivered or erased here: if so, an import leaves it out. Known of the
    /// newest 65,536 such records, and no longer than records may wait (the retention); of fewer
    /// where the limit on bytes is narrow.
    pub fn is_in_dedup(&mut self, uuid: &Uuid) -> Result<bool, SpoolError> {
        self.dedup.contains(uuid)
    }

    /// Notes that records with these uuids are about to be delivered or erased. Durable when this
    /// returns.
    pub(super) fn add_to_dedup(&mut self, uuids: &[&str]) -> Result<(), SpoolError> {
        if uuids.is_empty() {
            return Ok(());
        }
        let trusted = self.see_clock().is_trusted();
        let since_ms = if trusted { self.limits.expired_before(self.now_ms) } else { i64::MIN };
        let keep = Keep::within(self.limits.max_bytes, since_ms);
        let next_digest = self.manifest.next_digest;
        if self.dedup.is_damaged(next_digest)? {
            self.add_problem(
                "the file `dedup`, by which the spool recognises what was delivered or erased, was missing or damaged: an \
                 import may take in again what left before now"
                    .into(),
            );
            // Before the file is replaced by one that is whole.
            self.commit()?;
        }
        let now_ms = self.now_ms;
        self.manifest.next_digest = self.dedup.add(uuids, now_ms, next_digest, keep)?;
        Ok(())
    }

    /// Records in the queue from sequence number `from` on, oldest first, until `each` breaks.
    /// Damage on the way is repaired.
    pub fn each<B>(
        &mut self,
        from: u64,
        enough: u64,
        mut each: impl FnMut(Queued) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, SpoolError> {
        let (mut from, mut max) = (from, enough);
        while let Some(Portion { entry, wanted, records }) = self.whole_portion(from, max)? {
            from = wanted.last().map_or(from, |last| last + 1);
            max = max.saturating_mul(2);
            for (seq, record) in records.into_records() {
                if let ControlFlow::Break(value) = each(self.queued(&entry, seq, record)) {
                    return Ok(ControlFlow::Break(value));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The next records in the queue. Where some cannot be found their segment is damaged, and is
    /// replaced by one with those that can.
    pub(super) fn whole_portion(&mut self, from: u64, max: u64) -> Result<Option<Portion>, SpoolError> {
        // What was recorded since the spool was opened belongs to the queue.
        self.reader.show_up_to_now();
        self.close_active()?;
        loop {
            let portion = self.portion(from, max)?;
            match portion.as_ref().filter(|portion| !portion.is_complete()) {
                Some(damaged) => self.recover(&[damaged.entry.number])?,
                None => return Ok(portion),
            }
        }
    }

    /// Appends a step to the ledger, unless it concerns no record.
    pub(super) fn append_to_ledger(&mut self, reason: LedgerReason, span: Span) {
        let Span { records, oldest_ms, newest_ms } = span;
        if records > 0 {
            let at_ms = self.now_ms;
            let entry = LedgerEntry { at_ms, reason, records, oldest_ms, newest_ms, steps: 1 };
            self.manifest.ledger.append(entry);
        }
    }
}

/// A version 7 uuid of this time.
fn uuid_at(timestamp_ms: i64) -> String {
    let ms = u64::try_from(timestamp_ms).unwrap_or(0);
    let nanos = u32::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos)).hyphenated().to_string()
}

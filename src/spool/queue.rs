//! The open spool: recording and reading.
//!
//! Held only while acting, never while waiting. A record is on stable storage when [`Spool::record`] returns; everything else
//! is summary, becomes durable in [`Spool::close`], and is caught up from the records if a crash comes before.

use std::path::{Path, PathBuf};

use uuid::{NoContext, Timestamp, Uuid};

use super::check::Check;
use super::error::SpoolError;
use super::frame::Header;
use super::ledger::{LedgerEntry, LedgerReason};
use super::left::Left;
use super::lock::Lock;
use super::retention::SpoolLimits;
use super::segment::{self, Segment};
use super::state::{DeadLetter, State};
use super::store::{self, Go};
use super::witness::{Entry, Witness};
use crate::record::{Draft, Reason, Record};

/// A segment is full at this many records or bytes of frames.
const SEGMENT_RECORDS: u64 = 4096;
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// A folder with a narrow limit on bytes has at least so many segments, since the one that is written to cannot give way.
const SEGMENTS_WITHIN_LIMIT: u64 = 16;

/// An open spool. Dropped without [`Spool::close`] it is as if its process had died: nothing acknowledged is lost.
pub struct Spool {
    pub(super) folder: PathBuf,
    pub(super) state: State,
    pub(super) witness: Witness,
    pub(super) left: Left,
    /// The witness as it is on disk.
    pub(super) written: Option<Witness>,
    pub(super) open: Option<Segment>,
    pub(super) limits: SpoolLimits,
    pub(super) now_ms: i64,
    pub(super) doomed: Vec<u64>,
    /// Bytes of the reserve that were given up to open it.
    pub(super) given_up: u64,
    /// The last record has left since it was opened.
    pub(super) drained: bool,
    // Last, so that everything is closed before the next process is let in.
    _lock: Lock,
}

/// A record in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// Its sequence number.
    pub seq: u64,
    /// The record.
    pub record: Record,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it was set apart, if it was.
    pub dead: Option<DeadLetter>,
}

/// How many records, and of which times: what the ledger and receipts say of them.
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
    /// A spool whose parts were found sound and in agreement.
    pub(super) fn opened(
        folder: &Path,
        limits: SpoolLimits,
        lock: Lock,
        state: State,
        witness: Witness,
        written: Option<Witness>,
        now_ms: i64,
    ) -> Spool {
        Spool {
            folder: folder.to_owned(),
            state,
            witness,
            left: Left::of(folder),
            written,
            open: None,
            limits,
            now_ms,
            doomed: Vec::new(),
            given_up: 0,
            drained: false,
            _lock: lock,
        }
    }

    /// Writes a record of `instance` and returns it when it is on stable storage.
    pub fn record(&mut self, instance: &str, draft: Draft, reason: Reason) -> Result<Record, SpoolError> {
        let at = self.active()?;
        let record = self.stamp(instance, draft, reason, None)?;
        self.append(at, std::slice::from_ref(&record))?;
        Ok(record)
    }

    /// Writes many records with one sync for some hundred of them; all are on stable storage when it returns.
    pub fn record_all(
        &mut self,
        instance: &str,
        drafts: Vec<Draft>,
        reason: Reason,
    ) -> Result<Vec<Record>, SpoolError> {
        const PORTION: usize = 512;
        let mut written: Vec<Record> = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter().peekable();
        while drafts.peek().is_some() {
            let at = self.active()?;
            let room = SEGMENT_RECORDS.saturating_sub(self.witness.segments[at].present.len());
            let most = PORTION.min(usize::try_from(room).unwrap_or(PORTION));
            let mut portion: Vec<Record> = Vec::with_capacity(most);
            for draft in drafts.by_ref().take(most) {
                let before = portion.iter().rev().find(|record| record.draft.id == draft.id);
                let last_ms = before.map(|record| record.timestamp_ms);
                portion.push(self.stamp(instance, draft, reason, last_ms)?);
            }
            self.append(at, &portion)?;
            written.append(&mut portion);
        }
        Ok(written)
    }

    /// Makes a record of a draft. `last_ms` is the time of a record with the same id that is not written yet.
    fn stamp(
        &self,
        instance: &str,
        draft: Draft,
        reason: Reason,
        last_ms: Option<i64>,
    ) -> Result<Record, SpoolError> {
        let last_ms = match last_ms {
            Some(last_ms) => Some(last_ms),
            None => self.state.last_ms(&draft.id)?,
        };
        let timestamp_ms = next_time(self.now_ms, last_ms);
        Ok(Record {
            uuid: uuid_at(timestamp_ms),
            timestamp_ms,
            instance: instance.to_owned(),
            reason,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            draft,
        })
    }

    /// Adds records to the segment at a place of the witness. The summary learns of them only when they are durable.
    fn append(&mut self, at: usize, records: &[Record]) -> Result<(), SpoolError> {
        let first = self.witness.next_seq;
        let numbered: Vec<(u64, &Record)> = (first..).zip(records).collect();
        // Opening it may mend what the witness knows of it.
        self.segment(at)?;
        let held = self.witness.segments[at].frame_bytes;
        // Before they are written: where that fails their frames may be on disk all the same.
        self.witness.next_seq = first + records.len() as u64;
        let held = self.segment(at)?.append(&numbered, held)?;
        let entry = &mut self.witness.segments[at];
        entry.frame_bytes = held;
        for (seq, record) in &numbered {
            entry.note(*seq, record.timestamp_ms);
        }
        self.state.apply_all(&numbered)?;
        self.keep_limits()
    }

    /// The place of the segment that takes the next record.
    fn active(&mut self) -> Result<usize, SpoolError> {
        if let Some(last) = self.witness.segments.last()
            && last.present.len() < SEGMENT_RECORDS
            && last.frame_bytes < SEGMENT_BYTES.min(self.limits.max_bytes / SEGMENTS_WITHIN_LIMIT)
        {
            return Ok(self.witness.segments.len() - 1);
        }
        self.close_segment()?;
        let number = self.witness.next_segment;
        self.witness.next_segment += 1;
        let header = Header { number, replaces: None };
        self.open = Some(Segment::create(&segment::folder(&self.folder, number), header)?);
        store::sync_folder(&self.folder)?;
        self.witness.segments.push(Entry { number, ..Entry::default() });
        Ok(self.witness.segments.len() - 1)
    }

    /// The segment at a place of the witness, opened.
    pub(super) fn segment(&mut self, at: usize) -> Result<&mut Segment, SpoolError> {
        let number = self.witness.segments[at].number;
        if self.open.as_ref().map(Segment::number) != Some(number) {
            self.close_segment()?;
            let mut entry = self.witness.segments[at].clone();
            let mut check = Check {
                spool: &self.folder,
                witness: &mut self.witness,
                state: &mut self.state,
                now_ms: self.now_ms,
            };
            let opened = check.open(&mut entry)?;
            entry.checksum = None;
            self.witness.segments[at] = entry;
            return Ok(self.open.insert(opened));
        }
        self.open.as_mut().ok_or_else(|| unreachable_segment(&self.folder))
    }

    /// Live records from sequence number `from` on, oldest first, as long as `each` wants more.
    pub fn each(&mut self, from: u64, mut each: impl FnMut(Queued) -> bool) -> Result<(), SpoolError> {
        let dead = self.state.dead()?;
        let attempts = self.state.meta.attempts.clone();
        for at in 0..self.witness.segments.len() {
            let entry = self.witness.segments[at].clone();
            let Some(first) = entry.first_live().filter(|_| entry.present.last() >= Some(from)) else {
                continue;
            };
            let mut more = true;
            self.segment(at)?.each(from.max(first), |seq, record| {
                if entry.is_live(seq) {
                    let attempts = attempts.get(&seq).copied().unwrap_or(0);
                    more = each(Queued { seq, record, attempts, dead: dead.get(&seq).cloned() });
                }
                Ok(if more { Go::On } else { Go::Stop })
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Enters a step in the ledger, unless it concerns no record.
    pub(super) fn enter(&mut self, fate: LedgerReason, span: Span) -> Result<(), SpoolError> {
        let Span { records, oldest_ms, newest_ms } = span;
        if records == 0 {
            return Ok(());
        }
        self.state.enter(&LedgerEntry { at_ms: self.now_ms, fate, records, oldest_ms, newest_ms, steps: 1 })
    }
}

/// The time of the next record with an id: now, or just after the last one with it, so that times of one id never repeat.
/// After a clock that was set back by more than an hour the present is believed again.
fn next_time(now_ms: i64, last_ms: Option<i64>) -> i64 {
    const BELIEVED_MS: i64 = 3_600_000;
    match last_ms {
        Some(last) if last >= now_ms && last - now_ms < BELIEVED_MS => last + 1,
        _ => now_ms,
    }
}

/// A version 7 uuid of this time.
fn uuid_at(timestamp_ms: i64) -> String {
    let ms = u64::try_from(timestamp_ms).unwrap_or(0);
    let nanos = u32::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos)).hyphenated().to_string()
}

fn unreachable_segment(folder: &Path) -> SpoolError {
    SpoolError::Damaged { path: folder.to_owned(), what: "no segment is open".into() }
}

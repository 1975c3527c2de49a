//! The open spool: recording, reading, batches, acknowledging.
//!
//! Held only while acting, never while waiting. A record is on stable storage when [`Spool::record`] returns; everything else
//! is summary, becomes durable in [`Spool::close`], and is caught up from the records if a crash comes before.
//!
//! Order of closing: the identities are copied if one of them changed, `state/` commits (done records and ledger in one step),
//! the witness is replaced, only then are folders removed that nothing refers to any more, and at last the reserve gets its size.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use uuid::{NoContext, Timestamp, Uuid};

use super::check::Check;
use super::error::SpoolError;
use super::frame::Header;
use super::identities;
use super::ledger::{Fate, LedgerEntry};
use super::lock::Lock;
use super::reserve;
use super::retention::Limits;
use super::segment::{self, Segment};
use super::state::{DeadLetter, State};
use super::store::{self, Go};
use super::witness::{self, Entry, Witness};
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
    /// The witness as it is on disk.
    written: Option<Witness>,
    open: Option<Segment>,
    pub(super) limits: Limits,
    pub(super) now_ms: i64,
    pub(super) doomed: Vec<u64>,
    /// Bytes of the reserve that were given up to open it.
    pub(super) given_up: u64,
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
        limits: Limits,
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
            written,
            open: None,
            limits,
            now_ms,
            doomed: Vec::new(),
            given_up: 0,
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

    /// Closes the open segment, if there is one, and takes note of its checksum.
    pub(super) fn close_segment(&mut self) -> Result<(), SpoolError> {
        let Some(segment) = self.open.take() else {
            return Ok(());
        };
        let number = segment.number();
        let checksum = segment.close()?;
        if let Some(entry) = self.witness.segments.iter_mut().find(|entry| entry.number == number) {
            entry.checksum = Some(checksum);
            self.state.compared.insert(number);
        }
        Ok(())
    }

    /// Live records from sequence number `from` on, oldest first, as long as `each` wants more.
    pub fn each(&mut self, from: u64, mut each: impl FnMut(Queued) -> bool) -> Result<(), SpoolError> {
        let dead = self.state.dead()?;
        for at in 0..self.witness.segments.len() {
            let entry = self.witness.segments[at].clone();
            if entry.live() == 0 || entry.present.last().is_none_or(|last| last < from) {
                continue;
            }
            let attempts = self.state.meta.attempts.clone();
            let mut more = true;
            self.segment(at)?.each(from, |seq, record| {
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

    pub(super) fn enter(&mut self, fate: Fate, span: Span) {
        if span.records > 0 {
            self.state.enter(&LedgerEntry {
                at_ms: self.now_ms,
                fate,
                records: span.records,
                oldest_ms: span.oldest_ms,
                newest_ms: span.newest_ms,
            });
        }
    }

    /// Closes the spool. When this returns, all that was done is durable, and what is done with is gone from the folder.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.checkpoint()?;
        let Spool { folder, state, mut witness, written, limits, given_up, .. } = self;
        (witness.state, witness.state_commits) = state.close()?;
        if written.as_ref() != Some(&witness) {
            witness::write(&folder, &witness)?;
        }
        // What was done is durable by now, and to be told so is worth more than the reserve.
        if let Err(error) = reserve::keep(&folder, reserve::allowed(&witness, limits.max_bytes), given_up) {
            tracing::warn!("the spool is without its reserve for a full disk: {error}");
        }
        Ok(())
    }

    /// Makes everything durable and removes the folders of segments that nothing refers to any more.
    pub(super) fn checkpoint(&mut self) -> Result<(), SpoolError> {
        self.close_segment()?;
        let doomed = &mut self.doomed;
        self.witness.segments.retain(|entry| {
            let keep = entry.live() > 0;
            if !keep {
                doomed.push(entry.number);
            }
            keep
        });
        // Those that are about to go are remembered as done until the witness no longer names them.
        let mut existing: BTreeSet<u64> = self.witness.segments.iter().map(|entry| entry.number).collect();
        existing.extend(&self.doomed);
        self.state.meta.done.retain(|number, _| existing.contains(number));
        self.state.meta.next_segment = self.witness.next_segment;
        self.state.meta.next_seq = self.witness.next_seq;
        if std::mem::take(&mut self.state.identities_changed) {
            identities::write(&self.folder, &self.state)?;
        }
        self.state.commit()?;
        if self.doomed.is_empty() {
            return Ok(());
        }
        witness::write(&self.folder, &self.witness)?;
        self.written = Some(self.witness.clone());
        for number in std::mem::take(&mut self.doomed) {
            store::remove_folder(&segment::folder(&self.folder, number))?;
        }
        // A receipt is given for this: a removed folder must not be back after a power cut.
        store::sync_folder(&self.folder)
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

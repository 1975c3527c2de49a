//! The open spool: recording, reading, batches, acknowledging.
//!
//! Held only while acting, never while waiting. A record is on stable storage when [`Spool::record`] returns; everything else
//! is summary, becomes durable in [`Spool::close`], and is caught up from the records if a crash comes before.
//!
//! Order of closing: `state/` commits (done records and ledger in one step), the witness is replaced, and only then are
//! folders removed that nothing refers to any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use uuid::{NoContext, Timestamp, Uuid};

use super::check;
use super::error::SpoolError;
use super::folder::SpoolFolder;
use super::frame::Header;
use super::ledger::{Fate, LedgerEntry};
use super::lock::Lock;
use super::retention::{self, Limits, Part, Step};
use super::segment::{self, Segment};
use super::state::{DeadLetter, FlushMemory, IdHistory, Instance, Problem, State};
use super::store::{self, Go};
use super::witness::{self, Entry, Witness};
use crate::record::{Draft, Reason, Record};

/// A segment is full at this many records or bytes of frames.
const SEGMENT_RECORDS: u64 = 4096;
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// An open spool. Dropped without [`Spool::close`] it is as if its process had died: nothing acknowledged is lost.
pub struct Spool {
    pub(super) folder: PathBuf,
    pub(super) state: State,
    pub(super) witness: Witness,
    /// The witness as it is on disk.
    written: Option<Witness>,
    open: Option<Segment>,
    limits: Limits,
    pub(super) now_ms: i64,
    pub(super) doomed: Vec<u64>,
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

/// What became of a record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// PostHog took it.
    Delivered,
    /// Refused alone, with the server's words.
    Dead(String),
}

/// Counts and times of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records waiting.
    pub queued: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of the folder's databases.
    pub bytes: u64,
    /// Times of the oldest and the newest record waiting, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// See `oldest_ms`.
    pub newest_ms: Option<i64>,
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
    pub(super) fn opened(
        folder: &SpoolFolder,
        lock: Lock,
        state: State,
        witness: Witness,
        written: Option<Witness>,
        now_ms: i64,
    ) -> Result<Spool, SpoolError> {
        let mut spool = Spool {
            folder: folder.path.clone(),
            state,
            witness,
            written,
            open: None,
            limits: folder.limits,
            now_ms,
            doomed: Vec::new(),
            _lock: lock,
        };
        spool.resume_purge()?;
        Ok(spool)
    }

    /// Writes a record of `instance` and returns it when it is on stable storage.
    pub fn record(&mut self, instance: &str, draft: Draft, reason: Reason) -> Result<Record, SpoolError> {
        let timestamp_ms = self.next_time(&draft.id)?;
        let record = Record {
            uuid: uuid_at(timestamp_ms),
            timestamp_ms,
            instance: instance.to_owned(),
            reason,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            draft,
        };
        let seq = self.witness.next_seq;
        let at = self.active()?;
        let added = self.segment(at)?.append(&[(seq, &record)])?;
        self.witness.next_seq += 1;
        let entry = &mut self.witness.segments[at];
        entry.note(seq, timestamp_ms);
        entry.frame_bytes += added;
        self.state.apply(seq, &record)?;
        self.keep_limits()?;
        Ok(record)
    }

    /// The time of the next record with this id: now, or just after its last one, so that times of one id never repeat.
    /// After a clock that was set back by more than an hour the present is believed again.
    fn next_time(&self, id: &str) -> Result<i64, SpoolError> {
        const BELIEVED_MS: i64 = 3_600_000;
        let last = self.state.id(id)?.map(|history| history.last_ms);
        Ok(match last {
            Some(last) if last >= self.now_ms && last - self.now_ms < BELIEVED_MS => last + 1,
            _ => self.now_ms,
        })
    }

    /// The place of the segment that takes the next record.
    fn active(&mut self) -> Result<usize, SpoolError> {
        if let Some(last) = self.witness.segments.last()
            && last.present.len() < SEGMENT_RECORDS
            && last.frame_bytes < SEGMENT_BYTES
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
            let opened =
                check::open(&self.folder, &mut entry, &mut self.witness, &mut self.state, self.now_ms)?;
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

    /// The next records to send, oldest first: at most `max`, none of the instances in `skip`. A batch that was on the wire
    /// when its sender died comes first and alone, so that the same uuids go out again together.
    pub fn next_batch(&mut self, max: usize, skip: &BTreeSet<String>) -> Result<Vec<Queued>, SpoolError> {
        let unsettled = self.state.meta.in_flight.clone();
        let first = unsettled.first().unwrap_or(0);
        let mut batch = Vec::new();
        self.each(first, |queued| {
            let wanted = unsettled.is_empty() || unsettled.contains(queued.seq);
            if wanted && queued.dead.is_none() && !skip.contains(&queued.record.instance) {
                batch.push(queued);
            }
            batch.len() < max
        })?;
        if batch.is_empty() && !unsettled.is_empty() {
            self.state.meta.in_flight = Default::default();
            return self.next_batch(max, skip);
        }
        Ok(batch)
    }

    /// Takes note that these records are going onto the wire. Durable when it returns.
    pub fn begin(&mut self, batch: &[Queued]) -> Result<(), SpoolError> {
        self.state.meta.in_flight = batch.iter().map(|queued| queued.seq).collect();
        for queued in batch {
            *self.state.meta.attempts.entry(queued.seq).or_default() += 1;
        }
        self.state.meta.flush.last_attempt_ms = Some(self.now_ms);
        self.state.commit()
    }

    /// Takes note of what became of a batch. Records that were purged meanwhile are passed over; what is not named stays queued.
    pub fn settle(&mut self, settled: &[(Queued, Settled)]) -> Result<(), SpoolError> {
        let mut delivered = Span::default();
        let mut dead = Span::default();
        for (queued, fate) in settled {
            let Some(at) = self.place_of(queued.seq) else {
                continue;
            };
            match fate {
                Settled::Delivered => {
                    self.mark_done(at, queued.seq);
                    self.delivered_with(&queued.record)?;
                    delivered.add(queued.record.timestamp_ms);
                }
                Settled::Dead(words) => {
                    let attempts = self.state.meta.attempts.get(&queued.seq).copied().unwrap_or(1);
                    let letter = DeadLetter { at_ms: self.now_ms, words: words.clone(), attempts };
                    self.state.put_dead(queued.seq, &letter);
                    dead.add(queued.record.timestamp_ms);
                }
            }
        }
        self.state.meta.in_flight = Default::default();
        self.enter(Fate::Delivered, delivered);
        self.enter(Fate::DeadLettered, dead);
        Ok(())
    }

    /// Takes note that nobody waits for an answer any more, although none came.
    pub fn give_up_batch(&mut self) {
        self.state.meta.in_flight = Default::default();
    }

    /// Puts all dead letters back into the queue; tells how many.
    pub fn revive_dead(&mut self) -> Result<u64, SpoolError> {
        let dead = self.state.dead()?;
        for seq in dead.keys() {
            self.state.remove_dead(*seq);
        }
        Ok(dead.len() as u64)
    }

    /// The place of the segment in which a record is still in the queue.
    fn place_of(&self, seq: u64) -> Option<usize> {
        self.witness.segments.iter().position(|entry| entry.is_live(seq))
    }

    pub(super) fn mark_done(&mut self, at: usize, seq: u64) {
        let entry = &mut self.witness.segments[at];
        entry.done.insert(seq);
        self.state.meta.done.entry(entry.number).or_default().insert(seq);
        self.state.meta.attempts.remove(&seq);
    }

    /// An id that was delivered stays with its instance from now on.
    fn delivered_with(&mut self, record: &Record) -> Result<(), SpoolError> {
        let id = &record.draft.id;
        let mut history = self.state.id(id)?.unwrap_or_default();
        history.delivered_ms = Some(self.now_ms);
        self.state.put_id(id, &history);
        if let Some(mut instance) = self.state.instance(&record.instance)?
            && let Some(pin) = instance.pin.as_mut().filter(|pin| pin.id == *id && !pin.fixed)
        {
            pin.fixed = true;
            self.state.put_instance(&record.instance, &instance);
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

    /// Lets go what the limits do not allow.
    pub fn keep_limits(&mut self) -> Result<(), SpoolError> {
        let bytes = |entry: &Entry| entry.checksum.map_or(entry.frame_bytes * 2, |checksum| checksum.bytes);
        let parts: Vec<Part> = (self.witness.segments.iter())
            .map(|entry| Part {
                number: entry.number,
                live: entry.live(),
                bytes: bytes(entry),
                newest_ms: entry.newest_ms,
            })
            .collect();
        for step in retention::plan(&parts, self.witness.state.bytes, &self.limits, self.now_ms) {
            match step {
                Step::Drop { number, fate } => self.let_go(number, u64::MAX, fate)?,
                Step::Trim { number, records } => self.let_go(number, records, Fate::Evicted)?,
            }
        }
        Ok(())
    }

    /// Marks the oldest live records of a segment as done, with the reason in the ledger.
    fn let_go(&mut self, number: u64, most: u64, fate: Fate) -> Result<(), SpoolError> {
        let Some(at) = self.witness.segments.iter().position(|entry| entry.number == number) else {
            return Ok(());
        };
        let entry = self.witness.segments[at].clone();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let leaving: Vec<u64> = entry.present.iter().filter(|seq| entry.is_live(*seq)).take(most).collect();
        for seq in &leaving {
            self.mark_done(at, *seq);
            self.state.remove_dead(*seq);
        }
        // The times are those of the segment: reading each record again would cost more than the ledger gains.
        let span =
            Span { records: leaving.len() as u64, oldest_ms: entry.oldest_ms, newest_ms: entry.newest_ms };
        self.enter(fate, span);
        Ok(())
    }

    /// Closes the spool. When this returns, all that was done is durable, and what is done with is gone from the folder.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.checkpoint()?;
        let Spool { folder, state, mut witness, written, .. } = self;
        (witness.state, witness.state_commits) = state.close()?;
        if written.as_ref() != Some(&witness) {
            witness::write(&folder, &witness)?;
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
        let existing: BTreeSet<u64> = self.witness.segments.iter().map(|entry| entry.number).collect();
        self.state.meta.done.retain(|number, _| existing.contains(number));
        self.state.meta.next_segment = self.witness.next_segment;
        self.state.meta.next_seq = self.witness.next_seq;
        self.state.commit()?;
        if self.doomed.is_empty() {
            return Ok(());
        }
        witness::write(&self.folder, &self.witness)?;
        self.written = Some(self.witness.clone());
        for number in std::mem::take(&mut self.doomed) {
            store::remove_folder(&segment::folder(&self.folder, number))?;
        }
        Ok(())
    }

    // What the other stages keep here ---------------------------------------------------------------------------------

    /// What is remembered of an instance.
    pub fn instance(&self, name: &str) -> Result<Option<Instance>, SpoolError> {
        self.state.instance(name)
    }

    /// Remembers an instance.
    pub fn put_instance(&mut self, name: &str, instance: &Instance) {
        if instance.paused {
            self.witness.paused.insert(name.to_owned());
        } else {
            self.witness.paused.remove(name);
        }
        self.state.put_instance(name, instance);
    }

    /// All instances that were ever looked at and not forgotten since.
    pub fn instances(&self) -> Result<Vec<(String, Instance)>, SpoolError> {
        self.state.instances()
    }

    /// All ids that were ever used here and not purged since.
    pub fn ids(&self) -> Result<Vec<(String, IdHistory)>, SpoolError> {
        self.state.ids()
    }

    /// What the forwarder remembers.
    pub fn flush_memory(&mut self) -> &mut FlushMemory {
        &mut self.state.meta.flush
    }

    /// What an admin should know of, oldest first.
    pub fn problems(&self) -> &[Problem] {
        &self.state.meta.problems
    }

    /// Takes note that an admin has seen the problems.
    pub fn acknowledge_problems(&mut self) {
        self.state.meta.problems.clear();
    }

    /// Why records left the queue, oldest first.
    pub fn ledger(&self) -> Result<Vec<LedgerEntry>, SpoolError> {
        self.state.ledger()
    }

    /// The sequence number that the next record will get.
    pub fn next_seq(&self) -> u64 {
        self.witness.next_seq
    }

    /// Counts and times of the queue.
    pub fn counts(&mut self) -> Result<Counts, SpoolError> {
        let dead = self.state.dead()?;
        let live: u64 = self.witness.segments.iter().map(Entry::live).sum();
        let bytes =
            self.witness.segments.iter().filter_map(|entry| entry.checksum).map(|sum| sum.bytes).sum::<u64>();
        let mut counts = Counts {
            queued: live.saturating_sub(dead.len() as u64),
            dead: dead.len() as u64,
            bytes: bytes + self.witness.state.bytes,
            newest_ms: None,
            oldest_ms: None,
        };
        if counts.queued > 0 {
            counts.newest_ms = self.witness.segments.iter().map(|entry| entry.newest_ms).max();
            self.each(0, |queued| {
                if queued.dead.is_none() {
                    counts.oldest_ms = Some(queued.record.timestamp_ms);
                }
                counts.oldest_ms.is_none()
            })?;
        }
        Ok(counts)
    }

    /// How many records of each instance wait.
    pub fn waiting(&mut self) -> Result<BTreeMap<String, u64>, SpoolError> {
        let mut waiting = BTreeMap::new();
        self.each(0, |queued| {
            if queued.dead.is_none() {
                *waiting.entry(queued.record.instance).or_default() += 1;
            }
            true
        })?;
        Ok(waiting)
    }
}

/// A version 7 uuid of this time.
fn uuid_at(timestamp_ms: i64) -> String {
    let ms = u64::try_from(timestamp_ms).unwrap_or(0);
    let nanos = u32::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos)).hyphenated().to_string()
}

fn unreachable_segment(folder: &std::path::Path) -> SpoolError {
    SpoolError::Damaged { path: folder.to_owned(), what: "no segment is open".into() }
}

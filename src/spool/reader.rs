//! Reading the spool: without the lock, without sled and without a write.
//!
//! Why one reader for all: what shows the spool must work on a read-only or full disk, on a copy, in a
//! backup, and while another process holds the lock or is stopped in the middle of a step. Everything
//! it needs is in the manifest and in the frames.
//!
//! # Invariants
//!
//! 1. Nothing is made, changed or removed.
//! 2. Only what the manifest vouches for is shown: the sync of newer frames may have failed.
//! 3. A record is shown at most once, and none that was recorded after the reader was opened. Sequence
//!    numbers only ascend, and a segment that changed under the reader is looked up in the new manifest.
//! 4. Records that should be there and cannot be shown are counted and said ([`SpoolReader::doubts`]).
//! 5. An error of the system is returned, never taken for damage.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::SpoolError;
use super::manifest::{
    DeadLetter, Entry, FlushMemory, IdHistory, Instance, LinkState, Manifest, Problem, slots,
};
use super::ranges::Ranges;
use super::retention::SpoolLimits;
use super::segment::records::{Records, Wanted};
use super::times::{MAX_AHEAD_MS, is_ahead};
use super::{dedup, files, segment};
use crate::record::Record;
use crate::record::identity::Fingerprint;

/// How often a segment is looked up again while a writer replaces the manifest.
const LOOKS: u32 = 5;

/// A spool as its newest commit left it.
pub struct SpoolReader {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) limits: SpoolLimits,
    pub(super) now_ms: i64,
    /// How long a file that another process keeps locked is waited for (Windows).
    wait: Duration,
    /// Records from this sequence number on do not belong to what is shown.
    end: u64,
    doubts: Vec<String>,
}

/// A record in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// Its sequence number.
    pub seq: u64,
    pub record: Record,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it is a dead letter, if it is one.
    pub dead: Option<DeadLetter>,
}

/// Counts and times of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records waiting.
    pub queued: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of the folder's files, without its reserve for a full disk.
    pub bytes: u64,
    /// Times of the oldest and the newest record waiting, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// See `oldest_ms`.
    pub newest_ms: Option<i64>,
}

/// Some records of a segment.
pub(super) struct Portion {
    /// The segment's entry.
    pub entry: Entry,
    /// The sequence numbers that were looked for.
    pub wanted: Ranges,
    /// Those that were found.
    pub records: Records,
}

impl SpoolReader {
    pub(super) fn new(
        folder: &Path,
        manifest: Manifest,
        limits: SpoolLimits,
        wait: Duration,
        now_ms: i64,
    ) -> SpoolReader {
        let end = manifest.next_seq;
        SpoolReader { folder: folder.to_owned(), manifest, limits, now_ms, wait, end, doubts: Vec::new() }
    }

    /// Shows what was recorded since the spool was opened as well.
    pub(super) fn show_up_to_now(&mut self) {
        self.end = self.manifest.next_seq;
    }

    /// What could not be shown so far, in words.
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// Records in the queue from sequence number `from` on, oldest first, until `each` breaks. `enough`
    /// is the number of records after which the caller expects to break: no more are read at first.
    pub fn each<B>(
        &mut self,
        from: u64,
        enough: u64,
        mut each: impl FnMut(Queued) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, SpoolError> {
        let (mut from, mut max) = (from, enough);
        while let Some(portion) = self.sound_portion(from, max)? {
            from = portion.wanted.last().map_or(from, |last| last + 1);
            max = max.saturating_mul(2);
            for (seq, record) in portion.records.into_records() {
                let queued = self.queued(&portion.entry, seq, record);
                if let ControlFlow::Break(value) = each(queued) {
                    return Ok(ControlFlow::Break(value));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A record with what the manifest knows of it.
    pub(super) fn queued(&self, entry: &Entry, seq: u64, record: Record) -> Queued {
        let dead = self.manifest.dead_letter(entry, seq);
        Queued { seq, record, attempts: self.manifest.attempts_of(seq), dead }
    }

    /// The next records in the queue, as far as they can be read; what cannot becomes a doubt.
    fn sound_portion(&mut self, from: u64, max: u64) -> Result<Option<Portion>, SpoolError> {
        for look in 1.. {
            let portion = match self.portion(from, max) {
                Ok(Some(portion)) if portion.is_complete() => return Ok(Some(portion)),
                Ok(None) => return Ok(None),
                other => other,
            };
            // Drained, purged or rewritten while we read: the manifest is written before a folder goes.
            if look < LOOKS && self.look_again()? {
                continue;
            }
            // sled moves records within the active segment while it writes.
            if look < LOOKS && matches!(&portion, Ok(Some(portion)) if !portion.entry.sealed) {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let portion = portion?;
            self.doubts.extend(portion.as_ref().map(Portion::doubt));
            return Ok(portion);
        }
        Ok(None)
    }

    /// Reads at most `max` of the next records in the queue from `from` on, of one segment.
    pub(super) fn portion(&self, from: u64, max: u64) -> Result<Option<Portion>, SpoolError> {
        let next = self.manifest.segments.iter().find_map(|entry| {
            let live = entry.live().between(from, self.end);
            (!live.is_empty()).then_some((entry, live))
        });
        let Some((entry, live)) = next else { return Ok(None) };
        let wanted = live.take(max.max(1));
        let records = self.records_of(entry, &wanted)?;
        Ok(Some(Portion { entry: entry.clone(), wanted, records }))
    }

    /// Reads records of a segment. On Windows a writer has the active one locked for some milliseconds.
    pub(super) fn records_of(&self, entry: &Entry, wanted: &Ranges) -> Result<Records, SpoolError> {
        let folder = segment::folder(&self.folder, entry.number);
        let enough = usize::try_from(wanted.len()).unwrap_or(usize::MAX);
        let started = Instant::now();
        loop {
            match Records::read_some(&folder, Wanted { is: |seq| wanted.contains(seq), enough }) {
                Err(error) if error.is_lock_violation() && started.elapsed() < self.wait => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                read => return read,
            }
        }
    }

    /// Reads the manifest again and returns whether another commit was made.
    fn look_again(&mut self) -> Result<bool, SpoolError> {
        let newer = slots::read(&self.folder)?.manifest;
        let newer = newer.filter(|newer| newer.generation != self.manifest.generation);
        let changed = newer.is_some();
        if let Some(newer) = newer {
            self.manifest = *newer;
        }
        Ok(changed)
    }

    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.manifest.instances.get(name)
    }

    /// All instances that were ever looked at and not forgotten since.
    pub fn instances(&self) -> &BTreeMap<String, Instance> {
        &self.manifest.instances
    }

    /// The host that the pinned ids belong to, if that was noted yet.
    pub fn host(&self) -> Option<&Fingerprint> {
        self.manifest.host.as_ref()
    }

    /// All ids that were ever used here and not purged since.
    pub fn ids(&self) -> &BTreeMap<String, IdHistory> {
        &self.manifest.ids
    }

    pub fn flush_memory(&self) -> &FlushMemory {
        &self.manifest.flush
    }

    pub fn link_state(&self) -> &LinkState {
        &self.manifest.link
    }

    /// The sequence numbers of the batch that is on the wire, or was when its sender died: it goes out
    /// first and alone.
    pub fn on_the_wire(&self) -> BTreeSet<u64> {
        self.manifest.in_flight.iter().collect()
    }

    /// The sequence number that the next record will get.
    pub fn next_seq(&self) -> u64 {
        self.manifest.next_seq
    }

    /// What an admin should know of, oldest first.
    pub fn problems(&self) -> &[Problem] {
        &self.manifest.problems
    }

    /// Why records left the queue, oldest first.
    pub fn ledger(&self) -> Vec<super::LedgerEntry> {
        self.manifest.ledger.all()
    }

    /// Whether a purge was interrupted; the next command that writes completes it.
    pub fn has_pending_purge(&self) -> bool {
        self.manifest.pending_purge.is_some()
    }

    /// Looks at the names and sizes of the files: a segment that is missing, or a sealed one of another
    /// size, becomes a doubt. Whether their bytes are whole shows when they are read.
    pub fn survey(&mut self) -> Result<(), SpoolError> {
        for look in 1.. {
            let mut doubts = Vec::new();
            for entry in &self.manifest.segments {
                let bytes = files::bytes(&segment::folder(&self.folder, entry.number))?;
                let expected = entry.checksum.map(|checksum| checksum.bytes);
                if bytes == 0 || (entry.sealed && expected.is_some_and(|expected| expected != bytes)) {
                    let wanted = entry.live();
                    doubts
                        .push(Portion { entry: entry.clone(), wanted, records: Records::default() }.doubt());
                }
            }
            if doubts.is_empty() || look == LOOKS || !self.look_again()? {
                self.doubts.extend(doubts);
                break;
            }
        }
        Ok(())
    }

    /// Counts and times of the queue.
    pub fn counts(&mut self) -> Result<Counts, SpoolError> {
        let segments = &self.manifest.segments;
        let sum = |of: fn(&Entry) -> u64| segments.iter().map(of).sum();
        let mut counts = Counts {
            queued: sum(Entry::waiting_count),
            dead: sum(|entry| entry.dead.len()),
            bytes: sum(Entry::bytes) + self.bytes_beside_segments(),
            newest_ms: None,
            oldest_ms: None,
        };
        if counts.queued > 0 {
            counts.newest_ms = segments.iter().map(|entry| entry.newest_ms).max();
            counts.oldest_ms = self.oldest_ms()?;
        }
        Ok(counts)
    }

    /// The time of the oldest record waiting. A segment's entry has the time of the oldest that it ever
    /// held.
    fn oldest_ms(&mut self) -> Result<Option<i64>, SpoolError> {
        let first = self.manifest.segments.iter().find_map(|entry| {
            let waiting = entry.live().without(&entry.dead);
            waiting.first().map(|first| (entry, first))
        });
        match first {
            Some((entry, first)) if entry.present.first() == Some(first) => Ok(Some(entry.oldest_ms)),
            Some((_, first)) => {
                let oldest = self.each(first, 1, |queued| ControlFlow::Break(queued.record.timestamp_ms))?;
                Ok(oldest.break_value())
            }
            None => Ok(None),
        }
    }

    /// Bytes of the folder's files that are not in segments, without the reserve.
    pub(super) fn bytes_beside_segments(&self) -> u64 {
        let quarantined: u64 = self.manifest.quarantined.iter().map(|part| part.bytes).sum();
        quarantined + dedup::bytes(&self.folder) + slots::bytes(&self.folder)
    }

    /// The number of records that were stamped too far in the future to be sent now, and when the first
    /// of them may be sent.
    pub fn ahead(&mut self) -> Result<(u64, Option<i64>), SpoolError> {
        let now_ms = self.now_ms;
        let mut first = None::<i64>;
        let mut ahead = 0;
        if self.manifest.segments.iter().any(|entry| is_ahead(entry.newest_ms, now_ms)) {
            let _ = self.each(0, u64::MAX, |queued| {
                let time_ms = queued.record.timestamp_ms;
                if queued.dead.is_none() && is_ahead(time_ms, now_ms) {
                    ahead += 1;
                    first = Some(first.map_or(time_ms, |first| first.min(time_ms)));
                }
                ControlFlow::<()>::Continue(())
            })?;
        }
        Ok((ahead, first.map(|time_ms| time_ms - MAX_AHEAD_MS)))
    }
}

impl Portion {
    /// Whether every record that was looked for was found.
    pub(super) fn is_complete(&self) -> bool {
        self.records.len() == self.wanted.len()
    }

    fn doubt(&self) -> String {
        let (wanted, missing) = (self.wanted.len(), self.wanted.len() - self.records.len());
        format!(
            "{missing} of {wanted} records cannot be shown: the folder seg-{:08} of the spool is damaged or missing; the next \
             `salver record` or `salver flush` saves what is whole",
            self.entry.number
        )
    }
}

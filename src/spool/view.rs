//! A spool that is only looked at: without a write, without the lock and without sled.
//!
//! Why: a disk that is full or was mounted read-only after a fault, a backup or a snapshot still holds records that somebody wants
//! to see, and sled cannot open a database that it cannot write to. What a reader needs stands outside of sled: records and their
//! layouts as frames in the files of the segments, which of them are done in the witness, the ids in `identities`.
//!
//! # What can be told and what cannot
//!
//! - Records are shown as the witness knows them, and those in the last segment that are newer than it as well. Delivered ones
//!   stay away, except those that were delivered by a process that died before it could write the witness.
//! - Which records are dead letters stands in the witness, so the same goes for them. Why and since when they are, how often each
//!   record was sent, the last flush, the problems and the ledger stand in `state/` alone and are not known here.
//! - Without a witness every whole record is shown as waiting, dead letters, and delivered ones of segments that were still
//!   needed, among them.
//!
//! # Invariants
//!
//! 1. Nothing is made, changed or removed, here or elsewhere.
//! 2. One segment is in memory at a time, as frames.
//! 3. A record is shown at most once, and none that was recorded after the view was opened, even if a writer works on the same
//!    folder through another mount: numbers only ascend, and a segment that changed under the reader is looked up in the new
//!    witness.
//! 4. Whatever of the witness's records cannot be shown becomes a doubt in words.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::check::Raw;
use super::error::{Doing, SpoolError};
use super::folder::SpoolFolder;
use super::identities::{self, Identities};
use super::memory::Counts;
use super::queue::Queued;
use super::state::{DeadLetter, IdHistory, Instance};
use super::witness::{self, Entry, Witness};
use super::{left, segment, store};

/// How often a part is looked up again while a writer beside us replaces the witness.
const LOOKS: u32 = 5;

/// A spool that cannot be written to now, as its witness knows it.
pub struct SpoolView {
    folder: PathBuf,
    /// Why it is not opened as others are.
    cause: String,
    full: bool,
    /// As last read; `None` where it is missing or damaged.
    witness: Option<Witness>,
    identities: Identities,
    /// The segments in the order of their records.
    parts: Vec<Entry>,
    /// The sequence number below which records belong to the view.
    end: u64,
    doubts: Vec<String>,
}

impl SpoolView {
    /// Looks at a spool that could not be opened because it cannot be written to. Any other `error` is handed back.
    pub fn instead_of(folder: &SpoolFolder, error: SpoolError) -> Result<SpoolView, SpoolError> {
        match &error {
            SpoolError::Io { cause, .. }
                if error.is_full()
                    || matches!(
                        cause.kind(),
                        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
                    ) =>
            {
                SpoolView::open(folder, cause.to_string(), error.is_full())
            }
            _ => Err(error),
        }
    }

    fn open(folder: &SpoolFolder, cause: String, full: bool) -> Result<SpoolView, SpoolError> {
        folder.check_marker()?;
        let mut view = SpoolView {
            folder: folder.path.clone(),
            cause,
            full,
            witness: None,
            identities: identities::read(&folder.path),
            parts: Vec::new(),
            end: u64::MAX,
            doubts: Vec::new(),
        };
        view.survey(witness::read(&folder.path))?;
        let known = view.witness.as_ref().map_or(0, |witness| witness.next_seq);
        view.end = view
            .parts
            .iter()
            .filter_map(|entry| entry.present.last())
            .fold(known, |end, last| end.max(last + 1));
        if view.witness.is_none() && !view.parts.is_empty() {
            view.doubts.push(
                "the witness is missing or damaged, so records that were delivered already may be among those shown, and dead \
                 letters are not told from the others"
                    .into(),
            );
        }
        Ok(view)
    }

    /// Why the spool is only looked at, in the operating system's words.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Whether that is because there is no room on the disk.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// What is missing or not certain, as far as it was noticed.
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// Lists the segments that a witness speaks of, and those that are newer than it.
    fn survey(&mut self, witness: Option<Witness>) -> Result<(), SpoolError> {
        let mut parts = witness.as_ref().map(|witness| witness.segments.clone()).unwrap_or_default();
        let first_new = witness.as_ref().map_or(0, |witness| witness.next_segment);
        // Only the last one is written to, so only there the witness may know less than the disk.
        if let Some(last) = parts.last_mut() {
            self.grow(last);
        }
        // Those between are left over from a drain or a rewrite that is finished.
        for number in self.numbers_on_disk()?.range(first_new..) {
            let mut entry = Entry { number: *number, ..Entry::default() };
            if let Some(old) = self.grow(&mut entry) {
                for part in parts.extract_if(.., |part| part.number == old) {
                    entry.dead = part.dead.iter().filter(|seq| entry.present.contains(*seq)).collect();
                }
            }
            parts.push(entry);
        }
        parts.sort_by_key(|entry| entry.present.first());
        self.parts = parts;
        self.witness = witness;
        Ok(())
    }

    fn numbers_on_disk(&self) -> Result<BTreeSet<u64>, SpoolError> {
        let mut numbers = BTreeSet::new();
        for entry in std::fs::read_dir(&self.folder).doing("list", &self.folder)? {
            let name = entry.doing("list", &self.folder)?.file_name();
            numbers.extend(name.to_str().and_then(segment::number));
        }
        Ok(numbers)
    }

    /// Takes note of a segment's records that are newer than what `entry` knows; tells the segment that it replaces.
    fn grow(&mut self, entry: &mut Entry) -> Option<u64> {
        let path = segment::folder(&self.folder, entry.number);
        // What cannot be read is missed, and said, when its records are shown.
        let checksum = store::checksum(&path).ok()?;
        if entry.checksum == Some(checksum) {
            return None;
        }
        let mut raw = Raw::read(&path).ok()?;
        let newest = entry.present.last();
        raw.retain(|seq| newest.is_none_or(|newest| seq > newest));
        for (seq, frame) in &raw.records {
            let time_ms = frame.values.timestamp_ms;
            entry.note(*seq, time_ms);
            let used = self.identities.used.entry(frame.id.clone()).or_default();
            used.first_ms = if used.first_ms == 0 { time_ms } else { used.first_ms.min(time_ms) };
            used.last_ms = used.last_ms.max(time_ms);
            used.instances.insert(frame.instance.clone());
        }
        entry.checksum.get_or_insert(checksum);
        raw.header.and_then(|header| header.replaces)
    }

    /// Whether dead letters are told from the others.
    pub fn knows_dead(&self) -> bool {
        self.witness.is_some()
    }

    /// The records that wait, oldest first, as long as `each` wants more.
    pub fn each<E: From<SpoolError>>(
        &mut self,
        mut each: impl FnMut(Queued) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut from = 0;
        while let Some((entry, raw)) = self.part(from)? {
            for (seq, record) in raw.each_record() {
                let dead = entry.dead.contains(seq).then(DeadLetter::default);
                if !each(Queued { seq, record, attempts: 0, dead })? {
                    return Ok(());
                }
            }
            from = entry.present.last().map_or(from, |last| last + 1);
        }
        Ok(())
    }

    /// The next segment with records from `from` on that wait, with their frames.
    fn part(&mut self, from: u64) -> Result<Option<(Entry, Raw)>, SpoolError> {
        for look in 1.. {
            let wanted = |entry: &Entry, seq| seq >= from && seq < self.end && entry.is_live(seq);
            let has_any = |entry: &&Entry| {
                entry.present.last() >= Some(from) && entry.present.iter().any(|seq| wanted(entry, seq))
            };
            let Some(entry) = self.parts.iter().find(has_any).cloned() else { break };
            let expected = entry.present.iter().filter(|seq| wanted(&entry, *seq)).count();
            let path = segment::folder(&self.folder, entry.number);
            let (mut raw, cause) = match Raw::read(&path) {
                Ok(raw) => (raw, "its files are damaged".to_owned()),
                Err(error) => (Raw::default(), error.to_string()),
            };
            raw.retain(|seq| wanted(&entry, seq));
            let missing = expected - raw.records.len();
            if missing == 0 {
                return Ok(Some((entry, raw)));
            }
            // Drained, purged or salvaged under our eyes: the witness is replaced before a folder is removed.
            if look < LOOKS && self.look_again()? {
                continue;
            }
            if path.is_dir() {
                self.doubts.push(format!(
                    "segment {}: {missing} of the {expected} records that wait in it cannot be shown: {cause}",
                    entry.number
                ));
            } else {
                self.doubts.push(entry.gone());
            }
            return Ok(Some((entry, raw)));
        }
        Ok(None)
    }

    /// Reads the witness again; tells whether it changed.
    fn look_again(&mut self) -> Result<bool, SpoolError> {
        let witness = witness::read(&self.folder);
        // A torn one is no news, and there is a whole one again in a moment.
        let changed = witness.is_some() && witness != self.witness;
        if changed {
            self.survey(witness)?;
        }
        Ok(changed)
    }

    /// Counts and times of the queue, as the witness knows them.
    pub fn counts(&mut self) -> Counts {
        let (there, missing): (Vec<&Entry>, Vec<&Entry>) = (self.parts.iter())
            .filter(|entry| entry.live() > 0)
            .partition(|entry| segment::folder(&self.folder, entry.number).is_dir());
        let bytes: u64 = there.iter().filter_map(|entry| entry.checksum).map(|sum| sum.bytes).sum();
        let queued = there.iter().map(|entry| entry.waiting()).sum();
        let counts = Counts {
            queued,
            dead: there.iter().map(|entry| entry.dead.len()).sum(),
            bytes: bytes
                + self.witness.as_ref().map_or(0, |witness| witness.state.bytes)
                + left::bytes(&self.folder),
            oldest_ms: there.iter().find(|entry| entry.waiting() > 0).map(|entry| self.oldest_ms(entry)),
            newest_ms: there.iter().map(|entry| entry.newest_ms).max().filter(|_| queued > 0),
        };
        let gone: Vec<String> = missing.into_iter().map(Entry::gone).collect();
        self.doubts.extend(gone);
        counts
    }

    /// The time of the oldest record that waits in a segment. The witness has that of the oldest it ever held.
    fn oldest_ms(&self, entry: &Entry) -> i64 {
        let waits = |(seq, _): &(&u64, _)| entry.is_live(**seq) && !entry.dead.contains(**seq);
        let raw = if entry.waiting() == entry.present.len() {
            Raw::default()
        } else {
            Raw::read(&segment::folder(&self.folder, entry.number)).unwrap_or_default()
        };
        raw.records.iter().find(waits).map_or(entry.oldest_ms, |(_, frame)| frame.values.timestamp_ms)
    }

    /// All ids that were ever used here and not purged since. Times of last use may be older than the truth.
    pub fn ids(&self) -> Vec<(String, IdHistory)> {
        self.identities.used.clone().into_iter().collect()
    }

    /// The instances that have an id or are paused, with nothing else known of them.
    pub fn instances(&self) -> Vec<(String, Instance)> {
        let paused = self.witness.as_ref().map(|witness| witness.paused.clone()).unwrap_or_default();
        let names: BTreeSet<&String> = self.identities.pins.keys().chain(&paused).collect();
        let known = |name: &String| Instance {
            pin: self.identities.pins.get(name).cloned(),
            paused: paused.contains(name),
            ..Instance::default()
        };
        names.into_iter().map(|name| (name.clone(), known(name))).collect()
    }
}

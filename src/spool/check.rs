//! Opening parts of the spool safely: compare with the witness first, verify where they differ, salvage what is whole.
//!
//! Why before sled: opening a damaged file makes sled forget, and overwrite, what a scan of the raw bytes would still have
//! found. So the raw frames of a part that is not as the witness knew it are read into memory first (a segment is
//! small), and only then sled may open it. If sled shows all of them, the writer had merely died before the witness was written.
//! If not, a healthy segment is built from the frames, and the damaged one is set aside with the date in its name.
//!
//! Invariants: nothing is opened by sled before this module looked at it; what was found and what was lost becomes a problem
//! that `status` shows until it is acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::error::{Doing, SpoolError};
use super::frame::{self, Frame, Header, RecordFrame};
use super::segment::{self, Segment};
use super::state::{self, Problem, State};
use super::store::{self, Go};
use super::witness::{Entry, Witness};
use crate::record::{Layout, Record};

/// The frames of a part, read without sled.
#[derive(Default)]
struct Raw {
    header: Option<Header>,
    layouts: HashMap<u64, Layout>,
    records: BTreeMap<u64, RecordFrame>,
}

impl Raw {
    fn read(path: &Path) -> Result<Raw, SpoolError> {
        let mut raw = Raw::default();
        for bytes in store::raw_files(path)? {
            for frame in frame::scan(&bytes) {
                match frame {
                    Frame::Header(header) => raw.header = Some(header),
                    Frame::Layout(key, layout) => _ = raw.layouts.insert(key, layout),
                    Frame::Record(record) => _ = raw.records.insert(record.seq, record),
                }
            }
        }
        Ok(raw)
    }

    /// The records whose layout was found as well.
    fn into_records(self) -> BTreeMap<u64, Record> {
        let layouts = self.layouts;
        self.records
            .into_iter()
            .filter_map(|(seq, frame)| {
                let layout = layouts.get(&frame.values.layout)?.clone();
                Some((seq, frame.record(layout)))
            })
            .collect()
    }
}

/// Opens `state/`. If it cannot be read it is set aside, and an empty one takes its place: the witness and the records know
/// all that matters.
pub(super) fn open_state(spool: &Path, known: Option<&Witness>, now_ms: i64) -> Result<State, SpoolError> {
    let path = spool.join(state::FOLDER);
    let (mut state, what) = match State::open(spool) {
        Err(SpoolError::Damaged { .. }) => {
            let aside = aside_of(&path, now_ms);
            std::fs::rename(&path, &aside).doing("set aside", &path)?;
            (State::open(spool)?, Some(format!("was damaged and was set aside as {}", name(&aside))))
        }
        Ok(state) => {
            let behind = known.is_some_and(|known| state.meta.commits < known.state_commits);
            (state, behind.then(|| "has lost its last changes".to_owned()))
        }
        Err(error) => return Err(error),
    };
    if let Some(what) = what {
        // The records say what it should know; taking them in again changes nothing that it still knows.
        state.meta.applied = 0;
        state.meta.commits = state.meta.commits.max(known.map_or(0, |known| known.state_commits));
        state.meta.problems.push(Problem {
            at_ms: now_ms,
            text: format!(
                "the summary of the spool {what}; no record is concerned, entries of the ledger and reasons of dead \
                 letters may be gone"
            ),
        });
    }
    Ok(state)
}

/// Brings witness, summary and folders into agreement, whatever was interrupted.
pub(super) fn reconcile(
    spool: &Path,
    known: Option<Witness>,
    state: &mut State,
    now_ms: i64,
) -> Result<Witness, SpoolError> {
    let on_disk = tidy(spool)?;
    let complete = known.is_some();
    let mut witness = known.unwrap_or_default();
    witness.next_segment = witness.next_segment.max(state.meta.next_segment).max(1);
    witness.next_seq = witness.next_seq.max(state.meta.next_seq).max(1);

    for entry in &mut witness.segments {
        if let Some(done) = state.meta.done.get(&entry.number) {
            done.iter().filter(|seq| entry.present.contains(*seq)).for_each(|seq| entry.done.insert(seq));
        }
    }
    for number in on_disk.iter().copied() {
        if witness.segments.iter().any(|entry| entry.number == number) {
            continue;
        }
        if complete && number < witness.next_segment {
            // Left behind by a rewrite or a drain whose last step was interrupted.
            store::remove_folder(&segment::folder(spool, number))?;
        } else {
            adopt(spool, number, &mut witness, state, now_ms)?;
        }
    }
    missing(&mut witness, &tidy(spool)?, state, now_ms);
    witness.segments.sort_by_key(|entry| entry.present.first());
    for (name, instance) in state.instances()? {
        if instance.paused {
            witness.paused.insert(name);
        }
    }
    for name in witness.paused.clone() {
        let mut instance = state.instance(&name)?.unwrap_or_default();
        if !instance.paused {
            instance.paused = true;
            state.put_instance(&name, &instance);
        }
    }
    catch_up(spool, &mut witness, state, now_ms)?;
    Ok(witness)
}

/// Removes what an interrupted step left half made, and tells the numbers of the segments on disk.
fn tidy(spool: &Path) -> Result<Vec<u64>, SpoolError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(spool).doing("list", spool)? {
        let entry = entry.doing("list", spool)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = segment::number(name) {
            numbers.push(number);
        } else if name.ends_with(".tmp") && entry.path().is_dir() {
            store::remove_folder(&entry.path())?;
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes note of segments that the witness knows and the disk does not have.
fn missing(witness: &mut Witness, on_disk: &[u64], state: &mut State, now_ms: i64) {
    witness.segments.retain(|entry| {
        if on_disk.contains(&entry.number) {
            return true;
        }
        if entry.live() > 0 {
            state.meta.problems.push(Problem {
                at_ms: now_ms,
                text: format!(
                    "segment {} is missing from the spool folder: {} records are gone",
                    entry.number,
                    entry.live()
                ),
            });
        }
        false
    });
}

/// Takes in a segment that the witness does not know: written just before a crash, or after the witness was lost.
fn adopt(
    spool: &Path,
    number: u64,
    witness: &mut Witness,
    state: &mut State,
    now_ms: i64,
) -> Result<(), SpoolError> {
    let path = segment::folder(spool, number);
    if let Some(old) = Raw::read(&path)?.header.and_then(|header| header.replaces) {
        // A finished rewrite whose switch was interrupted: finish it.
        witness.segments.retain(|entry| entry.number != old);
        store::remove_folder(&segment::folder(spool, old))?;
    }
    witness.next_segment = witness.next_segment.max(number + 1);
    let mut entry = Entry { number, ..Entry::default() };
    verify(spool, &mut entry, witness, state, now_ms)?.close()?;
    if let Some(done) = state.meta.done.get(&number) {
        done.iter().filter(|seq| entry.present.contains(*seq)).for_each(|seq| entry.done.insert(seq));
    }
    witness.next_seq = witness.next_seq.max(entry.present.last().map_or(0, |last| last + 1));
    witness.segments.push(entry);
    Ok(())
}

/// Takes records into the summary that were written after it was last committed.
fn catch_up(spool: &Path, witness: &mut Witness, state: &mut State, now_ms: i64) -> Result<(), SpoolError> {
    let applied = state.meta.applied;
    for at in 0..witness.segments.len() {
        let mut entry = witness.segments[at].clone();
        let behind = entry.present.last().is_some_and(|last| last >= applied);
        // Only the last segment is written to, so only there the witness may know less than the disk.
        let active = at + 1 == witness.segments.len();
        let changed = active && differs(spool, &entry)?;
        if !behind && !changed {
            continue;
        }
        let mut segment = open(spool, &mut entry, witness, state, now_ms)?;
        let mut records = Vec::new();
        segment.each(applied, |seq, record| {
            records.push((seq, record));
            Ok(Go::On)
        })?;
        for (seq, record) in &records {
            state.apply(*seq, record)?;
        }
        entry.checksum = Some(segment.close()?);
        witness.next_seq = witness.next_seq.max(entry.present.last().map_or(0, |last| last + 1));
        witness.segments[at] = entry;
    }
    Ok(())
}

/// Whether a segment's files are not as the witness knew them.
fn differs(spool: &Path, entry: &Entry) -> Result<bool, SpoolError> {
    let path = segment::folder(spool, entry.number);
    Ok(entry.checksum.is_none() || entry.checksum != Some(store::checksum(&path)?))
}

/// Opens a segment that the witness knows: at once if its files are as they were left, after a check otherwise.
pub(super) fn open(
    spool: &Path,
    entry: &mut Entry,
    witness: &mut Witness,
    state: &mut State,
    now_ms: i64,
) -> Result<Segment, SpoolError> {
    if !differs(spool, entry)? {
        match Segment::open(spool, entry.number) {
            Err(SpoolError::Damaged { .. }) => {}
            opened => return opened,
        }
    }
    verify(spool, entry, witness, state, now_ms)
}

/// Opens a segment that is not as the witness knew it, and mends `entry` to what is really there.
fn verify(
    spool: &Path,
    entry: &mut Entry,
    witness: &mut Witness,
    state: &mut State,
    now_ms: i64,
) -> Result<Segment, SpoolError> {
    let path = segment::folder(spool, entry.number);
    let mut found = Raw::read(&path)?.into_records();
    let opened = Segment::open(spool, entry.number);
    let mut shown = BTreeMap::new();
    let segment = match opened {
        Ok(mut segment) => {
            let read = segment.each(0, |seq, record| {
                shown.insert(seq, record);
                Ok(Go::On)
            });
            match read {
                Ok(()) => Some(segment),
                Err(SpoolError::Damaged { .. }) => None,
                Err(error) => return Err(error),
            }
        }
        Err(SpoolError::Damaged { .. }) => None,
        Err(error) => return Err(error),
    };
    let known = std::mem::take(&mut entry.present);
    let whole =
        found.keys().all(|seq| shown.contains_key(seq)) && known.iter().all(|seq| shown.contains_key(&seq));
    if let Some(segment) = segment {
        if whole {
            entry.frame_bytes = 0;
            for (seq, record) in &shown {
                entry.note(*seq, record.timestamp_ms);
                entry.frame_bytes += Frame::Record(RecordFrame::of(*seq, record)).encode().len() as u64;
            }
            return Ok(segment);
        }
        segment.close()?;
    }
    found.extend(shown);
    found.retain(|seq, _| !entry.done.contains(*seq));
    let lost = known.iter().filter(|seq| !entry.done.contains(*seq) && !found.contains_key(seq)).count();
    let damaged = entry.number;
    let mut healthy = Entry { number: witness.next_segment, ..Entry::default() };
    witness.next_segment += 1;
    write_segment(spool, &mut healthy, Some(damaged), found.iter().map(|(seq, record)| (*seq, record)))?;
    let aside = aside_of(&path, now_ms);
    state.meta.problems.push(Problem {
        at_ms: now_ms,
        text: format!(
            "segment {damaged} was damaged and was set aside as {}: {} records were saved, {lost} are gone",
            name(&aside),
            found.len()
        ),
    });
    // The report first: whatever happens next, it is not forgotten.
    state.commit()?;
    std::fs::rename(&path, &aside).doing("set aside", &path)?;
    tracing::warn!(segment = damaged, saved = found.len(), lost, "a damaged part of the spool was set aside");
    *entry = healthy;
    Segment::open(spool, entry.number)
}

/// Writes a whole segment beside the others and moves it into place when it is complete.
pub(super) fn write_segment<'a>(
    spool: &Path,
    entry: &mut Entry,
    replaces: Option<u64>,
    records: impl Iterator<Item = (u64, &'a Record)>,
) -> Result<(), SpoolError> {
    let place = segment::folder(spool, entry.number);
    let fresh = place.with_extension("tmp");
    let mut segment = Segment::create(&fresh, Header { number: entry.number, replaces })?;
    let records: Vec<_> = records.collect();
    for portion in records.chunks(512) {
        entry.frame_bytes += segment.append(portion)?;
    }
    for (seq, record) in records {
        entry.note(seq, record.timestamp_ms);
    }
    entry.checksum = Some(segment.close()?);
    std::fs::rename(&fresh, &place).doing("move into place", &place)?;
    store::sync_folder(spool)
}

/// Where a damaged part goes, for whoever wants to look at it.
fn aside_of(path: &Path, now_ms: i64) -> PathBuf {
    let stamp = crate::record::message::rfc3339(now_ms).replace([':', '.'], "");
    path.with_file_name(format!("{}{ASIDE}{stamp}", name(path)))
}

/// What the name of a part that was set aside has between the part's name and the date.
const ASIDE: &str = ".damaged-";

/// The parts that were set aside.
pub(super) fn parts_set_aside(spool: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(spool).doing("list", spool)? {
        let path = entry.doing("list", spool)?.path();
        if name(&path).contains(ASIDE) {
            parts.push(path);
        }
    }
    Ok(parts)
}

/// The records in a part that was set aside, as far as they can be found.
pub(super) fn records_in(path: &Path) -> Result<BTreeMap<u64, Record>, SpoolError> {
    Ok(Raw::read(path)?.into_records())
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

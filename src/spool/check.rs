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
use std::sync::Arc;

use super::error::{Doing, SpoolError};
use super::frame::{self, Frame, Header, RecordFrame};
use super::ranges::Ranges;
use super::segment::{self, Segment};
use super::state::{Problem, State};
use super::store::{self, Go};
use super::witness::{Entry, Witness};
use crate::record::{Layout, Record};

/// What a check works on.
pub(super) struct Check<'a> {
    pub spool: &'a Path,
    pub witness: &'a mut Witness,
    pub state: &'a mut State,
    pub now_ms: i64,
}

impl Check<'_> {
    /// Opens a segment that the witness knows: at once if its files are as they were left, after a look otherwise.
    pub(super) fn open(&mut self, entry: &mut Entry) -> Result<Segment, SpoolError> {
        if !self.differs(entry)? {
            // From now on it is written to.
            self.state.compared.remove(&entry.number);
            match Segment::open(self.spool, entry.number) {
                Err(SpoolError::Damaged { .. }) => {}
                opened => return opened,
            }
        }
        self.verify(entry)
    }

    /// Whether a segment's files are not as the witness knew them. They are read once each time the spool is opened: while it
    /// is open nobody else writes to them.
    pub(super) fn differs(&mut self, entry: &Entry) -> Result<bool, SpoolError> {
        if entry.checksum.is_none() {
            return Ok(true);
        }
        if self.state.compared.contains(&entry.number) {
            return Ok(false);
        }
        let differs = entry.checksum != Some(store::checksum(&segment::folder(self.spool, entry.number))?);
        if !differs {
            self.state.compared.insert(entry.number);
        }
        Ok(differs)
    }

    /// Opens a segment that is not as the witness knew it, and mends `entry` to what is really there.
    pub(super) fn verify(&mut self, entry: &mut Entry) -> Result<Segment, SpoolError> {
        let found = Raw::read(&segment::folder(self.spool, entry.number))?.into_records();
        let (segment, mut shown) = show(self.spool, entry.number)?;
        let Some(mut segment) = segment else { return self.salvage(entry, found, shown) };
        let unfinished = unfinished(&found, &shown, &entry.present);
        if !unfinished.is_empty() {
            let records: Vec<_> = unfinished.iter().map(|(seq, record)| (*seq, record)).collect();
            segment.append(&records, entry.frame_bytes)?;
            shown.extend(unfinished);
        }
        let whole = found.keys().all(|seq| shown.contains_key(seq))
            && entry.present.iter().all(|seq| shown.contains_key(&seq));
        if !whole {
            segment.close()?;
            return self.salvage(entry, found, shown);
        }
        entry.present = Ranges::default();
        entry.frame_bytes = 0;
        let mut frame = Vec::new();
        for (seq, record) in &shown {
            entry.note(*seq, record.timestamp_ms);
            frame.clear();
            frame::put_record(&mut frame, *seq, record, u64::MAX);
            entry.frame_bytes += frame.len() as u64;
        }
        // The summary may know more than a witness that is older than some of the records.
        let known = self.state.meta.done.get(&entry.number).cloned().unwrap_or_default();
        entry.done =
            entry.done.iter().chain(known.iter()).filter(|seq| entry.present.contains(*seq)).collect();
        Ok(segment)
    }

    /// Builds a healthy segment from what is whole, sets the damaged one aside, and says what was saved and what is gone.
    fn salvage(
        &mut self,
        entry: &mut Entry,
        found: BTreeMap<u64, Record>,
        shown: BTreeMap<u64, Record>,
    ) -> Result<Segment, SpoolError> {
        let mut saved = found;
        saved.extend(shown);
        saved.retain(|seq, _| !entry.done.contains(*seq));
        let lost = entry.present.iter().filter(|seq| entry.is_live(*seq) && !saved.contains_key(seq)).count();
        let damaged = entry.number;
        let path = segment::folder(self.spool, damaged);
        if saved.is_empty() && entry.present.is_empty() {
            // Nobody knew of a record in it that waits and none is found: its process died while sled was making it, or the
            // disk lost what was done with already.
            *entry = Entry { number: damaged, ..Entry::default() };
            store::remove_folder(&path)?;
            return Segment::create(&path, Header { number: damaged, replaces: None });
        }
        let aside = aside_of(&path, self.now_ms);
        let mut healthy = Entry { number: self.witness.next_segment, ..Entry::default() };
        self.witness.next_segment += 1;
        let records = saved.iter().map(|(seq, record)| (*seq, record));
        write_segment(self.spool, &mut healthy, Some(damaged), records)?;
        for seq in entry.dead.iter() {
            if healthy.present.contains(seq) {
                healthy.dead.insert(seq);
            } else {
                self.state.remove_dead(seq);
            }
        }
        self.state.meta.problems.push(Problem {
            at_ms: self.now_ms,
            text: format!(
                "segment {damaged} was damaged and was set aside as {}: {} records were saved, {lost} are gone",
                name(&aside),
                saved.len()
            ),
        });
        // The report first: whatever happens next, it is not forgotten.
        self.state.commit()?;
        std::fs::rename(&path, &aside).doing("set aside", &path)?;
        tracing::warn!(
            segment = damaged,
            saved = saved.len(),
            lost,
            "a damaged part of the spool was set aside"
        );
        *entry = healthy;
        Segment::open(self.spool, entry.number)
    }
}

/// Opens a segment and reads all that sled shows of it; no segment if sled cannot.
fn show(spool: &Path, number: u64) -> Result<(Option<Segment>, BTreeMap<u64, Record>), SpoolError> {
    let mut shown = BTreeMap::new();
    let opened = Segment::open(spool, number).and_then(|mut segment| {
        segment.each(0, |seq, record| {
            shown.insert(seq, record);
            Ok(Go::On)
        })?;
        Ok(segment)
    });
    match opened {
        Ok(segment) => Ok((Some(segment), shown)),
        Err(SpoolError::Damaged { .. }) => Ok((None, shown)),
        Err(error) => Err(error),
    }
}

/// The records that a writer was committing when it died: whole in the raw bytes, not yet part of the database, and newer than
/// all that is known. Nobody was told that they are written; to take them in is right, and to call it damage is not.
fn unfinished(
    found: &BTreeMap<u64, Record>,
    shown: &BTreeMap<u64, Record>,
    known: &Ranges,
) -> Vec<(u64, Record)> {
    let newest = shown.keys().last().copied().max(known.last());
    let newer = found.iter().filter(|(seq, _)| newest.is_none_or(|newest| **seq > newest));
    newer.map(|(seq, record)| (*seq, record.clone())).collect()
}

/// The frames of a part, read without sled.
#[derive(Default)]
pub(super) struct Raw {
    pub header: Option<Header>,
    layouts: HashMap<u64, Arc<Layout>>,
    pub records: BTreeMap<u64, RecordFrame>,
}

impl Raw {
    pub(super) fn read(path: &Path) -> Result<Raw, SpoolError> {
        let mut raw = Raw::default();
        for bytes in store::raw_files(path)? {
            for frame in frame::scan(&bytes) {
                match frame {
                    Frame::Header(header) => raw.header = Some(header),
                    Frame::Layout(key, layout) => _ = raw.layouts.insert(key, Arc::new(layout)),
                    Frame::Record(record) => _ = raw.records.insert(record.seq, record),
                }
            }
        }
        Ok(raw)
    }

    /// The records whose layout was found as well, ascending.
    pub(super) fn each_record(self) -> impl Iterator<Item = (u64, Record)> {
        let layouts = self.layouts;
        self.records.into_iter().filter_map(move |(seq, frame)| {
            let layout = layouts.get(&frame.values.layout)?.clone();
            Some((seq, frame.record(layout)))
        })
    }

    /// All of them at once.
    fn into_records(self) -> BTreeMap<u64, Record> {
        self.each_record().collect()
    }

    /// Leaves only the records that are wanted and whose layout was found as well.
    pub(super) fn retain(&mut self, wanted: impl Fn(u64) -> bool) {
        let layouts = &self.layouts;
        self.records.retain(|seq, frame| wanted(*seq) && layouts.contains_key(&frame.values.layout));
    }
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
        entry.frame_bytes = segment.append(portion, entry.frame_bytes)?;
    }
    for (seq, record) in records {
        entry.note(seq, record.timestamp_ms);
    }
    entry.checksum = Some(segment.close()?);
    std::fs::rename(&fresh, &place).doing("move into place", &place)?;
    store::sync_folder(spool)
}

/// Where a damaged part goes, for whoever wants to look at it.
pub(super) fn aside_of(path: &Path, now_ms: i64) -> PathBuf {
    let stamp = crate::clock::rfc3339(now_ms).replace([':', '.'], "");
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

/// The last part of a path, for messages.
pub(super) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

//! Bringing folder and manifest into agreement, whatever was interrupted or damaged.
//!
//! Why at each opening: a process may die between any two steps, and none of them may need a repair
//! by hand. What the manifest does not vouch for is **suspect**:
//!
//! - the active segment, if its files are not as the manifest vouches for them: its writer died, a
//!   sync failed, or it is damaged;
//! - a segment with a number that the manifest has not given out yet: it was begun after the last
//!   commit;
//! - a segment of the manifest that the folder lacks.
//!
//! Suspects are read as frames and never opened by sled. Their records that are in the queue, and
//! those beyond the manifest, are written anew into fresh segments, synced, and adopted by a
//! commit. Only then the suspects go: those that lost a record are quarantined, the others removed.
//! A crash on the way leaves the suspects untouched, and the next opening begins again.
//!
//! These records were never acknowledged, or acknowledged and not committed yet: adopting them is
//! right in both cases, and writing them anew makes sure that they are on stable storage.

use std::collections::BTreeSet;

use super::error::{Doing, SpoolError};
use super::files;
use super::manifest::{Entry, Quarantined};
use super::queue::{SEGMENT_RECORDS, Spool};
use super::ranges::Ranges;
use super::segment::records::Records;
use super::segment::{self, sealed};
use crate::record::Record;

impl Spool {
    /// Looks for suspects and recovers what they hold. `is_rebuild`: the manifest was lost, so all
    /// segments are suspects, and nothing but the dedup index tells what was delivered.
    pub(super) fn reconcile(&mut self, is_rebuild: bool) -> Result<(), SpoolError> {
        let on_disk = numbers(&self.folder)?;
        let manifest = &self.reader.manifest;
        let quarantined: BTreeSet<u64> = manifest.quarantined.iter().map(|part| part.number).collect();
        let mut suspects = Vec::new();
        for entry in &manifest.segments {
            let is_changed = !entry.sealed && self.differs(entry)?;
            if is_changed || !on_disk.contains(&entry.number) {
                suspects.push(entry.number);
            }
        }
        let unknown = on_disk
            .iter()
            .filter(|number| manifest.position(**number).is_none() && !quarantined.contains(number));
        let (begun, left_over): (Vec<u64>, Vec<u64>) =
            unknown.copied().partition(|number| *number >= manifest.next_segment);
        suspects.extend(begun);
        self.reader.manifest.quarantined.retain(|part| on_disk.contains(&part.number));
        // Their last step, removing them, was interrupted.
        self.obsolete.extend(left_over);
        if suspects.is_empty() { Ok(()) } else { self.recover_from(&suspects, is_rebuild) }
    }

    /// Whether the files of a segment are not as the manifest vouches for them.
    fn differs(&self, entry: &Entry) -> Result<bool, SpoolError> {
        let folder = segment::folder(&self.folder, entry.number);
        let found = self.read_patiently(|| files::checksum(&folder))?;
        Ok(entry.checksum != Some(found))
    }

    /// Replaces damaged segments by ones with what is whole.
    pub(super) fn recover(&mut self, suspects: &[u64]) -> Result<(), SpoolError> {
        self.close_active()?;
        self.recover_from(suspects, false)
    }

    fn recover_from(&mut self, suspects: &[u64], is_rebuild: bool) -> Result<(), SpoolError> {
        // New segments get numbers that no folder has.
        let highest = numbers(&self.folder)?.last().copied().unwrap_or(0);
        self.manifest.next_segment = self.manifest.next_segment.max(highest + 1);
        let next_seq = self.manifest.next_seq;
        let known: Vec<Entry> = (suspects.iter())
            .filter_map(|number| Some(self.manifest.segments[self.manifest.position(*number)?].clone()))
            .collect();
        let live: Ranges = known.iter().flat_map(|entry| entry.live().iter().collect::<Vec<_>>()).collect();
        let dead: Ranges = known.iter().flat_map(|entry| entry.dead.iter().collect::<Vec<_>>()).collect();

        let mut saved = Ranges::default();
        let mut fresh = Vec::new();
        for number in suspects {
            let folder = segment::folder(&self.folder, *number);
            let wanted = |seq| (live.contains(seq) || seq >= next_seq) && !saved.contains(seq);
            let found = self.read_patiently(|| Records::read(&folder, wanted))?;
            let found: Vec<(u64, Record)> = found.into_records().collect();
            saved.extend(found.iter().map(|(seq, _)| *seq));
            let found = if is_rebuild { self.without_delivered(found)? } else { found };
            for records in found.chunks(SEGMENT_RECORDS as usize) {
                fresh.push(self.write_segment(records, &dead)?);
            }
            let beyond = found.iter().filter(|(seq, _)| *seq >= next_seq);
            beyond.for_each(|(seq, record)| self.note_record(*seq, record));
        }
        self.adopt(suspects, fresh);
        self.report(suspects, &known, &saved)?;
        // In both slots before a suspect is removed.
        self.into_both_slots = true;
        self.checkpoint()
    }

    /// Writes records as a new sealed segment that is not in the manifest yet.
    pub(super) fn write_segment(
        &mut self,
        records: &[(u64, Record)],
        dead: &Ranges,
    ) -> Result<Entry, SpoolError> {
        let number = self.manifest.next_segment;
        self.manifest.next_segment = number + 1;
        let numbered = records.iter().map(|(seq, record)| (*seq, record));
        let mut entry = sealed::write(&self.folder, number, numbered)?;
        entry.dead = dead.within(&entry.present);
        Ok(entry)
    }

    /// Drops the records that the dedup index knows.
    fn without_delivered(&mut self, found: Vec<(u64, Record)>) -> Result<Vec<(u64, Record)>, SpoolError> {
        let mut left = Vec::with_capacity(found.len());
        for (seq, record) in found {
            let is_gone = match record.uuid.parse() {
                Ok(uuid) => self.is_in_dedup(&uuid)?,
                Err(_) => false,
            };
            if !is_gone {
                left.push((seq, record));
            }
        }
        Ok(left)
    }

    fn adopt(&mut self, suspects: &[u64], fresh: Vec<Entry>) {
        let manifest = &mut self.reader.manifest;
        manifest.segments.retain(|entry| !suspects.contains(&entry.number));
        fresh.into_iter().for_each(|entry| manifest.add_segment(entry));
        manifest.forget_absent();
    }

    /// Says what was lost, and decides which suspects are kept for inspection.
    fn report(&mut self, suspects: &[u64], known: &[Entry], saved: &Ranges) -> Result<(), SpoolError> {
        let now_ms = self.now_ms;
        for number in suspects {
            let folder = segment::folder(&self.folder, *number);
            let entry = known.iter().find(|entry| entry.number == *number);
            let lost = entry.map_or_else(Ranges::default, |entry| entry.live().without(saved));
            self.manifest.forget_last_recorded(&lost);
            let lost = lost.len();
            if lost == 0 {
                self.obsolete.push(*number);
                continue;
            }
            let name = format!("seg-{number:08}");
            let text = if folder.is_dir() {
                let bytes = files::bytes(&folder)?;
                self.manifest.quarantined.push(Quarantined { number: *number, at_ms: now_ms, bytes });
                let rescued = entry.map_or(0, |entry| entry.live().within(saved).len());
                format!(
                    "the folder {name} of the spool was damaged: {rescued} of its records were saved and {lost} are lost. \
                     Its files are kept for inspection until the spool needs the room, `spool.retention` has passed, or a purge \
                     removes them"
                )
            } else {
                format!("the folder {name} of the spool is missing: {lost} records are lost")
            };
            tracing::warn!("{text}");
            self.manifest.add_problem(now_ms, text);
        }
        Ok(())
    }
}

/// The numbers of the segments in a spool's folder.
pub(super) fn numbers(spool: &std::path::Path) -> Result<BTreeSet<u64>, SpoolError> {
    let mut numbers = BTreeSet::new();
    for entry in std::fs::read_dir(spool).doing("list", spool)? {
        let name = entry.doing("list", spool)?.file_name();
        numbers.extend(name.to_str().and_then(segment::number));
    }
    Ok(numbers)
}

//! The records of a segment, read from its files without sled, without a lock and without a write.
//!
//! An error of the system is an error, never taken for damage: what cannot be read now may be whole.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::super::error::{Doing, SpoolError};
use super::super::files;
use super::super::frame::fragment::Assembly;
use super::super::frame::scan::Scan;
use super::super::frame::{Content, Frame, RecordFrame};
use crate::record::{Layout, Record};

/// The records of a segment. The files are closed again.
#[derive(Default)]
pub(in crate::spool) struct Records {
    frames: BTreeMap<u64, RecordFrame>,
    layouts: HashMap<u64, Arc<Layout>>,
    assembly: Assembly,
}

/// Which records are looked for.
pub(in crate::spool) struct Wanted<F> {
    /// Whether a sequence number is wanted.
    pub is: F,
    /// As many are enough: the scan ends once they are found with their layouts.
    pub enough: usize,
}

impl Records {
    /// Reads all records of a segment for which `wanted` is true.
    pub(in crate::spool) fn read(folder: &Path, wanted: impl Fn(u64) -> bool) -> Result<Records, SpoolError> {
        Records::read_some(folder, Wanted { is: wanted, enough: usize::MAX })
    }

    /// Reads the records that are wanted.
    pub(in crate::spool) fn read_some(
        folder: &Path,
        wanted: Wanted<impl Fn(u64) -> bool>,
    ) -> Result<Records, SpoolError> {
        let mut records = Records::default();
        for path in files::files(folder)? {
            let file = match File::open(&path) {
                // sled replaces its snapshots while it writes.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.doing("read", &path)?,
            };
            if records.scan(file, &wanted).doing("read", &path)?.is_break() {
                return Ok(records);
            }
        }
        records.drop_incomplete();
        Ok(records)
    }

    /// Reads the records that are wanted from one file; breaks off when they are enough.
    pub(in crate::spool) fn scan(
        &mut self,
        source: impl Read,
        wanted: &Wanted<impl Fn(u64) -> bool>,
    ) -> std::io::Result<ControlFlow<()>> {
        let mut scan = Scan::new(source);
        while let Some(frame) = scan.next_frame(|seq| (wanted.is)(seq) && !self.frames.contains_key(&seq))? {
            self.take(frame, &wanted.is);
            if self.frames.len() >= wanted.enough && self.has_all_layouts() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Drops the records whose layout was not found.
    fn drop_incomplete(&mut self) {
        let layouts = &self.layouts;
        self.frames.retain(|_, frame| layouts.contains_key(&frame.layout));
    }

    fn take(&mut self, frame: Frame<'_>, wanted: &impl Fn(u64) -> bool) {
        match frame.content() {
            Some(Content::Record(seq)) if wanted(seq) && !self.frames.contains_key(&seq) => {
                self.frames.extend(frame.record().map(|record| (seq, record)));
            }
            Some(Content::Layout(key, layout)) => {
                self.layouts.entry(key).or_insert_with(|| Arc::new(layout));
            }
            Some(Content::Fragment(fragment)) => {
                if let Some(whole) = self.assembly.add(&fragment)
                    && let Some(frame) = Frame::at_start(&whole)
                {
                    self.take(frame, wanted);
                }
            }
            Some(Content::Record(_)) | None => {}
        }
    }

    /// Nearly always there is one layout, and it comes first.
    fn has_all_layouts(&self) -> bool {
        self.frames.values().all(|frame| self.layouts.contains_key(&frame.layout))
    }

    pub(in crate::spool) fn contains(&self, seq: u64) -> bool {
        self.frames.contains_key(&seq)
    }

    pub(in crate::spool) fn len(&self) -> u64 {
        self.frames.len() as u64
    }

    /// The times of the records, in milliseconds since 1970.
    pub(in crate::spool) fn times(&self) -> impl Iterator<Item = (u64, i64)> + '_ {
        self.frames.iter().map(|(seq, frame)| (*seq, frame.timestamp_ms))
    }

    /// The records, ascending.
    pub(in crate::spool) fn into_records(self) -> impl Iterator<Item = (u64, Record)> {
        let layouts = self.layouts;
        self.frames.into_iter().filter_map(move |(seq, frame)| {
            let layout = layouts.get(&frame.layout)?.clone();
            Some((seq, frame.record(layout)))
        })
    }
}

//! A segment: some thousand records in a database of their own.
//!
//! Why many small ones: a sled file never shrinks and keeps what was removed from it, so a segment is deleted whole once its
//! records are done, and rewritten without the records that must be erased.
//!
//! Invariant: records are only ever added. What is done, dead or in flight stands in `state/`.
//!
//! Keys: `h` the header, `l` + layout key a layout, `r` + sequence number a record, all big endian; the values are frames.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use super::frame::{Frame, Header, RecordFrame, layout_key};
use super::store::{Changes, Checksum, Go, Store};
use crate::record::{Layout, Record};

/// An open segment.
pub(super) struct Segment {
    number: u64,
    store: Store,
    layouts: HashMap<u64, Layout>,
}

/// The folder of a segment.
pub(super) fn folder(spool: &Path, number: u64) -> PathBuf {
    spool.join(format!("seg-{number:08}"))
}

/// The number of a segment's folder, if it is one.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("seg-").filter(|digits| digits.len() == 8)?.parse().ok()
}

impl Segment {
    /// Makes a segment in `path`, which need not be its final place.
    pub(super) fn create(path: &Path, header: Header) -> Result<Segment, SpoolError> {
        let store = Store::open(path)?;
        let mut changes = Changes::default();
        let number = header.number;
        changes.put(b"h", Frame::Header(header).encode());
        store.commit(changes)?;
        Ok(Segment { number, store, layouts: HashMap::new() })
    }

    /// Opens a segment whose files were found sound.
    pub(super) fn open(spool: &Path, number: u64) -> Result<Segment, SpoolError> {
        let store = Store::open(&folder(spool, number))?;
        Ok(Segment { number, store, layouts: HashMap::new() })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Adds records, with one sync for all of them. Tells how many bytes of frames were added.
    pub(super) fn append(&mut self, records: &[(u64, &Record)]) -> Result<u64, SpoolError> {
        let mut changes = Changes::default();
        let mut bytes = 0;
        for (seq, record) in records {
            bytes += self.put_layout(&mut changes, &record.draft.layout)?;
            let frame = Frame::Record(RecordFrame::of(*seq, record)).encode();
            bytes += frame.len() as u64;
            changes.put(&record_key(*seq), frame);
        }
        self.store.commit(changes)?;
        Ok(bytes)
    }

    /// Adds the layout unless the segment has it.
    fn put_layout(&mut self, changes: &mut Changes, layout: &Layout) -> Result<u64, SpoolError> {
        let key = layout_key(layout);
        if self.layout(key)?.is_some() {
            return Ok(0);
        }
        let frame = Frame::Layout(key, layout.clone()).encode();
        let bytes = frame.len() as u64;
        changes.put(&layout_entry(key), frame);
        self.layouts.insert(key, layout.clone());
        Ok(bytes)
    }

    fn layout(&mut self, key: u64) -> Result<Option<Layout>, SpoolError> {
        if let Some(layout) = self.layouts.get(&key) {
            return Ok(Some(layout.clone()));
        }
        let stored = self.store.get(&layout_entry(key))?;
        let Some(Frame::Layout(_, layout)) = stored.as_deref().and_then(Frame::decode) else {
            return Ok(None);
        };
        self.layouts.insert(key, layout.clone());
        Ok(Some(layout))
    }

    /// Records from sequence number `from` on, ascending, until `each` says stop. Frames that cannot be read are skipped:
    /// a segment is checked before it is opened, so there are none unless the disk failed in between.
    pub(super) fn each(
        &mut self,
        from: u64,
        mut each: impl FnMut(u64, Record) -> Result<Go, SpoolError>,
    ) -> Result<(), SpoolError> {
        let mut frames = Vec::new();
        let mut next = from;
        loop {
            // In portions, so that a segment's records are never all in memory, and `layout` may borrow the store.
            self.store.scan(b"r", &record_key(next), |_, value| {
                if let Some(Frame::Record(frame)) = Frame::decode(value) {
                    frames.push(frame);
                }
                Ok(if frames.len() < 256 { Go::On } else { Go::Stop })
            })?;
            let Some(last) = frames.last().map(|frame| frame.seq) else {
                return Ok(());
            };
            next = last + 1;
            for frame in frames.drain(..) {
                let seq = frame.seq;
                let Some(layout) = self.layout(frame.values.layout)? else {
                    continue;
                };
                if each(seq, frame.record(layout))? == Go::Stop {
                    return Ok(());
                }
            }
        }
    }

    /// Closes it and tells the checksum of its files.
    pub(super) fn close(self) -> Result<Checksum, SpoolError> {
        self.store.close()
    }
}

fn record_key(seq: u64) -> [u8; 9] {
    key(b'r', seq)
}

fn layout_entry(layout: u64) -> [u8; 9] {
    key(b'l', layout)
}

fn key(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

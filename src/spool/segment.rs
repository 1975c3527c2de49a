//! A segment: some thousand records in a database of their own.
//!
//! Why many small ones: a sled file never shrinks and keeps what was removed from it, so a segment is deleted whole once its
//! records are done, and rewritten without the records that must be erased.
//!
//! Invariant: records are only ever added. What is done, dead or in flight stands in `state/`.
//!
//! Keys: `h` the header, `l` + layout key a layout, `r` + sequence number a block of records, all big endian. The values are
//! frames; a block is the frames of records that were written together, one behind the other, under the number of the last of
//! them, so that a look from any number on finds the block that holds it.
//!
//! `c` + layout key is a second copy of a layout, written when some records lie between it and the first: without its layout
//! no record can be read again from a damaged file.
//!
//! Why blocks: sled's work is by entry, so records that share a sync share an entry as well. A block is small, because sled
//! writes each leaf anew again and again, and a leaf has up to 17 entries (see [`LEAF_BYTES`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::SpoolError;
use super::frame::{self, Frame, Header, layout_key};
use super::store::{Checksum, Go, LEAF_BYTES, Store};
use crate::record::{Layout, Record};

/// A block holds no more bytes, unless its one record does.
const BLOCK_BYTES: usize = LEAF_BYTES / 18;

/// A segment that holds so many bytes of frames has each of its layouts twice: then no damaged page can hold both.
const LAYOUTS_TWICE_FROM: u64 = 16 * 1024;

/// Entries on their way into the database.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// An open segment.
pub(super) struct Segment {
    number: u64,
    store: Store,
    layouts: HashMap<u64, Arc<Layout>>,
    /// Layouts of records that were added since it was opened.
    written: Vec<u64>,
    /// Those of them that have no second copy yet.
    single: Vec<u64>,
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
        let number = header.number;
        store.append(vec![(b"h".to_vec(), frame::of_header(&header))])?;
        Ok(Segment { number, store, layouts: HashMap::new(), written: Vec::new(), single: Vec::new() })
    }

    /// Opens a segment whose files were found sound.
    pub(super) fn open(spool: &Path, number: u64) -> Result<Segment, SpoolError> {
        let store = Store::open(&folder(spool, number))?;
        Ok(Segment { number, store, layouts: HashMap::new(), written: Vec::new(), single: Vec::new() })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Adds records, with one sync for all of them, to a segment that holds `held` bytes of frames. Tells how many it holds now.
    pub(super) fn append(&mut self, records: &[(u64, &Record)], held: u64) -> Result<u64, SpoolError> {
        let mut entries = Entries::new();
        let (mut block, mut frame) = (Vec::with_capacity(BLOCK_BYTES), Vec::with_capacity(BLOCK_BYTES));
        let mut last = 0;
        for (seq, record) in records {
            let layout = self.put_layout(&mut entries, &record.draft.layout)?;
            frame.clear();
            frame::put_record(&mut frame, *seq, record, layout);
            if !block.is_empty() && block.len() + frame.len() > BLOCK_BYTES {
                let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES));
                entries.push((record_key(last).to_vec(), full));
            }
            block.extend_from_slice(&frame);
            last = *seq;
        }
        if !block.is_empty() {
            entries.push((record_key(last).to_vec(), block));
        }
        let mut held = held + bytes_of(&entries);
        if held >= LAYOUTS_TWICE_FROM && !self.single.is_empty() {
            let copies: Entries = (self.single.drain(..))
                .filter_map(|key| {
                    Some((copy_entry(key).to_vec(), frame::of_layout(key, self.layouts.get(&key)?)))
                })
                .collect();
            held += bytes_of(&copies);
            entries.extend(copies);
        }
        self.store.append(entries)?;
        Ok(held)
    }

    /// The key of a layout, which is added unless the segment has it.
    fn put_layout(&mut self, entries: &mut Entries, layout: &Arc<Layout>) -> Result<u64, SpoolError> {
        // Comparing is cheaper than computing a key, and few layouts are written to one segment.
        if let Some(key) = self.written.iter().find(|key| self.layouts.get(key) == Some(layout)) {
            return Ok(*key);
        }
        let key = layout_key(layout);
        if self.layout(key)?.is_none() {
            entries.push((layout_entry(key).to_vec(), frame::of_layout(key, layout)));
            self.layouts.insert(key, layout.clone());
        }
        if self.store.get(&copy_entry(key))?.is_none() {
            self.single.push(key);
        }
        self.written.push(key);
        Ok(key)
    }

    fn layout(&mut self, key: u64) -> Result<Option<Arc<Layout>>, SpoolError> {
        if let Some(layout) = self.layouts.get(&key) {
            return Ok(Some(layout.clone()));
        }
        let stored = self.store.get(&layout_entry(key))?;
        let Some(Frame::Layout(_, layout)) = stored.as_deref().and_then(Frame::decode) else {
            return Ok(None);
        };
        let layout = Arc::new(layout);
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
                frames.extend(frame::scan(value).filter_map(|frame| match frame {
                    Frame::Record(frame) if frame.seq >= next => Some(frame),
                    _ => None,
                }));
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

fn bytes_of(entries: &Entries) -> u64 {
    entries.iter().map(|(_, value)| value.len() as u64).sum()
}

fn copy_entry(layout: u64) -> [u8; 9] {
    key(b'c', layout)
}

fn layout_entry(layout: u64) -> [u8; 9] {
    key(b'l', layout)
}

fn key(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

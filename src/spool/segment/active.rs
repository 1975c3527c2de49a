//! The active segment: a sled database that takes the next records.
//!
//! Invariant: records are only ever added. Which of them are done or dead is written in the
//! manifest.
//!
//! Keys, all big endian: `r` + sequence number a block of records, `l` + layout key + number a
//! layout or one of its fragments, `f` + sequence number + number a fragment of a record that is
//! too long for a block. The values are frames; a block is the frames of records that were written
//! together, under the number of the last of them.
//!
//! `c` + layout key + number is the second copy of a layout.
//!
//! Why blocks: sled's work is by entry, so records that share a sync share an entry as well. A
//! block is small, because sled writes each leaf anew again and again, and a leaf has up to 17
//! entries.

use std::path::Path;
use std::sync::Arc;

use super::super::error::{SpoolError, Unencodable};
use super::super::files::Checksum;
use super::super::frame::fragment::{MAX_ENTRY, split};
use super::super::frame::{self, layout_key};
use super::super::store::Store;
use super::LAYOUTS_TWICE_FROM;
use crate::record::{Layout, Record};

/// Keys and values on their way into the database.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

pub(in crate::spool) struct ActiveSegment {
    number: u64,
    store: Store,
    /// Layouts that are in the database, as far as this process knows, and whether twice.
    layouts: Vec<KnownLayout>,
}

struct KnownLayout {
    key: u64,
    layout: Arc<Layout>,
    has_copy: bool,
}

impl ActiveSegment {
    /// Makes an empty segment in a folder that is not there yet.
    pub(in crate::spool) fn create(spool: &Path, number: u64) -> Result<ActiveSegment, SpoolError> {
        let store = Store::create(&super::folder(spool, number))?;
        Ok(ActiveSegment { number, store, layouts: Vec::new() })
    }

    /// Opens a segment whose files are as the manifest vouches for them.
    pub(in crate::spool) fn open(spool: &Path, number: u64) -> Result<ActiveSegment, SpoolError> {
        let store = Store::open(&super::folder(spool, number))?;
        Ok(ActiveSegment { number, store, layouts: Vec::new() })
    }

    /// Whether the database still has a record that it was closed with. sled reads its log from the
    /// front, so the newest record is the first that it loses.
    pub(in crate::spool) fn has(&mut self, seq: u64) -> Result<bool, SpoolError> {
        Ok(self.store.contains(&key(b'r', seq))? || self.store.contains(&split_key(b'f', seq, 0))?)
    }

    pub(in crate::spool) fn number(&self) -> u64 {
        self.number
    }

    /// Adds records, with one sync for all of them, to a segment that holds `held` bytes of frames.
    /// Returns how many it holds now.
    pub(in crate::spool) fn append(
        &mut self,
        records: &[(u64, &Record)],
        held: u64,
    ) -> Result<u64, SpoolError> {
        let entries = self.entries(records, held)?;
        let held = held + bytes_of(&entries);
        self.store.append(entries)?;
        Ok(held)
    }

    fn entries(&mut self, records: &[(u64, &Record)], held: u64) -> Result<Entries, SpoolError> {
        let mut entries = Entries::new();
        let (mut block, mut frame) = (Vec::with_capacity(MAX_ENTRY), Vec::with_capacity(MAX_ENTRY));
        let mut last = 0;
        for (seq, record) in records {
            let layout = self.put_layout(&mut entries, &record.draft.layout)?;
            frame.clear();
            frame::put_record(&mut frame, *seq, record, layout)?;
            if !block.is_empty() && block.len() + frame.len() > MAX_ENTRY {
                let full = std::mem::replace(&mut block, Vec::with_capacity(MAX_ENTRY));
                entries.push((key(b'r', last), full));
            }
            if frame.len() > MAX_ENTRY {
                put_split(&mut entries, b'f', *seq, std::mem::take(&mut frame))?;
            } else {
                block.extend_from_slice(&frame);
                last = *seq;
            }
        }
        if !block.is_empty() {
            entries.push((key(b'r', last), block));
        }
        if held + bytes_of(&entries) >= LAYOUTS_TWICE_FROM {
            for known in self.layouts.iter_mut().filter(|known| !known.has_copy) {
                put_split(&mut entries, b'c', known.key, frame::of_layout(known.key, &known.layout)?)?;
                known.has_copy = true;
            }
        }
        Ok(entries)
    }

    /// The key of a layout, which is added unless the segment has it.
    fn put_layout(&mut self, entries: &mut Entries, layout: &Arc<Layout>) -> Result<u64, SpoolError> {
        // Comparing is cheaper than computing a key, and few layouts are written to one segment.
        if let Some(known) = self.layouts.iter().find(|known| known.layout == *layout) {
            return Ok(known.key);
        }
        let key = layout_key(layout)?;
        if !self.store.contains(&split_key(b'l', key, 0))? {
            put_split(entries, b'l', key, frame::of_layout(key, layout)?)?;
        }
        let has_copy = self.store.contains(&split_key(b'c', key, 0))?;
        self.layouts.push(KnownLayout { key, layout: layout.clone(), has_copy });
        Ok(key)
    }

    /// Leaves the database as it is, without another write.
    pub(in crate::spool) fn abandon(mut self) {
        self.store.abandon();
    }

    /// Closes the database and returns the checksum of its files.
    pub(in crate::spool) fn close(self) -> Result<Checksum, SpoolError> {
        self.store.close()
    }
}

fn bytes_of(entries: &Entries) -> u64 {
    entries.iter().map(|(_, value)| value.len() as u64).sum()
}

fn put_split(entries: &mut Entries, kind: u8, name: u64, frame: Vec<u8>) -> Result<(), Unencodable> {
    let fragments = split(frame)?;
    entries.extend((0..).zip(fragments).map(|(n, fragment)| (split_key(kind, name, n), fragment)));
    Ok(())
}

fn key(kind: u8, number: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(number.to_be_bytes());
    key
}

fn split_key(kind: u8, name: u64, number: u16) -> Vec<u8> {
    let mut key = key(kind, name);
    key.extend(number.to_be_bytes());
    key
}

//! Writing a segment anew: a plain file of frames, synced before the manifest names it.
//!
//! Why without sled: a sealed segment is never changed, so a file that is written once is all that
//! it takes. The file is less than half as large as a database, a crash leaves either no file, a
//! part of one that no manifest names, or the whole, and a full disk ends in an error of the
//! system.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::super::error::{Doing, SpoolError};
use super::super::files::{self, Checksum};
use super::super::frame::{self, layout_key};
use super::super::manifest::Entry;
use super::LAYOUTS_TWICE_FROM;
use crate::record::Record;

/// The one file of such a segment.
const FILE: &str = "frames";

/// Writes the frames of a segment as segment `number` and returns its entry for the manifest. The
/// segment is on stable storage when this returns.
pub(in crate::spool) fn write_frames(
    spool: &Path,
    number: u64,
    frames: &[u8],
    of: &Entry,
) -> Result<Entry, SpoolError> {
    let (mut file, path) = create(spool, number)?;
    file.write_all(frames).doing("write", &path)?;
    let checksum = finish(spool, file, &path)?;
    Ok(Entry {
        number,
        sealed: true,
        frame_bytes: frames.len() as u64,
        checksum: Some(checksum),
        ..of.clone()
    })
}

/// Writes these records as segment `number` and returns its entry for the manifest. The segment is
/// on stable storage when this returns.
pub(in crate::spool) fn write<'a>(
    spool: &Path,
    number: u64,
    records: impl Iterator<Item = (u64, &'a Record)>,
) -> Result<Entry, SpoolError> {
    let (mut file, path) = create(spool, number)?;
    let mut entry = Entry { number, sealed: true, ..Entry::default() };
    let mut layouts = HashMap::new();
    let mut bytes = Vec::new();
    for (seq, record) in records {
        bytes.clear();
        let key = layout_key(&record.draft.layout)?;
        if let Slot::Vacant(vacant) = layouts.entry(key) {
            bytes.extend(vacant.insert(frame::of_layout(key, &record.draft.layout)?).iter());
        }
        frame::put_record(&mut bytes, seq, record, key)?;
        file.write_all(&bytes).doing("write", &path)?;
        entry.frame_bytes += bytes.len() as u64;
        entry.add(seq, record.timestamp_ms);
    }
    if entry.frame_bytes >= LAYOUTS_TWICE_FROM {
        for frame in layouts.values() {
            file.write_all(frame).doing("write", &path)?;
            entry.frame_bytes += frame.len() as u64;
        }
    }
    entry.checksum = Some(finish(spool, file, &path)?);
    Ok(entry)
}

fn create(spool: &Path, number: u64) -> Result<(BufWriter<File>, PathBuf), SpoolError> {
    let folder = super::folder(spool, number);
    std::fs::create_dir(&folder).doing("make the folder", &folder)?;
    let path = folder.join(FILE);
    let file = File::create_new(&path).doing("make", &path)?;
    Ok((BufWriter::new(file), path))
}

/// Syncs the file and everything that leads to it.
fn finish(spool: &Path, file: BufWriter<File>, path: &Path) -> Result<Checksum, SpoolError> {
    let file = file.into_inner().map_err(|error| error.into_error()).doing("write", path)?;
    file.sync_all().doing("sync", path)?;
    let folder = path.parent().unwrap_or(spool);
    files::sync_folder(folder)?;
    files::sync_folder(spool)?;
    files::checksum(folder)
}

//! The two slots of the manifest on disk, written in turn.
//!
//! ```text
//! offset  size  content (little endian)
//!      0     6  magic: 89 'S' 'L' 'V' 'M' 0A
//!      6     1  version, 1
//!      7     1  0
//!      8    16  the spool's random id
//!     24     8  generation
//!     32     4  length of the body
//!     36     4  CRC-32 of the body
//!     40     4  CRC-32 of everything before
//!     44     n  body: the manifest, as bincode behind a version
//!   44+n     -  zeros up to a multiple of 4 KiB
//! ```
//!
//! # Invariants
//!
//! 1. A generation goes into the slot of its parity, so the one before stays whole while it is
//!    written.
//! 2. A slot is overwritten in place and synced: one write and one sync a commit, and on a full
//!    disk mostly no new block.
//! 3. A commit whose sync failed is written anew before anything is built on it: the next commit
//!    contains all that it contained.
//!
//! A slot that cannot be decoded was cut short by a power failure, which harms nobody, or is
//! damaged.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::spool::codec;
use crate::spool::error::{Doing, SpoolError};
use crate::spool::files;

const MAGIC: [u8; 6] = *b"\x89SLVM\n";
const VERSION: u8 = 1;
const BODY_VERSION: u8 = 1;
const HEAD: usize = 44;
const PAGE: usize = 4096;

/// No slot is longer, in bytes.
const MAX_SLOT: u64 = 64 * 1024 * 1024;

/// How often a slot that cannot be decoded is read again: a writer may be in the middle of it.
const READS: u32 = 4;

/// Tells the states of all spools apart: two equal stamps are of the same commit of the same spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStamp {
    spool: [u8; 16],
    generation: u64,
    body: u32,
}

#[cfg(test)]
impl SpoolStamp {
    /// A stamp that differs from others by its number.
    pub(crate) fn numbered(generation: u64) -> SpoolStamp {
        SpoolStamp { spool: [0; 16], generation, body: 0 }
    }
}

/// What a slot holds.
#[derive(Debug, PartialEq)]
pub(in crate::spool) enum Slot {
    /// Never written.
    Empty,
    Damaged,
    /// Written by a later version of salver.
    Newer(u8),
    Sound(Box<Manifest>),
}

/// What the two slots hold.
pub(in crate::spool) struct Slots {
    /// The newer one of those that are sound.
    pub manifest: Option<Box<Manifest>>,
    /// The number of slots that cannot be decoded.
    pub damaged: usize,
    /// The number of slots that were never written.
    pub empty: usize,
}

/// The names of the two files.
pub(in crate::spool) const FILES: [&str; 2] = ["manifest.0", "manifest.1"];

/// Reads both slots. An error of the system is no damage.
pub(in crate::spool) fn read(spool: &Path) -> Result<Slots, SpoolError> {
    let mut reads = 1;
    loop {
        let slots = [read_slot(spool, FILES[0])?, read_slot(spool, FILES[1])?];
        if let [Slot::Newer(version), _] | [_, Slot::Newer(version)] = slots {
            return Err(SpoolError::Newer { folder: spool.to_owned(), format: u32::from(version) + 1 });
        }
        let count = |kind: &Slot| slots.iter().filter(|slot| *slot == kind).count();
        let (damaged, empty) = (count(&Slot::Damaged), count(&Slot::Empty));
        if damaged > 0 && reads < READS {
            reads += 1;
            std::thread::sleep(std::time::Duration::from_millis(2));
            continue;
        }
        let sound = slots.into_iter().filter_map(|slot| match slot {
            Slot::Sound(manifest) => Some(manifest),
            _ => None,
        });
        let manifest = sound.max_by_key(|manifest| manifest.generation);
        return Ok(Slots { manifest, damaged, empty });
    }
}

fn read_slot(spool: &Path, name: &str) -> Result<Slot, SpoolError> {
    let path = spool.join(name);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Slot::Empty),
        opened => opened.doing("read", &path)?,
    };
    let mut bytes = Vec::new();
    (&mut file).take(MAX_SLOT).read_to_end(&mut bytes).doing("read", &path)?;
    Ok(decode(&bytes))
}

/// Decodes a slot. The bytes are hostile input.
pub(in crate::spool) fn decode(bytes: &[u8]) -> Slot {
    if bytes.is_empty() {
        return Slot::Empty;
    }
    let Some((stamp, version, length)) = decode_head(bytes) else { return Slot::Damaged };
    if version != VERSION {
        return Slot::Newer(version);
    }
    let Some(body) = bytes.get(HEAD..HEAD.saturating_add(length)) else { return Slot::Damaged };
    if crc32fast::hash(body) != stamp.body {
        return Slot::Damaged;
    }
    match decode_body(body) {
        Slot::Sound(manifest) if manifest.spool != stamp.spool || manifest.generation != stamp.generation => {
            Slot::Damaged
        }
        slot => slot,
    }
}

/// Decodes a body whose checksum is right. The bytes are hostile input all the same.
pub(in crate::spool) fn decode_body(body: &[u8]) -> Slot {
    match codec::decode::<Manifest>(BODY_VERSION, body) {
        Ok(manifest) if manifest.is_plausible() => Slot::Sound(Box::new(manifest)),
        Err(unreadable) if unreadable.found > BODY_VERSION => Slot::Newer(unreadable.found),
        _ => Slot::Damaged,
    }
}

fn decode_head(bytes: &[u8]) -> Option<(SpoolStamp, u8, usize)> {
    let head = bytes.get(..HEAD)?;
    let number = |at: usize| Some(u32::from_le_bytes(head[at..at + 4].try_into().ok()?));
    if !head.starts_with(&MAGIC) || number(40)? != crc32fast::hash(&head[..40]) {
        return None;
    }
    let stamp = SpoolStamp {
        spool: head[8..24].try_into().ok()?,
        generation: u64::from_le_bytes(head[24..32].try_into().ok()?),
        body: number(36)?,
    };
    Some((stamp, head[MAGIC.len()], number(32)? as usize))
}

/// Writes the manifest into the slot of its generation. It is on stable storage when this returns.
pub(in crate::spool) fn write(spool: &Path, manifest: &Manifest) -> Result<(), SpoolError> {
    let path = spool.join(FILES[(manifest.generation % 2) as usize]);
    let bytes = encode(manifest)?;
    let is_new = !path.try_exists().doing("look at", &path)?;
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let mut file = file.doing("open", &path)?;
    file.write_all(&bytes).doing("write", &path)?;
    // What a longer manifest left behind must not stay: a purge counts on that.
    file.set_len(bytes.len() as u64).doing("write", &path)?;
    file.sync_data().doing("sync", &path)?;
    if is_new { files::sync_folder(spool) } else { Ok(()) }
}

/// The bytes of a slot.
pub(in crate::spool) fn encode(manifest: &Manifest) -> Result<Vec<u8>, SpoolError> {
    let mut bytes = vec![0; HEAD];
    codec::encode_into(&mut bytes, BODY_VERSION, manifest).map_err(|_| crate::spool::error::Unencodable)?;
    let length = (bytes.len() - HEAD) as u32;
    bytes[..6].copy_from_slice(&MAGIC);
    bytes[6] = VERSION;
    bytes[8..24].copy_from_slice(&manifest.spool);
    bytes[24..32].copy_from_slice(&manifest.generation.to_le_bytes());
    bytes[32..36].copy_from_slice(&length.to_le_bytes());
    let body = crc32fast::hash(&bytes[HEAD..]);
    bytes[36..40].copy_from_slice(&body.to_le_bytes());
    let head = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&head.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    Ok(bytes)
}

/// The stamp of the newest commit, from two small reads; `None` if there is none.
pub(in crate::spool) fn stamp(spool: &Path) -> Result<Option<SpoolStamp>, SpoolError> {
    let mut newest: Option<SpoolStamp> = None;
    for name in FILES {
        let path = spool.join(name);
        let mut head = [0; HEAD];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut head)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {}
            read => {
                read.doing("read", &path)?;
                let found = decode_head(&head).map(|(stamp, ..)| stamp);
                newest = newest.into_iter().chain(found).max_by_key(|stamp| stamp.generation);
            }
        }
    }
    Ok(newest)
}

/// Bytes of both slots.
pub(in crate::spool) fn bytes(spool: &Path) -> u64 {
    FILES.iter().filter_map(|name| spool.join(name).metadata().ok()).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest { next_seq: 100, next_segment: 9, ..Manifest::new().unwrap() };
        for number in 1..5 {
            let mut entry = Entry { number, ..Entry::default() };
            (1..=10).for_each(|n| entry.add(number * 10 + n, 1_700_000_000_000));
            manifest.segments.push(entry);
        }
        manifest
    }

    #[test]
    fn the_newer_slot_counts_and_a_damaged_one_gives_way_to_the_other() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().manifest.is_none());
        let mut manifest = manifest();
        for generation in 1..=5 {
            manifest.generation = generation;
            write(folder.path(), &manifest).unwrap();
            let slots = read(folder.path()).unwrap();
            assert_eq!((slots.manifest.as_deref(), slots.damaged), (Some(&manifest), 0));
        }
        let newest = folder.path().join(FILES[1]);
        let whole = std::fs::read(&newest).unwrap();
        for cut in (1..whole.len()).step_by(97) {
            std::fs::write(&newest, &whole[..cut]).unwrap();
            let slots = read(folder.path()).unwrap();
            // The zeros behind the body are not needed.
            let older = slots.manifest.unwrap().generation == 4;
            assert_eq!(older, slots.damaged == 1, "cut at {cut}");
        }
    }

    #[test]
    fn a_slot_that_somebody_reads_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = manifest();
        for generation in 1..=2 {
            manifest.generation = generation;
            write(folder.path(), &manifest).unwrap();
        }
        let _readers = FILES.map(|name| File::open(folder.path().join(name)).unwrap());
        for generation in 3..=4 {
            manifest.generation = generation;
            write(folder.path(), &manifest).unwrap();
            assert_eq!(read(folder.path()).unwrap().manifest.as_deref(), Some(&manifest));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_slot_is_noticed() {
        let mut bytes = encode(&manifest()).unwrap();
        let length = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for bit in 0..length * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let sound = matches!(decode(&bytes), Slot::Sound(_));
            assert!(!sound, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(matches!(decode(&bytes), Slot::Sound(_)));
    }

    #[test]
    fn a_manifest_that_makes_no_sense_or_is_of_another_spool_counts_as_damaged() {
        let manifest = manifest();
        let absurd = Manifest { next_seq: u64::MAX, ..manifest.clone() };
        assert_eq!(decode(&encode(&absurd).unwrap()), Slot::Damaged);
        // The head of one slot with the body of another, which its checksum fits.
        for other in
            [Manifest { spool: [7; 16], ..manifest.clone() }, Manifest { generation: 7, ..manifest.clone() }]
        {
            let mut bytes = encode(&other).unwrap();
            bytes[8..32].copy_from_slice(&encode(&manifest).unwrap()[8..32]);
            assert_eq!(decode(&with_sound_head(bytes)), Slot::Damaged);
        }
    }

    fn with_sound_head(mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn one_slot_of_a_later_version_is_enough_to_refuse_the_spool() {
        for name in FILES {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &manifest()).unwrap();
            let mut bytes = encode(&manifest()).unwrap();
            bytes[6] = 2;
            std::fs::write(folder.path().join(name), with_sound_head(bytes)).unwrap();
            let refused = read(folder.path());
            assert!(matches!(refused, Err(SpoolError::Newer { format: 3, .. })), "{name}");
        }
    }

    #[test]
    fn a_manifest_of_some_megabytes_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let segments = (1..=100_000).map(|number| Entry { number, ..Entry::default() }).collect();
        let manifest = Manifest { next_segment: 100_001, segments, ..manifest() };
        write(folder.path(), &manifest).unwrap();
        assert!(bytes(folder.path()) > 1024 * 1024);
        assert_eq!(read(folder.path()).unwrap().manifest.as_deref(), Some(&manifest));
    }

    #[test]
    fn the_stamp_differs_after_each_commit() {
        let folder = tempfile::tempdir().unwrap();
        let mut stamps = vec![stamp(folder.path()).unwrap()];
        let mut manifest = manifest();
        for generation in 1..5 {
            manifest.generation = generation;
            write(folder.path(), &manifest).unwrap();
            let now = stamp(folder.path()).unwrap();
            assert!(!stamps.contains(&now));
            stamps.push(now);
        }
    }
}

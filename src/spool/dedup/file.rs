//! The file `dedup`: digests in chunks that can be appended, behind a header with the key.
//!
//! ```text
//! offset  size  content (little endian)
//!      0     6  magic: 89 'S' 'L' 'V' 'D' 0A
//!      6     1  version, 1
//!      7    64  key
//!     71     8  running number of the first digest
//!     79     4  CRC-32 of everything from offset 6
//!
//! then a chunk for each step in which records left:
//!      0     4  magic: 89 'D' 'G' 0A
//!      4     4  how many digests, n
//!      8     8  when they left, in milliseconds since 1970
//!     16     8  running number of the first of them
//!     24   8*n  digests
//! 24+8*n     4  CRC-32 of everything from offset 4
//! ```
//!
//! Why a plain file: sled takes 2.3 bytes for each byte and writes it again and again; here a step
//! costs one append and one sync. A chunk that a crash cut off is found by the next step, which
//! replaces the file.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::spool::error::{Doing, SpoolError};
use crate::spool::files;

/// The file's name.
pub(in crate::spool) const NAME: &str = "dedup";

/// Bytes of a digest.
pub(super) const DIGEST: usize = 8;

/// As long as a block of SHA-256, so that HMAC uses the key unchanged.
pub(super) type Key = [u8; 64];

const MAGIC: [u8; 6] = *b"\x89SLVD\n";
const VERSION: u8 = 1;
const KEY_AT: usize = 7;
const FIRST_AT: usize = 71;
const HEADER: usize = 83;

const CHUNK_MAGIC: [u8; 4] = *b"\x89DG\n";
const CHUNK_HEAD: usize = 24;
const CHECKSUM: usize = 4;

/// The file's content.
pub(super) struct Content {
    pub key: Key,
    /// Running number of the first digest.
    pub first: u64,
    pub chunks: Vec<Chunk>,
    /// Length of the file.
    pub bytes: u64,
    /// Whether there is a file with this key.
    pub is_on_disk: bool,
    /// Whether some bytes are no chunk.
    pub is_torn: bool,
}

/// The digests of one step.
pub(super) struct Chunk {
    pub at_ms: i64,
    /// Running number of the first digest.
    pub first: u64,
    pub digests: Vec<u64>,
}

impl Content {
    /// Reads the whole chunks; none and a new key if not even the key is whole.
    pub(super) fn read(spool: &Path) -> Result<Content, SpoolError> {
        let path = spool.join(NAME);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.doing("read", &path)?,
        };
        let mut content = Content {
            key: [0; size_of::<Key>()],
            first: 0,
            chunks: Vec::new(),
            bytes: bytes.len() as u64,
            is_on_disk: false,
            is_torn: false,
        };
        match header(&bytes) {
            None => getrandom::fill(&mut content.key)
                .map_err(std::io::Error::from)
                .doing("ask the operating system for a random key for", &path)?,
            Some((version, ..)) if version > VERSION => {
                return Err(SpoolError::Newer { folder: spool.to_owned(), format: version.into() });
            }
            Some((_, key, first)) => {
                (content.key, content.first, content.is_on_disk) = (key, first, true);
                content.read_chunks(&bytes[HEADER..]);
            }
        }
        Ok(content)
    }

    fn read_chunks(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Some((chunk, length)) = Chunk::decode(bytes) {
                self.chunks.push(chunk);
                bytes = &bytes[length..];
            } else {
                self.is_torn = true;
                bytes = &bytes[1..];
            }
        }
    }

    /// The running number after the last digest.
    pub(super) fn next(&self) -> u64 {
        self.chunks.last().map_or(self.first, Chunk::next)
    }

    /// Whether digests are missing between the first one and the one that should be next.
    pub(super) fn lacks_any_before(&self, next: u64) -> bool {
        let present: u64 = self.chunks.iter().map(|chunk| chunk.digests.len() as u64).sum();
        self.first.saturating_add(present) < self.next().max(next)
    }

    /// Replaces the file, durably. Until then the old one is whole.
    pub(super) fn replace(&self, spool: &Path) -> Result<(), SpoolError> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(self.key);
        bytes.extend(self.first.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[MAGIC.len()..]);
        bytes.extend(checksum.to_le_bytes());
        self.chunks.iter().for_each(|chunk| chunk.put(&mut bytes));
        files::replace(spool, NAME, &bytes)
    }
}

/// Version, key and first running number; `None` if the header is not whole.
fn header(bytes: &[u8]) -> Option<(u8, Key, u64)> {
    let (body, checksum) = bytes.get(..HEADER)?.split_at(HEADER - CHECKSUM);
    if !body.starts_with(&MAGIC) || crc32fast::hash(&body[MAGIC.len()..]).to_le_bytes() != checksum {
        return None;
    }
    let key = body[KEY_AT..FIRST_AT].try_into().ok()?;
    Some((body[MAGIC.len()], key, u64::from_le_bytes(body[FIRST_AT..].try_into().ok()?)))
}

impl Chunk {
    /// The running number after the last digest.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.digests.len() as u64)
    }

    /// Appends to the file, durably.
    pub(super) fn append(&self, spool: &Path) -> Result<(), SpoolError> {
        let path = spool.join(NAME);
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        let file = File::options().append(true).open(&path);
        file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data())).doing("write", &path)
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        let magic_at = bytes.len();
        bytes.extend(CHUNK_MAGIC);
        bytes.extend((self.digests.len() as u32).to_le_bytes());
        bytes.extend(self.at_ms.to_le_bytes());
        bytes.extend(self.first.to_le_bytes());
        self.digests.iter().for_each(|digest| bytes.extend(digest.to_le_bytes()));
        let checksum = crc32fast::hash(&bytes[magic_at + CHUNK_MAGIC.len()..]);
        bytes.extend(checksum.to_le_bytes());
    }

    /// The chunk at the start of these bytes, and its length.
    fn decode(bytes: &[u8]) -> Option<(Chunk, usize)> {
        let head = bytes.get(..CHUNK_HEAD).filter(|head| head.starts_with(&CHUNK_MAGIC))?;
        let count = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        let end = CHUNK_HEAD.checked_add(count.checked_mul(DIGEST)?)?;
        let checksum = bytes.get(end..end.checked_add(CHECKSUM)?)?;
        if crc32fast::hash(&bytes[CHUNK_MAGIC.len()..end]).to_le_bytes() != checksum {
            return None;
        }
        let (digests, _) = bytes[CHUNK_HEAD..end].as_chunks::<DIGEST>();
        let chunk = Chunk {
            at_ms: i64::from_le_bytes(head[8..16].try_into().ok()?),
            first: u64::from_le_bytes(head[16..24].try_into().ok()?),
            digests: digests.iter().map(|digest| u64::from_le_bytes(*digest)).collect(),
        };
        Some((chunk, end + CHECKSUM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, count: u64) -> Chunk {
        Chunk { at_ms: 100 + first as i64, first, digests: (first..first + count).collect() }
    }

    /// Writes a file with a chunk, and appends another.
    fn write(spool: &Path) -> Content {
        let mut content = Content::read(spool).unwrap();
        content.first = 5;
        content.chunks.push(chunk(5, 3));
        content.replace(spool).unwrap();
        chunk(8, 2).append(spool).unwrap();
        content
    }

    #[test]
    fn what_was_written_comes_back_and_gaps_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(folder.path());
        assert!(!written.is_on_disk && written.key != [0; 64], "a new key");
        let read = Content::read(folder.path()).unwrap();
        assert_eq!((read.key, read.first, read.is_on_disk, read.is_torn), (written.key, 5, true, false));
        let chunks: Vec<_> =
            read.chunks.iter().map(|chunk| (chunk.at_ms, chunk.first, &chunk.digests[..])).collect();
        assert_eq!(chunks, [(105, 5, &[5, 6, 7][..]), (108, 8, &[8, 9])]);
        assert_eq!(read.bytes, std::fs::metadata(folder.path().join(NAME)).unwrap().len());
        assert_eq!([0, 10, 11].map(|next| read.lacks_any_before(next)), [false, false, true]);
        chunk(12, 1).append(folder.path()).unwrap();
        let read = Content::read(folder.path()).unwrap();
        assert_eq!((read.next(), read.lacks_any_before(0)), (13, true));
    }

    #[test]
    fn damage_costs_the_chunk_that_it_is_in_and_a_damaged_head_all() {
        let folder = tempfile::tempdir().unwrap();
        let key = write(folder.path()).key;
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Content::read(folder.path()).unwrap()
        };
        let second = HEADER + CHUNK_HEAD + 3 * DIGEST + CHECKSUM;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let found = read(&damaged);
            let left: Vec<u64> = found.chunks.iter().map(|chunk| chunk.first).collect();
            match at {
                0..HEADER => assert!(!found.is_on_disk && found.key != key && left.is_empty(), "byte {at}"),
                _ => assert_eq!(
                    (left, found.is_torn),
                    (vec![if at < second { 8 } else { 5 }], true),
                    "byte {at}"
                ),
            }
            let found = read(&whole[..at]);
            assert_eq!(found.chunks.len(), usize::from(at >= second), "cut at {at}");
        }
    }

    #[test]
    fn a_later_version_is_refused_and_what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let path = folder.path().join(NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[6] = 2;
        let checksum = crc32fast::hash(&bytes[6..79]);
        bytes[79..83].copy_from_slice(&checksum.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Content::read(folder.path()), Err(SpoolError::Newer { format: 2, .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(Content::read(folder.path()), Err(SpoolError::Io { .. })));
    }
}

//! The witness: what the spool knew of its parts when they were last closed.
//!
//! Why: sled does not notice that a file lost records, and opening such a file makes the loss worse. So the files of a part are
//! compared with the checksum in the witness before sled may touch them. The same checksum: healthy. Another one: the
//! writer died before it could write the witness, or the part is damaged; the frames decide. No witness, or a torn one,
//! means "verify everything", never "damaged".
//!
//! It also keeps a copy of what must not be forgotten if `state/` is lost: which records are done, and who is paused.
//!
//! The file is one line with a checksum and JSON behind it, so that an admin can read it. It is replaced atomically.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{Doing, SpoolError};
use super::ranges::Ranges;
use super::store::{self, Checksum};

/// The file's name.
pub(super) const FILE: &str = "witness";

/// The spool's parts as last closed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Witness {
    /// The number the next segment gets.
    pub next_segment: u64,
    /// The sequence number the next record gets.
    pub next_seq: u64,
    /// The files of `state/`, and how often it was committed.
    pub state: Checksum,
    pub state_commits: u64,
    /// The segments, in the order of their records. Only the last one is written to.
    pub segments: Vec<Entry>,
    /// The instances that were paused by hand.
    pub paused: BTreeSet<String>,
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub number: u64,
    /// The sequence numbers of its records.
    pub present: Ranges,
    /// Those of them that have left the queue.
    pub done: Ranges,
    /// Bytes of its frames.
    pub frame_bytes: u64,
    /// The times of its records, in milliseconds since 1970.
    pub oldest_ms: i64,
    pub newest_ms: i64,
    /// Its files, as last closed; `None` while it is open.
    pub checksum: Option<Checksum>,
}

impl Entry {
    /// How many of its records are still in the queue, dead ones included.
    pub(super) fn live(&self) -> u64 {
        self.present.len() - self.done.len()
    }

    /// Whether a record of it is still in the queue.
    pub(super) fn is_live(&self, seq: u64) -> bool {
        self.present.contains(seq) && !self.done.contains(seq)
    }

    /// Takes note of a record that is in it.
    pub(super) fn note(&mut self, seq: u64, timestamp_ms: i64) {
        let first = self.present.is_empty();
        self.oldest_ms = if first { timestamp_ms } else { self.oldest_ms.min(timestamp_ms) };
        self.newest_ms = if first { timestamp_ms } else { self.newest_ms.max(timestamp_ms) };
        self.present.insert(seq);
    }
}

/// Reads the witness; `None` if there is none or it is torn.
pub(super) fn read(spool: &Path) -> Option<Witness> {
    let text = std::fs::read_to_string(spool.join(FILE)).ok()?;
    let (head, body) = text.split_once('\n')?;
    let checksum = u32::from_str_radix(head.strip_prefix("salver witness 1 crc32 ")?, 16).ok()?;
    (crc32fast::hash(body.as_bytes()) == checksum).then(|| serde_json::from_str(body).ok())?
}

/// Replaces the witness: after this returns the new one is on stable storage, before it the old one is whole.
pub(super) fn write(spool: &Path, witness: &Witness) -> Result<(), SpoolError> {
    let body = serde_json::to_string(witness).unwrap_or_default();
    let path = spool.join(FILE);
    let fresh = spool.join("witness.new");
    let write = |path: &Path| {
        let mut file = std::fs::File::create(path)?;
        writeln!(file, "salver witness 1 crc32 {:08x}", crc32fast::hash(body.as_bytes()))?;
        file.write_all(body.as_bytes())?;
        file.sync_all()
    };
    write(&fresh).doing("write", &fresh)?;
    std::fs::rename(&fresh, &path).doing("replace", &path)?;
    store::sync_folder(spool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_witness_is_no_witness() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let mut witness = Witness { next_seq: 7, ..Witness::default() };
        let done = [1, 2, 5].into_iter().collect();
        witness.segments.push(Entry { number: 3, done, ..Entry::default() });
        write(folder.path(), &witness).unwrap();
        assert_eq!(read(folder.path()), Some(witness));
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(folder.path()), None, "cut at {cut}");
        }
    }
}

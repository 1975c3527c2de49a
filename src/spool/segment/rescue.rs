//! What is kept in memory while sled opens a segment.
//!
//! Why: where a read fails while sled recovers its log, sled takes the place for the end of the log
//! and overwrites what follows, without a word (measured: one failed `pread` costs all records
//! since sled's last snapshot). So the frames are read before, sled is asked for the newest record
//! after, and if it does not have that, the frames become a segment of their own.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::super::error::{Doing, SpoolError};
use super::super::files;
use super::super::frame::Content;
use super::super::frame::scan::Scan;
use super::super::manifest::Entry;
use super::super::ranges::Ranges;

/// The frames of a segment, as they are in its files.
pub(in crate::spool) struct Rescue {
    bytes: Vec<u8>,
}

impl Rescue {
    /// Reads the frames of the records of a segment, with their layouts.
    pub(in crate::spool) fn read(spool: &Path, entry: &Entry) -> Result<Rescue, SpoolError> {
        let mut bytes = Vec::new();
        let (mut records, mut others) = (Ranges::default(), BTreeSet::new());
        for path in files::files(&super::folder(spool, entry.number))? {
            let mut scan = Scan::new(File::open(&path).doing("read", &path)?);
            loop {
                let wanted = |seq| entry.present.contains(seq) && !records.contains(seq);
                let Some(frame) = scan.next_frame(wanted).doing("read", &path)? else { break };
                let is_news = match frame.content() {
                    Some(Content::Record(seq)) => {
                        records.insert(seq);
                        true
                    }
                    // sled's log has a leaf again for each change of it.
                    Some(_) => others.insert(crc32fast::hash(frame.bytes)),
                    None => false,
                };
                if is_news {
                    bytes.extend_from_slice(frame.bytes);
                }
            }
        }
        Ok(Rescue { bytes })
    }

    pub(in crate::spool) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

//! What has left for good, as keyed digests, so that it is not taken in again.
//!
//! Why: an export file may be imported twice, or after its records were delivered or erased here by another way. The spool
//! must know them again without keeping what was to be forgotten. So of each record that was delivered or erased eight
//! bytes stay: the start of an HMAC-SHA256 of its uuid, with a random key that only this spool has. They tell nothing to
//! anybody who does not have the uuid already.
//!
//! What expired or was evicted is not noted: it never reached anybody and nobody asked for it to go, so an import may bring it
//! back. Nor is a dead letter, as long as it waits for somebody to decide.
//!
//! # Invariants
//!
//! 1. A digest is on stable storage before `state/` says that its record has left. A crash in between leaves a digest of a
//!    record that still waits; it is noted once more when it leaves in earnest, and only an import asks for it meanwhile, which
//!    is right to leave out what is in the queue.
//! 2. The file stays within a bound: when it grows beyond it, or its oldest entries are older than the retention, it is
//!    replaced by one with the newest.
//! 3. Damage is said when the file is next needed: `state/` keeps the running number of the last digest, so even a file
//!    that is missing or was cut short does not pass for a whole one.

mod file;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::error::SpoolError;
use super::queue::Spool;
use file::{Chunk, Content, Key};

/// So many digests are kept at most: half a megabyte. Exports older than that many deliveries are known no more.
const MOST: u64 = 65_536;

/// A folder with a narrow limit on bytes keeps fewer: they may take this part of it.
const PART: u64 = 32;

/// A file that is too old is left alone for so long, so that it is not replaced with each step.
const GRACE_MS: i64 = 24 * 3600 * 1000;

impl Spool {
    /// Whether a record was delivered or erased here: if so, an import leaves it out. Known of the newest 65,536 that left,
    /// and no longer than records are kept waiting (the retention); fewer where the limit on bytes is narrow.
    pub fn is_in_dedup(&mut self, uuid: &Uuid) -> Result<bool, SpoolError> {
        self.left.contains(uuid)
    }

    /// Takes note that records with these uuids are about to leave for good. Durable when it returns.
    pub(super) fn note_left(&mut self, uuids: &[&str]) -> Result<(), SpoolError> {
        if uuids.is_empty() {
            return Ok(());
        }
        let believed = self.state.see_clock(self.now_ms)?.is_believed();
        let keep = Keep {
            most: MOST.min(self.limits.max_bytes / PART / file::DIGEST as u64),
            since_ms: if believed { self.limits.expired_before(self.now_ms) } else { i64::MIN },
        };
        let content = Content::read(&self.folder)?;
        let damaged = content.lacks_any_before(self.state.meta.left);
        if damaged {
            self.add_problem(format!(
                "`{}`, by which the spool knows again what was delivered or erased, was missing or damaged: an import of \
                 records that left before now may take them in again",
                file::NAME
            ));
            // Before the file is replaced by one that is whole.
            self.state.commit()?;
        }
        let first = content.next().max(self.state.meta.left);
        let chunk = Chunk { at_ms: self.now_ms, first, digests: digests(&content.key, uuids) };
        self.state.meta.left = chunk.next();
        self.left.add(content, chunk, damaged, keep)
    }
}

/// What may stay.
#[derive(Clone, Copy, Debug)]
struct Keep {
    /// So many digests.
    most: u64,
    /// Those from this time on, in milliseconds since 1970.
    since_ms: i64,
}

/// The digests of an open spool.
pub(super) struct Left {
    spool: PathBuf,
    /// Length of the file.
    bytes: u64,
    /// What is in it, once somebody asked.
    known: Option<(Hmac<Sha256>, HashSet<u64>)>,
}

impl Left {
    /// Those of a spool; nothing is read yet.
    pub(super) fn of(spool: &Path) -> Left {
        Left { spool: spool.to_owned(), bytes: bytes(spool), known: None }
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a chunk to what was read; durable when it returns.
    fn add(
        &mut self,
        mut content: Content,
        chunk: Chunk,
        damaged: bool,
        keep: Keep,
    ) -> Result<(), SpoolError> {
        self.known = None;
        self.bytes = if damaged || content.is_torn || !content.is_on_disk || is_due(&content, keep) {
            content.chunks.push(chunk);
            shrink(&mut content, keep);
            content.replace(&self.spool)?
        } else {
            content.bytes + chunk.append(&self.spool)?
        };
        Ok(())
    }

    fn contains(&mut self, uuid: &Uuid) -> Result<bool, SpoolError> {
        let (mac, digests) = match &mut self.known {
            Some(known) => known,
            unknown => {
                let content = Content::read(&self.spool)?;
                let mac = mac(&content.key);
                unknown.insert((mac, content.chunks.into_iter().flat_map(|chunk| chunk.digests).collect()))
            }
        };
        Ok(digests.contains(&digest(mac, uuid)))
    }
}

/// Length of a spool's file; none where it is not there.
pub(super) fn bytes(spool: &Path) -> u64 {
    spool.join(file::NAME).metadata().map_or(0, |metadata| metadata.len())
}

fn mac(key: &Key) -> Hmac<Sha256> {
    Hmac::new(&(*key).into())
}

fn digests(key: &Key, uuids: &[&str]) -> Vec<u64> {
    let mac = mac(key);
    uuids.iter().filter_map(|uuid| Some(digest(&mac, &Uuid::try_parse(uuid).ok()?))).collect()
}

/// Of the sixteen bytes, so that it does not matter how a uuid is written.
fn digest(mac: &Hmac<Sha256>, uuid: &Uuid) -> u64 {
    let mut mac = mac.clone();
    mac.update(uuid.as_bytes());
    let mut first = [0; file::DIGEST];
    first.copy_from_slice(&mac.finalize().into_bytes()[..file::DIGEST]);
    u64::from_le_bytes(first)
}

/// Whether the file is too large, by a quarter, or too old.
fn is_due(content: &Content, keep: Keep) -> bool {
    let most = keep.most * file::DIGEST as u64;
    let is_old = |chunk: &Chunk| chunk.at_ms < keep.since_ms.saturating_sub(GRACE_MS);
    content.bytes > most + most / 4 || content.chunks.first().is_some_and(is_old)
}

/// Leaves what may stay: the newest, those of a day in one chunk, numbered without gaps up to the last.
fn shrink(content: &mut Content, keep: Keep) {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let most = usize::try_from(keep.most).unwrap_or(usize::MAX);
    let next = content.next();
    let young = content.chunks.drain(..).filter(|chunk| chunk.at_ms >= keep.since_ms);
    let each = young.flat_map(|chunk| chunk.digests.into_iter().map(move |digest| (chunk.at_ms, digest)));
    let mut kept: Vec<(i64, u64)> = each.collect();
    kept.drain(..kept.len().saturating_sub(most));
    content.first = next - kept.len() as u64;
    for of_a_day in kept.chunk_by(|(a_ms, _), (b_ms, _)| a_ms.div_euclid(DAY_MS) == b_ms.div_euclid(DAY_MS)) {
        let at_ms = of_a_day.iter().map(|(at_ms, _)| *at_ms).max().unwrap_or_default();
        let digests = of_a_day.iter().map(|(_, digest)| *digest).collect();
        content.chunks.push(Chunk { at_ms, first: content.next(), digests });
    }
}

//! The dedup index: what was delivered or erased, as keyed digests, so that it is not taken in
//! again.
//!
//! Why: an export file may be imported twice, or after its records were delivered or erased here by
//! another way. The spool must recognise them without keeping what was to be forgotten. So of each
//! record that was delivered or erased eight bytes stay: the start of an HMAC-SHA256 of its uuid,
//! with a random key that only this spool has. They tell nothing to anybody who does not have the
//! uuid.
//!
//! What expired or was evicted is not noted: it never reached anybody and nobody asked for it to
//! go, so an import may bring it back. Nor is a dead letter, as long as it waits for somebody to
//! decide.
//!
//! # Invariants
//!
//! 1. A digest is on stable storage before the manifest says that its record has left. A crash in
//!    between leaves a digest of a record that still waits; it is noted once more when that leaves.
//! 2. The file stays within a bound: when it grows beyond it, or its oldest entries are older than
//!    the retention, it is replaced by one with the newest.
//! 3. Damage is said when the file is next needed: the manifest keeps the running number of the
//!    next digest, so a file that is missing or was cut short does not pass for a whole one.
//! 4. Digests that the manifest does not vouch for (their sync may have failed) are written anew.

mod file;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::error::SpoolError;
use file::{Chunk, Content, Key};

/// The most digests that are kept: half a megabyte. Older deliveries are not recognised.
const MAX_DIGESTS: u64 = 65_536;

/// A folder with a narrow limit on bytes keeps fewer: they may take this fraction of it.
const FRACTION: u64 = 32;

/// A file may be too old by this time, so that it is not replaced with each step.
const GRACE_MS: i64 = 24 * 3600 * 1000;

/// What may stay in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// The number of digests.
    max: u64,
    /// Those from this time on, in milliseconds since 1970.
    since_ms: i64,
}

impl Keep {
    pub(super) fn within(max_bytes: u64, since_ms: i64) -> Keep {
        Keep { max: MAX_DIGESTS.min(max_bytes / FRACTION / file::DIGEST as u64), since_ms }
    }
}

/// The index of a spool. Nothing is read before it is needed.
pub(super) struct DedupIndex {
    spool: PathBuf,
    /// The digests, once they were asked for.
    known: Option<(Hmac<Sha256>, HashSet<u64>)>,
}

impl DedupIndex {
    pub(super) fn of(spool: &Path) -> DedupIndex {
        DedupIndex { spool: spool.to_owned(), known: None }
    }

    /// Whether digests are missing that the file had when `next_digest` was committed.
    pub(super) fn is_damaged(&self, next_digest: u64) -> Result<bool, SpoolError> {
        Ok(Content::read(&self.spool)?.lacks_any_before(next_digest))
    }

    /// Adds the digests of these uuids, durably, and returns the running number of the next one.
    /// `next_digest` is the number that the manifest has.
    pub(super) fn add(
        &mut self,
        uuids: &[&str],
        at_ms: i64,
        next_digest: u64,
        keep: Keep,
    ) -> Result<u64, SpoolError> {
        self.known = None;
        let mut content = Content::read(&self.spool)?;
        let is_vouched_for = content.next() == next_digest && !content.lacks_any_before(next_digest);
        let first = content.next().max(next_digest);
        let chunk = Chunk { at_ms, first, digests: digests(&content.key, uuids) };
        let next = chunk.next();
        if is_vouched_for && content.is_on_disk && !content.is_torn && !is_due(&content, keep) {
            chunk.append(&self.spool)?;
        } else {
            content.chunks.push(chunk);
            shrink(&mut content, keep);
            content.replace(&self.spool)?;
        }
        Ok(next)
    }

    pub(super) fn contains(&mut self, uuid: &Uuid) -> Result<bool, SpoolError> {
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

/// Length of a spool's file; 0 where there is none.
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

/// Of the sixteen bytes, so that the spelling of a uuid does not matter.
fn digest(mac: &Hmac<Sha256>, uuid: &Uuid) -> u64 {
    let mut mac = mac.clone();
    mac.update(uuid.as_bytes());
    let mut first = [0; file::DIGEST];
    first.copy_from_slice(&mac.finalize().into_bytes()[..file::DIGEST]);
    u64::from_le_bytes(first)
}

/// Whether the file is too large, by a quarter, or too old.
fn is_due(content: &Content, keep: Keep) -> bool {
    let max = keep.max * file::DIGEST as u64;
    let is_old = |chunk: &Chunk| chunk.at_ms < keep.since_ms.saturating_sub(GRACE_MS);
    content.bytes > max + max / 4 || content.chunks.first().is_some_and(is_old)
}

/// Leaves what may stay: the newest digests, those of a day in one chunk, numbered without gaps.
fn shrink(content: &mut Content, keep: Keep) {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let max = usize::try_from(keep.max).unwrap_or(usize::MAX);
    let next = content.next();
    let young = content.chunks.drain(..).filter(|chunk| chunk.at_ms >= keep.since_ms);
    let each = young.flat_map(|chunk| chunk.digests.into_iter().map(move |digest| (chunk.at_ms, digest)));
    let mut kept: Vec<(i64, u64)> = each.collect();
    kept.drain(..kept.len().saturating_sub(max));
    content.first = next - kept.len() as u64;
    for of_a_day in kept.chunk_by(|(a_ms, _), (b_ms, _)| a_ms.div_euclid(DAY_MS) == b_ms.div_euclid(DAY_MS)) {
        let at_ms = of_a_day.iter().map(|(at_ms, _)| *at_ms).max().unwrap_or_default();
        let digests = of_a_day.iter().map(|(_, digest)| *digest).collect();
        content.chunks.push(Chunk { at_ms, first: content.next(), digests });
    }
}

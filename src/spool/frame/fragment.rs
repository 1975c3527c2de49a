//! Fragments: a long frame in pieces that sled keeps in its log.
//!
//! Why: sled writes a value, and a leaf of up to 17 of them, to its log only while it is smaller
//! than a quarter of a piece of the log. A larger one becomes a file of its own in `blobs/`, which
//! neither sled nor a sync of the log makes durable. So no entry is longer than [`MAX_ENTRY`].
//!
//! ```text
//! offset  size  content of a fragment's body (little endian)
//!      0     8  name: the first eight bytes of the SHA-256 of the whole frame
//!      8     2  number of this fragment, from 0
//!     10     2  number of fragments
//!     12     n  the bytes
//! ```

use std::collections::BTreeMap;

use super::{CHECKSUM, FRAGMENT, HEAD, MAX_BODY, first_eight, put};
use crate::spool::error::Unencodable;
use crate::spool::store::LEAF_BYTES;

/// No entry of sled is longer, in bytes.
pub(in crate::spool) const MAX_ENTRY: usize = LEAF_BYTES / 18;

/// Bytes of a body in front of the payload.
const FRAGMENT_HEAD: usize = 12;
const PAYLOAD: usize = MAX_ENTRY - HEAD - CHECKSUM - FRAGMENT_HEAD;

/// No frame has more fragments.
const MAX_COUNT: usize = (HEAD + MAX_BODY + CHECKSUM).div_ceil(PAYLOAD);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spool) struct Fragment<'a> {
    name: u64,
    number: u16,
    count: u16,
    payload: &'a [u8],
}

/// A frame as entries for sled: itself, or its fragments.
pub(in crate::spool) fn split(frame: Vec<u8>) -> Result<Vec<Vec<u8>>, Unencodable> {
    if frame.len() <= MAX_ENTRY {
        return Ok(vec![frame]);
    }
    let name = first_eight(&frame);
    let count = u16::try_from(frame.len().div_ceil(PAYLOAD)).map_err(|_| Unencodable)?;
    let fragment = |(number, payload): (u16, &[u8])| {
        let mut bytes = Vec::with_capacity(MAX_ENTRY);
        put(&mut bytes, FRAGMENT, |body| {
            body.extend(name.to_le_bytes());
            body.extend(number.to_le_bytes());
            body.extend(count.to_le_bytes());
            body.extend(payload);
            Ok(())
        })?;
        Ok(bytes)
    };
    (0..).zip(frame.chunks(PAYLOAD)).map(fragment).collect()
}

pub(super) fn decode(body: &[u8]) -> Option<Fragment<'_>> {
    let (head, payload) = body.split_at_checked(FRAGMENT_HEAD)?;
    let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let fragment = Fragment {
        name: u64::from_le_bytes(head[..8].try_into().ok()?),
        number: short(8),
        count: short(10),
        payload,
    };
    let in_range = fragment.number < fragment.count && fragment.count as usize <= MAX_COUNT;
    (in_range && payload.len() <= PAYLOAD).then_some(fragment)
}

/// Puts fragments together, in whatever order they come. What stays incomplete costs no more than
/// the bytes that were read.
#[derive(Default)]
pub(in crate::spool) struct Assembly {
    started: BTreeMap<(u64, u16), BTreeMap<u16, Vec<u8>>>,
}

impl Assembly {
    /// Adds a fragment; the whole frame, once it is complete.
    pub(in crate::spool) fn add(&mut self, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let key = (fragment.name, fragment.count);
        let pieces = self.started.entry(key).or_default();
        pieces.entry(fragment.number).or_insert_with(|| fragment.payload.to_vec());
        if pieces.len() < fragment.count as usize {
            return None;
        }
        let frame: Vec<u8> = self.started.remove(&key)?.into_values().flatten().collect();
        (first_eight(&frame) == fragment.name).then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, Frame};
    use super::*;

    fn fragments(bytes: &[Vec<u8>]) -> Vec<Fragment<'_>> {
        let fragment = |entry| match Frame::at_start(entry).unwrap().content() {
            Some(Content::Fragment(fragment)) => fragment,
            other => panic!("{other:?}"),
        };
        bytes.iter().map(|entry| fragment(entry)).collect()
    }

    #[test]
    fn a_long_frame_comes_back_from_its_fragments_in_any_order() {
        let frame: Vec<u8> = (0..40_000u32).map(|n| (n * 7) as u8).collect();
        let entries = split(frame.clone()).unwrap();
        let (last, full) = entries.split_last().unwrap();
        assert!(last.len() <= MAX_ENTRY && full.iter().all(|entry| entry.len() == MAX_ENTRY));
        let mut assembly = Assembly::default();
        let mut whole: Vec<_> =
            fragments(&entries).iter().rev().filter_map(|fragment| assembly.add(fragment)).collect();
        assert_eq!(whole.pop(), Some(frame));
        assert_eq!(whole.len(), 0);
    }

    #[test]
    fn without_one_of_its_fragments_there_is_no_frame() {
        let entries = split(vec![1; 9000]).unwrap();
        let mut assembly = Assembly::default();
        assert!(fragments(&entries)[1..].iter().all(|fragment| assembly.add(fragment).is_none()));
    }

    #[test]
    fn a_short_frame_stays_as_it_is() {
        assert_eq!(split(vec![1; MAX_ENTRY]).unwrap(), [vec![1; MAX_ENTRY]]);
    }

    #[test]
    fn a_hostile_number_makes_no_fragment() {
        assert_eq!(split(vec![7; HEAD + MAX_BODY + CHECKSUM]).unwrap().len(), MAX_COUNT);
        let most = MAX_COUNT as u16;
        for (number, count, length, is_one) in [
            (0, most, PAYLOAD, true),
            (most - 1, most, 0, true),
            (most, most, 0, false),
            (0, most + 1, 0, false),
            (0, 0, 0, false),
            (0, 1, PAYLOAD + 1, false),
        ] {
            let body = [&[0; 8], &number.to_le_bytes()[..], &count.to_le_bytes(), &vec![0; length]].concat();
            assert_eq!(decode(&body).is_some(), is_one, "{number} of {count}, {length} bytes");
        }
    }
}

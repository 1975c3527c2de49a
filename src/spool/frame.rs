//! Frames: records and layouts in a form that can be read without sled.
//!
//! Why: sled forgets everything behind a damaged place and says nothing, yet nearly all values can
//! be read from the raw bytes of its file. So each value is wrapped in a frame that a scan
//! recognises and can trust:
//!
//! ```text
//! offset  size  content (little endian)
//!      0     6  magic: 89 'S' 'L' 'V' 'R' 0A
//!      6     1  version of the frame, 2
//!      7     1  kind: 1 record, 2 layout, 3 fragment
//!      8     4  length of the body
//!     12     n  body
//!   12+n     4  CRC-32 of everything from offset 6 to the end of the body
//! ```
//!
//! The body of a record is described in frame/record.rs. That of a layout is its key (8 bytes) and
//! the layout. A frame that is too long for sled's log (frame/fragment.rs) is stored in fragments.
//!
//! Frames are hostile input: a length is bounded before anything is allocated for it, and a number
//! outside its range makes the frame unreadable.

use sha2::{Digest, Sha256};

use super::codec;
use super::error::Unencodable;
use crate::record::{Layout, Record};

pub(super) mod fragment;
mod record;
pub(super) mod scan;

pub(super) use record::{MAX_SEQ, RecordFrame};

pub(super) const MAGIC: [u8; 6] = *b"\x89SLVR\n";
const VERSION: u8 = 2;
const LAYOUT_VERSION: u8 = 1;

const RECORD: u8 = 1;
const LAYOUT: u8 = 2;
const FRAGMENT: u8 = 3;

const KIND_AT: usize = 7;

/// Bytes in front of the body.
const HEAD: usize = 12;

/// Bytes of the checksum behind the body.
const CHECKSUM: usize = 4;

/// No body is longer: a record has some hundred bytes, the longest layout some ten thousand.
const MAX_BODY: usize = 1024 * 1024;

/// A frame whose checksum is right. Its body is decoded when it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    kind: u8,
    body: &'a [u8],
    /// The whole frame.
    pub bytes: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A record under its sequence number; [`RecordFrame::decode`] reads the rest.
    Record(u64),
    /// A layout under its key.
    Layout(u64, Layout),
    Fragment(fragment::Fragment<'a>),
}

/// The key of a layout: the first eight bytes of its digest.
pub(super) fn layout_key(layout: &Layout) -> Result<u64, Unencodable> {
    let mut bytes = Vec::new();
    codec::encode_into(&mut bytes, LAYOUT_VERSION, layout).map_err(|_| Unencodable)?;
    Ok(first_eight(&bytes))
}

/// The first eight bytes of a SHA-256.
fn first_eight(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let mut key = [0; 8];
    key.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(key)
}

/// Appends the frame of a record to `bytes`. `layout` is the key of its layout.
pub(super) fn put_record(
    bytes: &mut Vec<u8>,
    seq: u64,
    record: &Record,
    layout: u64,
) -> Result<(), Unencodable> {
    put(bytes, RECORD, |body| record::put(body, seq, record, layout))
}

/// The frame of a layout.
pub(super) fn of_layout(key: u64, layout: &Layout) -> Result<Vec<u8>, Unencodable> {
    let mut bytes = Vec::new();
    put(&mut bytes, LAYOUT, |body| {
        body.extend(key.to_le_bytes());
        codec::encode_into(body, LAYOUT_VERSION, layout).map_err(|_| Unencodable)
    })?;
    Ok(bytes)
}

/// A frame of any kind with any body, for fuzzing.
pub(super) fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A body that is too long gives no frame.
    _ = put(&mut bytes, kind, |frame| {
        frame.extend(body);
        Ok(())
    });
    bytes
}

/// Appends a frame of this kind with the body that `fill` writes. On an error `bytes` is as before.
fn put(
    bytes: &mut Vec<u8>,
    kind: u8,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Unencodable>,
) -> Result<(), Unencodable> {
    let start = bytes.len();
    bytes.extend(MAGIC);
    bytes.extend([VERSION, kind]);
    bytes.extend([0; 4]);
    let body_at = bytes.len();
    let filled = fill(bytes).is_ok() && bytes.len() - body_at <= MAX_BODY;
    if !filled {
        bytes.truncate(start);
        return Err(Unencodable);
    }
    let length = (bytes.len() - body_at) as u32;
    bytes[body_at - 4..body_at].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[start + MAGIC.len()..]);
    bytes.extend(checksum.to_le_bytes());
    Ok(())
}

/// The result of looking for a frame at a magic.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    Frame(Frame<'a>),
    /// A frame may begin here, and more bytes are needed to tell.
    NeedsBytes,
    NoFrame,
}

impl<'a> Frame<'a> {
    /// Looks for a sound frame at the start of `bytes`.
    fn find(bytes: &'a [u8]) -> Found<'a> {
        let Some(head) = bytes.get(..HEAD) else { return Found::NeedsBytes };
        let (magic, rest) = head.split_at(MAGIC.len());
        let length = u32::from_le_bytes([rest[2], rest[3], rest[4], rest[5]]) as usize;
        if magic != MAGIC || rest[0] != VERSION || length > MAX_BODY {
            return Found::NoFrame;
        }
        let end = HEAD + length;
        let Some(stored) = bytes.get(end..end + CHECKSUM) else { return Found::NeedsBytes };
        if crc32fast::hash(&bytes[MAGIC.len()..end]).to_le_bytes() != stored {
            return Found::NoFrame;
        }
        Found::Frame(Frame::of_sound(&bytes[..end + CHECKSUM]))
    }

    /// The frame that takes up all of `bytes`, whose checksum was found right.
    fn of_sound(bytes: &'a [u8]) -> Frame<'a> {
        Frame { kind: bytes[KIND_AT], body: &bytes[HEAD..bytes.len() - CHECKSUM], bytes }
    }

    /// The sequence number of a record whose frame begins here, as far as its unchecked bytes tell.
    fn claimed_seq(bytes: &[u8]) -> Option<u64> {
        let seq = bytes.get(HEAD..HEAD + 8).filter(|_| bytes[KIND_AT] == RECORD)?;
        Some(u64::from_le_bytes(seq.try_into().ok()?))
    }

    /// The frame that `bytes` begins with.
    pub(super) fn at_start(bytes: &'a [u8]) -> Option<Frame<'a>> {
        match Self::find(bytes) {
            Found::Frame(frame) => Some(frame),
            Found::NeedsBytes | Found::NoFrame => None,
        }
    }

    /// What it holds; `None` if its kind is unknown or its body is not of that kind.
    pub(super) fn content(&self) -> Option<Content<'a>> {
        match self.kind {
            RECORD => record::seq_of(self.body).map(Content::Record),
            LAYOUT => {
                let (key, layout) = self.body.split_at_checked(8)?;
                let key = u64::from_le_bytes(key.try_into().ok()?);
                Some(Content::Layout(key, codec::decode(LAYOUT_VERSION, layout).ok()?))
            }
            FRAGMENT => fragment::decode(self.body).map(Content::Fragment),
            _ => None,
        }
    }

    /// The record that it holds, if it holds one.
    pub(super) fn record(&self) -> Option<RecordFrame> {
        if self.kind == RECORD { RecordFrame::decode(self.body) } else { None }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::record::host::System;
    use crate::record::{Draft, Reason, Slot, Value};

    /// A record that differs from others by `n` and `instance` only.
    pub fn record(instance: &str, n: u64) -> Record {
        Record {
            uuid: format!("0190f3c8-0000-7000-8000-{n:012}"),
            timestamp_ms: 1_700_000_000_000 + n as i64,
            instance: instance.into(),
            reason: Reason::Changed,
            agent_version: "0.1.0".into(),
            draft: draft(n),
        }
    }

    pub fn draft(n: u64) -> Draft {
        Draft {
            layout: Arc::new(Layout {
                service: "butler".into(),
                docker_flag: true,
                slots: vec![Slot {
                    property: Some("feature_x".into()),
                    nested: Some("feature.x".into()),
                    missing: Some(Value::Text("null".into())),
                }],
            }),
            values: vec![Value::Int(n as i64)],
            id: format!("{:064x}", 0xabc),
            service_version: "15.1.0".into(),
            system: System {
                arch: "x64".into(),
                platform: "linux".into(),
                release: "12".into(),
                distro: "Debian GNU/Linux".into(),
                codename: "bookworm".into(),
                is_virtual: true,
                docker: false,
            },
            node_version: "v20.20.2".into(),
        }
    }

    fn framed(seq: u64, record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_record(&mut bytes, seq, record, layout_key(&record.draft.layout).unwrap()).unwrap();
        bytes
    }

    #[test]
    fn a_frame_survives_its_bytes_and_any_flipped_bit_is_noticed() {
        let record = record("a", 1);
        let bytes = framed(7, &record);
        let frame = Frame::at_start(&bytes).unwrap();
        assert_eq!(frame.content(), Some(Content::Record(7)));
        let read = frame.record().unwrap();
        assert_eq!((read.seq, read.record(record.draft.layout.clone())), (7, record));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::at_start(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_written_shorter() {
        let mut bytes = b"before".to_vec();
        let mut long = record("a", 1);
        long.instance = "n".repeat(70_000);
        let mut short = record("a", 1);
        short.uuid.pop();
        let mut early = record("a", 1);
        early.timestamp_ms = -1;
        for record in [long, short, early] {
            assert_eq!(put_record(&mut bytes, 1, &record, 1), Err(Unencodable));
        }
        assert_eq!(put_record(&mut bytes, u64::MAX, &record("a", 1), 1), Err(Unencodable));
        assert_eq!(bytes, b"before");
    }

    #[test]
    fn no_frame_is_longer_than_its_bound() {
        for (length, fits) in [(MAX_BODY, true), (MAX_BODY + 1, false)] {
            let mut bytes = b"before".to_vec();
            let filled = put(&mut bytes, LAYOUT, |body| {
                body.resize(body.len() + length, 0);
                Ok(())
            });
            assert_eq!((filled.is_ok(), Frame::at_start(&bytes[6..]).is_some()), (fits, fits), "{length}");
            let head = [&MAGIC[..], &[VERSION, LAYOUT], &(length as u32).to_le_bytes()].concat();
            assert_eq!(Frame::find(&head) == Found::NeedsBytes, fits, "{length}");
        }
    }

    #[test]
    fn a_layout_comes_back_under_a_key_of_its_own() {
        let layout = draft(1).layout;
        let key = layout_key(&layout).unwrap();
        let bytes = of_layout(key, &layout).unwrap();
        let content = Frame::at_start(&bytes).unwrap().content();
        assert_eq!(content, Some(Content::Layout(key, Layout::clone(&layout))));
        assert_ne!(key, layout_key(&Layout::default()).unwrap());
    }

    #[test]
    fn a_sound_frame_with_a_hostile_number_is_unreadable() {
        let with = |seq: u64, timestamp_ms: i64| {
            let mut bytes = Vec::new();
            put(&mut bytes, RECORD, |body| {
                body.extend(seq.to_le_bytes());
                body.extend(timestamp_ms.to_le_bytes());
                body.extend([b'a'; 200]);
                Ok(())
            })
            .unwrap();
            Frame::at_start(&bytes).unwrap().content().is_none()
        };
        for (seq, timestamp_ms) in [(0, 1), (u64::MAX, 1), (1 << 60, 1), (1, -1), (1, i64::MAX)] {
            assert!(with(seq, timestamp_ms), "{seq} {timestamp_ms}");
        }
        assert!(!with(1, 1));
    }
}

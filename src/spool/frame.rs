//! Frames: records, layouts and headers in a form that can be found again without sled.
//!
//! Why: sled forgets everything behind a damaged place and says nothing, yet nearly all values can be read from the raw
//! bytes of its file. So each value is wrapped in a frame that a scan recognises and can trust:
//!
//! ```text
//! offset  size  content (little endian)
//!      0     6  magic: 89 'S' 'L' 'V' 'R' 0A
//!      6     1  version of the frame, 1
//!      7     1  kind: 1 record, 2 layout, 3 header
//!      8     4  length of the body
//!     12     n  body
//!   12+n     4  CRC-32 of everything from offset 6 to the end of the body
//! ```
//!
//! The body of a record stands in frame/record.rs. That of a layout is its key (8 bytes) and the layout; that of a header tells the
//! segment's number and which segment it replaces, if any.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::codec;
use crate::record::{Layout, Record};

mod record;

pub(super) use record::RecordFrame;

const MAGIC: [u8; 6] = *b"\x89SLVR\n";
const FRAME_VERSION: u8 = 1;
const LAYOUT_VERSION: u8 = 1;
const HEADER_VERSION: u8 = 1;
const RECORD: u8 = 1;
const LAYOUT: u8 = 2;
const HEADER: u8 = 3;
const BODY_AT: usize = 12;

/// No frame is longer: a record has some hundred bytes, the longest layout some thousand.
const MAX_BODY: usize = 1024 * 1024;

/// A frame's content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all frames are records")]
pub(super) enum Frame {
    /// One record; its layout is named by key.
    Record(RecordFrame),
    /// A layout under its key.
    Layout(u64, Layout),
    /// What a segment says of itself.
    Header(Header),
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The segment's number.
    pub number: u64,
    /// The segment that this one was rewritten from: whichever of the two is found, the other is not needed.
    pub replaces: Option<u64>,
}

/// The key of a layout: the first eight bytes of its digest.
pub(super) fn layout_key(layout: &Layout) -> u64 {
    let digest = Sha256::digest(codec::encode(LAYOUT_VERSION, layout));
    let mut key = [0; 8];
    key.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(key)
}

/// Adds the frame of a record to `bytes`. `layout` is the key of its layout.
pub(super) fn put_record(bytes: &mut Vec<u8>, seq: u64, record: &Record, layout: u64) {
    put(bytes, RECORD, |body| record::put(body, seq, record, layout));
}

/// The frame of a layout.
pub(super) fn of_layout(key: u64, layout: &Layout) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, LAYOUT, |body| {
        body.extend(key.to_le_bytes());
        codec::encode_into(body, LAYOUT_VERSION, layout);
    });
    bytes
}

/// The frame of a header.
pub(super) fn of_header(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, HEADER, |body| codec::encode_into(body, HEADER_VERSION, header));
    bytes
}

/// Adds a frame of this kind with the body that `fill` writes.
fn put(bytes: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let frame_at = bytes.len();
    bytes.extend(MAGIC);
    bytes.extend([FRAME_VERSION, kind]);
    bytes.extend([0; 4]);
    let body_at = bytes.len();
    fill(bytes);
    let length = (bytes.len() - body_at) as u32;
    bytes[body_at - 4..body_at].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[frame_at + MAGIC.len()..]);
    bytes.extend(checksum.to_le_bytes());
}

impl Frame {
    /// The frame at the start of `bytes`, if a whole and sound one is there.
    pub(super) fn decode(bytes: &[u8]) -> Option<Frame> {
        Self::decode_first(bytes).map(|(frame, _)| frame)
    }

    /// The frame at the start of `bytes` and its length.
    fn decode_first(bytes: &[u8]) -> Option<(Frame, usize)> {
        let head = bytes.get(..BODY_AT)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let length = u32::from_le_bytes(rest[2..6].try_into().ok()?) as usize;
        if magic != MAGIC || rest[0] != FRAME_VERSION || length > MAX_BODY {
            return None;
        }
        let end = BODY_AT + length;
        let checksum = u32::from_le_bytes(bytes.get(end..end + 4)?.try_into().ok()?);
        if crc32fast::hash(&bytes[MAGIC.len()..end]) != checksum {
            return None;
        }
        Some((Self::of_body(rest[1], &bytes[BODY_AT..end])?, end + 4))
    }

    fn of_body(kind: u8, body: &[u8]) -> Option<Frame> {
        match kind {
            RECORD => record::decode(body).map(Frame::Record),
            LAYOUT => {
                let (key, layout) = body.split_at_checked(8)?;
                let key = u64::from_le_bytes(key.try_into().ok()?);
                Some(Frame::Layout(key, codec::decode(LAYOUT_VERSION, layout).ok()?))
            }
            HEADER => Some(Frame::Header(codec::decode(HEADER_VERSION, body).ok()?)),
            _ => None,
        }
    }
}

/// All sound frames in raw bytes, whatever lies between them.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = Frame> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = bytes[at..].iter().position(|byte| *byte == MAGIC[0]) {
            at += found;
            if let Some((frame, length)) = Frame::decode_first(&bytes[at..]) {
                at += length;
                return Some(frame);
            }
            at += 1;
        }
        None
    })
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

    /// The frame of a record, and how it reads.
    fn framed(seq: u64, record: &Record) -> (Vec<u8>, Frame) {
        let mut bytes = Vec::new();
        put_record(&mut bytes, seq, record, layout_key(&record.draft.layout));
        let frame = Frame::decode(&bytes).unwrap();
        (bytes, frame)
    }

    #[test]
    fn a_frame_survives_its_bytes_and_any_flipped_bit_is_noticed() {
        let record = record("a", 1);
        let (bytes, frame) = framed(7, &record);
        let Frame::Record(read) = frame else { panic!("{frame:?}") };
        assert_eq!((read.seq, read.record(record.draft.layout.clone())), (7, record));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_scan_finds_every_whole_frame_in_rubbish() {
        let framed: Vec<_> = (0..5).map(|n| framed(n, &record("a", n))).collect();
        let mut bytes = b"rubbish \x89SLVR and \x89SLVR\n\x01".to_vec();
        for (frame, _) in &framed {
            bytes.extend(frame);
            bytes.extend(b"\x89SL");
        }
        bytes.extend(&framed[0].0[..50]);
        let frames: Vec<Frame> = framed.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(scan(&bytes).collect::<Vec<_>>(), frames);
    }
}

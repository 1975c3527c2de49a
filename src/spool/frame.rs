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
//!
//! body of a record
//!      0     8  sequence number
//!      8    36  uuid, as text
//!     44    64  distinct id, as hex text
//!    108     2  length of the instance's name
//!    110     m  the instance's name, UTF-8
//!  110+m        the values: a version byte and bincode (see `Values`)
//! ```
//!
//! The uuid and the id stand in plain text, so that an auditor can look for them with grep. The body of a layout is its key
//! (8 bytes) and the layout; that of a header tells the segment's number and which segment it replaces, if any.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::host::System;
use crate::record::{Draft, Layout, Reason, Record, Value};

use super::codec;

const MAGIC: [u8; 6] = *b"\x89SLVR\n";
const FRAME_VERSION: u8 = 1;
const VALUES_VERSION: u8 = 1;
const LAYOUT_VERSION: u8 = 1;
const HEADER_VERSION: u8 = 1;
const BODY_AT: usize = 12;
const UUID: usize = 36;
const ID: usize = 64;

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

/// A record whose layout stands elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordFrame {
    pub seq: u64,
    pub uuid: String,
    pub id: String,
    pub instance: String,
    pub values: Values,
}

/// The values of a record, in the order in which they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Values {
    pub timestamp_ms: i64,
    pub reason: Reason,
    pub agent_version: String,
    pub service_version: String,
    pub system: System,
    pub node_version: String,
    pub layout: u64,
    pub values: Vec<Value>,
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

impl RecordFrame {
    /// The frame of a record.
    pub(super) fn of(seq: u64, record: &Record) -> RecordFrame {
        let draft = &record.draft;
        RecordFrame {
            seq,
            uuid: record.uuid.clone(),
            id: draft.id.clone(),
            instance: record.instance.clone(),
            values: Values {
                timestamp_ms: record.timestamp_ms,
                reason: record.reason,
                agent_version: record.agent_version.clone(),
                service_version: draft.service_version.clone(),
                system: draft.system.clone(),
                node_version: draft.node_version.clone(),
                layout: layout_key(&draft.layout),
                values: draft.values.clone(),
            },
        }
    }

    /// The record, given its layout.
    pub(super) fn record(self, layout: Layout) -> Record {
        let values = self.values;
        Record {
            uuid: self.uuid,
            timestamp_ms: values.timestamp_ms,
            instance: self.instance,
            reason: values.reason,
            agent_version: values.agent_version,
            draft: Draft {
                layout,
                values: values.values,
                id: self.id,
                service_version: values.service_version,
                system: values.system,
                node_version: values.node_version,
            },
        }
    }
}

impl Frame {
    /// The frame's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Frame::Record(record) => (1, record_body(record)),
            Frame::Layout(key, layout) => {
                let mut body = key.to_le_bytes().to_vec();
                body.extend(codec::encode(LAYOUT_VERSION, layout));
                (2, body)
            }
            Frame::Header(header) => (3, codec::encode(HEADER_VERSION, header)),
        };
        let mut bytes = Vec::with_capacity(BODY_AT + body.len() + 4);
        bytes.extend(MAGIC);
        bytes.extend([FRAME_VERSION, kind]);
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        let checksum = crc32fast::hash(&bytes[MAGIC.len()..]);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// The frame at the start of `bytes`, if a whole and sound one is there.
    pub(super) fn decode(bytes: &[u8]) -> Option<Frame> {
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
        let body = &bytes[BODY_AT..end];
        match rest[1] {
            1 => decode_record(body).map(Frame::Record),
            2 => {
                let (key, layout) = body.split_at_checked(8)?;
                let key = u64::from_le_bytes(key.try_into().ok()?);
                Some(Frame::Layout(key, codec::decode(LAYOUT_VERSION, layout).ok()?))
            }
            3 => Some(Frame::Header(codec::decode(HEADER_VERSION, body).ok()?)),
            _ => None,
        }
    }
}

fn record_body(record: &RecordFrame) -> Vec<u8> {
    let mut body = record.seq.to_le_bytes().to_vec();
    body.extend(fixed::<UUID>(&record.uuid));
    body.extend(fixed::<ID>(&record.id));
    let name = record.instance.as_bytes();
    body.extend((name.len().min(u16::MAX as usize) as u16).to_le_bytes());
    body.extend(&name[..name.len().min(u16::MAX as usize)]);
    body.extend(codec::encode(VALUES_VERSION, &record.values));
    body
}

/// Text of a fixed width; ours always has it, a shorter one would be filled with spaces.
fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [b' '; N];
    let length = text.len().min(N);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

fn decode_record(body: &[u8]) -> Option<RecordFrame> {
    let text = |range: std::ops::Range<usize>| String::from_utf8(body.get(range)?.to_vec()).ok();
    let seq = u64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    let uuid = text(8..8 + UUID)?;
    let id = text(8 + UUID..8 + UUID + ID)?;
    let name_at = 8 + UUID + ID;
    let length = u16::from_le_bytes(body.get(name_at..name_at + 2)?.try_into().ok()?) as usize;
    let instance = text(name_at + 2..name_at + 2 + length)?;
    let values = codec::decode(VALUES_VERSION, body.get(name_at + 2 + length..)?).ok()?;
    Some(RecordFrame { seq, uuid, id, instance, values })
}

/// All sound frames in raw bytes, whatever lies between them.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = Frame> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = bytes[at..].windows(MAGIC.len()).position(|window| window == MAGIC) {
            at += found;
            let frame = Frame::decode(&bytes[at..]);
            at += MAGIC.len();
            if frame.is_some() {
                return frame;
            }
        }
        None
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Place;

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
            layout: Layout {
                service: "butler".into(),
                docker_flag: true,
                places: vec![Place {
                    property: Some("feature_x".into()),
                    nested: Some("feature.x".into()),
                    missing: Some(Value::Text("null".into())),
                }],
            },
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

    #[test]
    fn a_frame_survives_its_bytes_and_any_flipped_bit_is_noticed() {
        let frame = Frame::Record(RecordFrame::of(7, &record("a", 1)));
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes), Some(frame));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_scan_finds_every_whole_frame_in_rubbish() {
        let frames: Vec<Frame> = (0..5).map(|n| Frame::Record(RecordFrame::of(n, &record("a", n)))).collect();
        let mut bytes = b"rubbish \x89SLVR and \x89SLVR\n\x01".to_vec();
        for frame in &frames {
            bytes.extend(frame.encode());
            bytes.extend(b"\x89SL");
        }
        bytes.extend(&frames[0].encode()[..50]);
        assert_eq!(scan(&bytes).collect::<Vec<_>>(), frames);
    }
}

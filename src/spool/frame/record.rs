//! The body of a record's frame.
//!
//! ```text
//! offset  size  content (little endian)
//!      0     8  sequence number, 1 to 2^53 - 1
//!      8     8  time, in milliseconds since 1970, up to the year 9999
//!     16     8  key of the layout
//!     24    36  uuid, as text
//!     60    64  distinct id, as hex text
//!    124     2  length of the instance's name
//!    126     m  the instance's name, UTF-8
//!  126+m        the values: a version byte and bincode (see `Values`)
//! ```
//!
//! The uuid and the id are plain text, so that an auditor can look for them with grep.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::record::host::System;
use crate::record::{Draft, Layout, Reason, Record, Value};
use crate::spool::codec;
use crate::spool::error::Unencodable;

/// The largest sequence number: every JSON reader keeps it exactly.
pub(in crate::spool) const MAX_SEQ: u64 = (1 << 53) - 1;

const VALUES_VERSION: u8 = 1;
const UUID: usize = 36;
const ID: usize = 64;
const UUID_AT: usize = 24;
const ID_AT: usize = UUID_AT + UUID;
const NAME_AT: usize = ID_AT + ID + 2;

/// A record whose layout is stored elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spool) struct RecordFrame {
    pub seq: u64,
    pub timestamp_ms: i64,
    /// The key of its layout.
    pub layout: u64,
    pub uuid: String,
    pub id: String,
    pub instance: String,
    values: Values,
}

/// The values of a record, in the order in which they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Values {
    reason: Reason,
    agent_version: String,
    service_version: String,
    system: System,
    node_version: String,
    values: Vec<Value>,
}

/// The values of a record in place: the same bytes as [`Values`], without a copy of each.
#[derive(Serialize)]
struct BorrowedValues<'a> {
    reason: Reason,
    agent_version: &'a str,
    service_version: &'a str,
    system: &'a System,
    node_version: &'a str,
    values: &'a [Value],
}

/// Appends the body to `body`. `layout` is the key of its layout.
pub(super) fn put(body: &mut Vec<u8>, seq: u64, record: &Record, layout: u64) -> Result<(), Unencodable> {
    let draft = &record.draft;
    let name_length = u16::try_from(record.instance.len()).map_err(|_| Unencodable)?;
    let in_range = is_in_range(seq, record.timestamp_ms);
    if !in_range || record.uuid.len() != UUID || draft.id.len() != ID {
        return Err(Unencodable);
    }
    body.extend(seq.to_le_bytes());
    body.extend(record.timestamp_ms.to_le_bytes());
    body.extend(layout.to_le_bytes());
    body.extend(record.uuid.as_bytes());
    body.extend(draft.id.as_bytes());
    body.extend(name_length.to_le_bytes());
    body.extend(record.instance.as_bytes());
    let values = BorrowedValues {
        reason: record.reason,
        agent_version: &record.agent_version,
        service_version: &draft.service_version,
        system: &draft.system,
        node_version: &draft.node_version,
        values: &draft.values,
    };
    codec::encode_into(body, VALUES_VERSION, &values).map_err(|_| Unencodable)
}

/// The sequence number of a body, if that and the time are in their ranges.
pub(super) fn seq_of(body: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
    let (seq, timestamp_ms) = (number(0)?, number(8)?.cast_signed());
    is_in_range(seq, timestamp_ms).then_some(seq)
}

fn is_in_range(seq: u64, timestamp_ms: i64) -> bool {
    (1..=MAX_SEQ).contains(&seq) && clock::RANGE.contains(&timestamp_ms)
}

impl RecordFrame {
    /// Reads a body; `None` if the bytes are none.
    pub(super) fn decode(body: &[u8]) -> Option<RecordFrame> {
        let seq = seq_of(body)?;
        let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let text = |from: usize, length: usize| {
            std::str::from_utf8(body.get(from..from + length)?).ok().map(str::to_owned)
        };
        let name_length = u16::from_le_bytes(body.get(NAME_AT - 2..NAME_AT)?.try_into().ok()?) as usize;
        Some(RecordFrame {
            seq,
            timestamp_ms: number(8)?.cast_signed(),
            layout: number(16)?,
            uuid: text(UUID_AT, UUID)?,
            id: text(ID_AT, ID)?,
            instance: text(NAME_AT, name_length)?,
            values: codec::decode(VALUES_VERSION, body.get(NAME_AT + name_length..)?).ok()?,
        })
    }

    /// The record, given its layout.
    pub(in crate::spool) fn record(self, layout: Arc<Layout>) -> Record {
        let values = self.values;
        Record {
            uuid: self.uuid,
            timestamp_ms: self.timestamp_ms,
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

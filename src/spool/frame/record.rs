//! The body of a record's frame.
//!
//! ```text
//! offset  size  content (little endian)
//!      0     8  sequence number
//!      8    36  uuid, as text
//!     44    64  distinct id, as hex text
//!    108     2  length of the instance's name
//!    110     m  the instance's name, UTF-8
//!  110+m        the values: a version byte and bincode (see `Values`)
//! ```
//!
//! The uuid and the id stand in plain text, so that an auditor can look for them with grep.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record::host::System;
use crate::record::{Draft, Layout, Reason, Record, Value};
use crate::spool::codec;

const VALUES_VERSION: u8 = 1;
const UUID: usize = 36;
const ID: usize = 64;

/// A record whose layout stands elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spool) struct RecordFrame {
    pub seq: u64,
    pub uuid: String,
    pub id: String,
    pub instance: String,
    pub values: Values,
}

/// The values of a record, in the order in which they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::spool) struct Values {
    pub timestamp_ms: i64,
    pub reason: Reason,
    pub agent_version: String,
    pub service_version: String,
    pub system: System,
    pub node_version: String,
    pub layout: u64,
    pub values: Vec<Value>,
}

impl RecordFrame {
    /// The record, given its layout.
    pub(in crate::spool) fn record(self, layout: Arc<Layout>) -> Record {
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

/// The values of a record where it is: the same bytes as [`Values`], without a copy of each.
#[derive(Serialize)]
struct BorrowedValues<'a> {
    timestamp_ms: i64,
    reason: Reason,
    agent_version: &'a str,
    service_version: &'a str,
    system: &'a System,
    node_version: &'a str,
    layout: u64,
    values: &'a [Value],
}

/// Adds the body to `body`. `layout` is the key of its layout.
pub(super) fn put(body: &mut Vec<u8>, seq: u64, record: &Record, layout: u64) {
    let draft = &record.draft;
    let name = record.instance.as_bytes();
    let name = &name[..name.len().min(u16::MAX as usize)];
    let values = BorrowedValues {
        timestamp_ms: record.timestamp_ms,
        reason: record.reason,
        agent_version: &record.agent_version,
        service_version: &draft.service_version,
        system: &draft.system,
        node_version: &draft.node_version,
        layout,
        values: &draft.values,
    };
    body.extend(seq.to_le_bytes());
    body.extend(fixed::<UUID>(&record.uuid));
    body.extend(fixed::<ID>(&draft.id));
    body.extend((name.len() as u16).to_le_bytes());
    body.extend(name);
    codec::encode_into(body, VALUES_VERSION, &values);
}

/// Text of a fixed width; ours always has it, a shorter one would be filled with spaces.
fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [b' '; N];
    let length = text.len().min(N);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

/// Reads a body; `None` if it is none.
pub(super) fn decode(body: &[u8]) -> Option<RecordFrame> {
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

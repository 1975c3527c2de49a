//! The record stage: from a config file to the record that the tool itself would have sent.
//!
//! Why a stage of its own: a record must appear in the same charts and under the same instance as
//! the tool's own message, and an auditor must be able to see that nothing else can leave the
//! server. So data ([`catalogue`]) says what is reported, and the code here only follows it:
//!
//! ```text
//! files -> inputs -> document -> version, consent -> derive (catalogue) -> Draft
//!       -> stamped by the spool -> Record -> message
//! ```
//!
//! Invariants:
//! - Config values reach a [`Draft`] as booleans, counts and version values only; every other type
//!   counts as missing.
//! - A [`Record`] is complete: uuid, timestamp, distinct id and event are fixed when it is written
//!   and never change.
//! - Nothing here knows the spool, the network or the terminal.

pub mod catalogue;
pub mod consent;
pub mod derive;
pub mod document;
pub mod host;
pub mod identity;
pub mod inputs;
pub mod message;
pub mod network;
pub mod observe;
pub mod outcome;
pub mod subject;
pub mod version;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use host::System;
pub use outcome::BatchOutcome;

/// One value of a record, read by a rule of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// The config file has no such key, or another type there: [`Slot::missing`] is reported.
    Missing,
    /// Present and empty: a block that the tool reports unchanged.
    Null,
    /// A switch.
    Bool(bool),
    /// A count or a version number.
    Int(i64),
    /// A version of three numbers, or a fixed word of the catalogue such as `null` or `unknown`.
    Text(String),
    /// An empty map, filled by the slots below it.
    Object,
}

/// The position of a value in the message. All records of one generation share it, so a spool
/// stores it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its name among the flat event properties, such as `feature_heartbeat`.
    pub property: Option<String>,
    /// Its dotted path below `enabledFeatures`, such as `feature.heartbeat`.
    pub nested: Option<String>,
    /// The value that the tool reports for a missing key; `None` leaves the slot out.
    pub missing: Option<Value>,
}

/// The keys of a record: everything that all records of one generation have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// `butler`, `butler-sos`, or a service of a catalogue from disk.
    pub service: String,
    /// Whether the system block of this generation has `isRunningInDocker`.
    pub docker_flag: bool,
    /// In the order in which the tool writes them.
    pub slots: Vec<Slot>,
}

/// A record without uuid and timestamp: the values that would be reported now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The keys. They are many times larger than the values, so drafts share them.
    pub layout: Arc<Layout>,
    /// The values, one for each slot of the layout.
    pub values: Vec<Value>,
    /// The anonymous id: 64 lower-case hex digits.
    pub id: String,
    /// The release of the service, a semantic version.
    pub service_version: String,
    pub system: System,
    /// `process.version` of the service's Node.js, or `unknown`.
    pub node_version: String,
}

impl Draft {
    /// A digest of everything that is reported: drafts with equal digests have equal messages apart
    /// from `ts`. The spool compares it to decide whether anything changed.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(message::line(&message::data(self))).into()
    }
}

/// Why a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The first record of its instance, or the first since its last one was lost.
    Started,
    /// The values differ from the last record.
    Changed,
    /// The settings ask for a record at intervals (`record.interval`), and one was due.
    Interval,
    /// A human asked for a record although nothing changed.
    Manual,
}

impl Reason {
    /// The word in `dump` and in the event property `salver_reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Started => "started",
            Reason::Changed => "changed",
            Reason::Interval => "interval",
            Reason::Manual => "manual",
        }
    }
}

/// A record of the spool: a draft, and everything that makes it one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's identity; version 7, lower-case, with hyphens.
    pub uuid: String,
    /// In milliseconds since 1970; no two records of one id share a time.
    pub timestamp_ms: i64,
    pub instance: String,
    pub reason: Reason,
    /// The version of salver that wrote the record.
    pub agent_version: String,
    pub draft: Draft,
}

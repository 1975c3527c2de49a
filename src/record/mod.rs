//! The record stage: from a config file to the record that the tool itself would have sent.
//!
//! Why its own stage: a record must fall into the same charts and the same instance as the tool's own message, and an
//! auditor must be able to see that nothing else can leave. So what is reported stands in data ([`catalogue`]), and the
//! code here only follows it:
//!
//! ```text
//! files -> sources -> document -> version, consent -> derive (catalogue) -> Draft -> stamped by the spool -> Record -> message
//! ```
//!
//! Invariants:
//! - Config values reach a [`Draft`] as booleans, counts and version values only; every other type counts as missing.
//! - A [`Record`] is complete: uuid, timestamp, distinct id and event are fixed when it is written and never change.
//! - Nothing here knows the spool, the network or the terminal.

pub mod catalogue;
pub mod consent;
pub mod derive;
pub mod document;
pub mod host;
pub mod identity;
pub mod message;
pub mod network;
pub mod observe;
pub mod outcome;
pub mod sources;
pub mod version;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use host::System;
pub use outcome::BatchOutcome;

/// One value of a record, as a rule of the catalogue read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// The config file does not have it (or has another type there): [`Slot::missing`] is reported instead.
    Missing,
    /// Present and empty: a block the tool hands on as it is.
    Null,
    /// A switch.
    Bool(bool),
    /// A count or a version number.
    Int(i64),
    /// A version of three numbers, or a fixed word of the catalogue such as `null` or `unknown`.
    Text(String),
    /// An empty map, to be filled by the slots below it.
    Object,
}

/// Where a value stands in the message: the same for all records of one generation, so a spool keeps it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its name among the flat event properties, such as `feature_heartbeat`.
    pub property: Option<String>,
    /// Its dotted path below `enabledFeatures`, such as `feature.heartbeat`.
    pub nested: Option<String>,
    /// What the tool writes when the key is missing; `None` leaves the slot out.
    pub missing: Option<Value>,
}

/// The keys of a record: everything that repeats from record to record of one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The service's name, `butler` or `butler-sos` or one of a catalogue from disk.
    pub service: String,
    /// Whether the system block of this generation says if it runs in Docker.
    pub docker_flag: bool,
    /// In the order in which the tool writes them.
    pub slots: Vec<Slot>,
}

/// What would be reported now: a record before it has a uuid and a timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The keys. They take many times the room of the values, so drafts share them.
    pub layout: Arc<Layout>,
    /// The values, one for each slot of the layout.
    pub values: Vec<Value>,
    /// The anonymous id: 64 lower-case hex digits.
    pub id: String,
    /// The release of the service, a semantic version.
    pub service_version: String,
    /// The facts about the host.
    pub system: System,
    /// `process.version` of the Node.js that runs the service, or `unknown`.
    pub node_version: String,
}

impl Draft {
    /// A digest of everything that is reported: two drafts with equal digests give equal messages apart from `ts`.
    /// It is what the spool compares to decide whether anything changed.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(message::line(&message::data(self))).into()
    }
}

/// Why a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The first record of its instance.
    Started,
    /// What is reported differs from the last record.
    Changed,
    /// The settings ask for a record at intervals, and one was due.
    Interval,
    /// A human asked for it, although nothing changed.
    Manual,
}

impl Reason {
    /// The word used in `dump` and in the event property `salver_reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Started => "started",
            Reason::Changed => "changed",
            Reason::Interval => "interval",
            Reason::Manual => "manual",
        }
    }
}

/// A record as it lies in the spool: a draft with all that makes it one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Names the event for ever; version 7, lower-case, with hyphens.
    pub uuid: String,
    /// When it was recorded, in milliseconds since 1970; no two records of one id share it.
    pub timestamp_ms: i64,
    /// The key of the instance it belongs to.
    pub instance: String,
    /// Why it was written.
    pub reason: Reason,
    /// The version of salver that wrote it.
    pub agent_version: String,
    /// What it reports.
    pub draft: Draft,
}

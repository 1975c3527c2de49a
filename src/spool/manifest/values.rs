//! What the manifest keeps for the other stages, each with its units.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::record::identity::Readable;
use crate::spool::times::UsedTimes;

/// What the spool remembers of an instance between two looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// As last seen.
    pub service: String,
    /// The release, as last seen.
    pub service_version: String,
    /// The config files, as last looked at. A path that is not UTF-8 has replacement characters.
    pub config_files: Vec<String>,
    /// Whether the last look collected.
    pub collecting: bool,
    /// Why it does or does not collect, for `status`.
    pub why: String,
    /// Paused by hand.
    pub paused: bool,
    /// The anonymous id that its records carry.
    pub pin: Option<Pin>,
    /// Digest of what was last recorded.
    pub last_digest: Option<[u8; 32]>,
    /// When it was last recorded, in milliseconds since 1970.
    pub last_record_ms: Option<i64>,
    /// The sequence number of its newest record: the last of its records to be evicted.
    pub last_seq: Option<u64>,
}

/// An anonymous id that an instance keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// 64 lower-case hex digits.
    pub id: String,
    /// Which inputs were readable when it was made; unknown where it was taken from a record.
    pub readable: Option<Readable>,
    /// A record with it was delivered, or an admin adopted it: it stays, even if more inputs become
    /// readable.
    pub fixed: bool,
}

/// An id that was used on this host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdHistory {
    /// The instances whose records carried it.
    pub instances: BTreeSet<String>,
    /// The first and the last record with it, in milliseconds since 1970; 0 if there was none.
    pub first_ms: i64,
    /// See `first_ms`.
    pub last_ms: i64,
    /// When a record with it was last delivered.
    pub delivered_ms: Option<i64>,
    /// Keeps times from repeating.
    pub(in crate::spool) used: UsedTimes,
}

/// Why a record is a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Since when, in milliseconds since 1970, if that is known.
    pub at_ms: Option<i64>,
    /// The server's words, if they are known.
    pub words: Option<String>,
    /// How often the record was sent.
    pub attempts: u32,
}

/// What the forwarder remembers between two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlushMemory {
    /// The last attempt, in milliseconds since 1970.
    pub last_attempt_ms: Option<i64>,
    /// The last delivery.
    pub last_success_ms: Option<i64>,
    /// The outcome of the last attempt, in the contract's words.
    pub last_outcome: Option<String>,
    /// When the service tries again.
    pub next_attempt_ms: Option<i64>,
    /// Failed attempts in a row.
    pub failures: u32,
}

/// What the forwarder remembers of the link to the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkState {
    /// The most events that got through at once, where that is fewer than a full batch.
    pub batch_events: Option<u64>,
    /// Why the last run kept records, with the next step; nothing of what a server said, which
    /// could quote a record.
    pub why: Option<String>,
}

/// Something `status` shows until an admin acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// When it was noticed, in milliseconds since 1970.
    pub at_ms: i64,
    /// What happened and what to do.
    pub text: String,
}

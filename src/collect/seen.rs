//! What a look saw, before it is compared with the spool.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::target::Target;
use crate::record::observe::{Observation, Reportable, State};

pub(super) struct Seen {
    pub observation: Observation,
    /// The key of the instance.
    pub name: String,
    /// Digest of the bytes that the observation follows from.
    pub digest: [u8; 32],
}

impl Seen {
    pub(super) fn new(target: &Target, observation: Observation, digest: [u8; 32]) -> Seen {
        Seen { name: target.key(&observation.service), observation, digest }
    }
}

/// Digest of all that a look found; equal digests lead to the same record.
pub(super) fn digest_of(observation: &Observation, report: Option<&Reportable>) -> [u8; 32] {
    let found = json!({
        "service": observation.service,
        "version": observation.version.version.to_string(),
        "state": match &observation.state {
            State::Reportable(_) => "reports",
            State::Withdrawn(why) | State::Unclear(why) | State::TooOld(why) => why,
        },
        "values": report.map(|report| &report.derived.values),
        "layout": report.map(|report| &*report.derived.layout),
        "node": report.map(|report| &report.node_version),
    });
    Sha256::digest(found.to_string()).into()
}

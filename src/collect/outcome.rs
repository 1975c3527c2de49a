//! What a look is asked for, and its outcome.
//!
//! An outcome can be serialised: a worker that looks on behalf of a service sends it as it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::observe::Observation;
use crate::record::{Reason, Record, message};

/// When a look records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Only if the report differs from the last record.
    Difference,
    /// Also if the last record is as old as this.
    Interval(Duration),
    /// In any case, on behalf of a human.
    Force,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum LookOutcome {
    Recorded(Box<Recorded>),
    /// The report equals the last record.
    Unchanged {
        /// The key of the instance.
        name: String,
        /// `None` where the spool was not needed.
        introduction: Option<Introduction>,
    },
    /// The files hold the bytes of the last look, and what followed from them still holds.
    Unmodified,
    /// Consent seems to be withdrawn. That counts if it is still so after this time, in which an
    /// editor may go on writing.
    AwaitingConfirmation(Duration),
    /// Nothing is collected, by decision.
    NotCollecting {
        /// The key of the instance.
        name: String,
        /// The setting or key that decides so.
        why: String,
        /// How many records were erased because of it.
        erased: u64,
    },
    /// The files could not be read. Nothing is collected, sent or erased until they can.
    Unreadable(UnreadableFiles),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// The key of the instance.
    pub name: String,
    pub uuid: String,
    pub reason: Reason,
    /// The service's version was not found, so the newest known was taken.
    pub version_assumed: bool,
    pub introduction: Introduction,
    /// The whole message, JSON in one line.
    pub message: String,
}

/// Config files that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableFiles {
    /// The key of the instance, or its file where it has no name.
    pub name: String,
    /// The file, the cause and the next step.
    pub why: String,
    /// Digest of the bytes that could not be read.
    pub digest: [u8; 32],
    /// Whether the spool was told, so that `status` shows it.
    pub noted: bool,
}

/// The id and the release of an instance, as the tools print them at their start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    pub id: String,
    pub service: String,
    pub version: String,
}

impl Recorded {
    pub(super) fn new(record: &Record, version_assumed: bool) -> Recorded {
        let draft = &record.draft;
        Recorded {
            name: record.instance.clone(),
            uuid: record.uuid.clone(),
            reason: record.reason,
            version_assumed,
            introduction: Introduction {
                id: draft.id.clone(),
                service: draft.layout.service.clone(),
                version: draft.service_version.clone(),
            },
            message: message::line(&message::message(record)),
        }
    }
}

impl Introduction {
    pub(super) fn new(id: String, observation: &Observation) -> Introduction {
        let service = observation.service.clone();
        Introduction { id, service, version: observation.version.version.to_string() }
    }
}

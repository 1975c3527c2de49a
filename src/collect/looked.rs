//! What a look is asked for, and what it comes to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::record::observe::{Observation, ObserveError};

/// Why a look records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Only what differs from the last record.
    Difference,
    /// What differs, and anything if the last record is as old as this.
    Interval(Duration),
    /// In any case, since a human asked.
    Force,
}

/// What a look came to.
#[derive(Debug)]
pub enum Looked {
    /// A record was written.
    Recorded {
        /// The instance.
        name: String,
        /// The record.
        record: Box<Record>,
        /// The service's version was not found and the newest was assumed.
        assumed: bool,
    },
    /// What would be reported is what was last recorded.
    Unchanged {
        /// The instance.
        name: String,
        /// Who it is, where the spool was asked.
        introduction: Option<Introduction>,
    },
    /// The files hold the bytes that they held before, and what followed from them still holds.
    AsBefore,
    /// Consent seems to be withdrawn; that is believed if it is still so after this time, in which an editor may go on writing.
    Doubted(Duration),
    /// Nothing is collected, by decision.
    Off {
        /// The instance.
        name: String,
        /// Whose decision.
        why: String,
        /// How many records were erased because of it.
        erased: u64,
    },
    /// The file could not be read; nothing is collected, sent or erased until it can.
    Held {
        /// The instance, or its file where it has no name and never had one.
        name: String,
        /// Why.
        error: ObserveError,
        /// The bytes that it was read from, by their digest.
        bytes: [u8; 32],
    },
}

/// Who an instance is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// Its anonymous id.
    pub id: String,
    /// Its service.
    pub service: String,
    /// The service's release.
    pub version: String,
}

impl Introduction {
    pub(super) fn of(id: String, observation: &Observation) -> Introduction {
        let service = observation.service.clone();
        Introduction { id, service, version: observation.version.version.to_string() }
    }

    /// Whose record it is.
    pub fn of_record(record: &Record) -> Introduction {
        let draft = &record.draft;
        Introduction {
            id: draft.id.clone(),
            service: draft.layout.service.clone(),
            version: draft.service_version.clone(),
        }
    }
}

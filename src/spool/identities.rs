//! `identities`: who reports from this host, kept a second time.
//!
//! Why: a deletion request must quote every id that was ever used, and an instance keeps its id once it was delivered. Both stand
//! in `state/`, and no record can tell them again once it was delivered and left. So they are copied into a small file of their
//! own, from which they come back if `state/` is lost. It is written only when one of them changes, before `state/` is committed:
//! whatever a crash leaves of the two, an id is known to at least one of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::SpoolError;
use super::sealed;
use super::state::{IdHistory, Pin, State};
use crate::record::identity::Fingerprint;

/// The file's name.
const FILE: &str = "identities";

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Identities {
    /// The host they belong to.
    host: Option<Fingerprint>,
    /// The pinned id of each instance.
    pub pins: BTreeMap<String, Pin>,
    /// Every id that records carried.
    pub used: BTreeMap<String, IdHistory>,
}

/// Reads the copy; an empty one if there is none or it is torn.
pub(super) fn read(spool: &Path) -> Identities {
    sealed::read(spool, FILE).unwrap_or_default()
}

/// Copies what `state` knows.
pub(super) fn write(spool: &Path, state: &State) -> Result<(), SpoolError> {
    let instances = state.instances()?;
    let identities = Identities {
        host: state.host()?,
        pins: instances.into_iter().filter_map(|(name, it)| Some((name, it.pin?))).collect(),
        used: state.ids()?.into_iter().collect(),
    };
    sealed::write(spool, FILE, &identities)
}

/// Gives a `state` that was lost what the copy knows.
pub(super) fn restore(spool: &Path, state: &mut State) -> Result<(), SpoolError> {
    let known = read(spool);
    if let (None, Some(host)) = (state.host()?, &known.host) {
        state.put_host(host);
    }
    for (name, pin) in known.pins {
        let mut instance = state.instance(&name)?.unwrap_or_default();
        if instance.pin.is_none() {
            instance.pin = Some(pin);
            state.put_instance(&name, &instance);
        }
    }
    for (id, history) in known.used {
        if state.id(&id)?.is_none() {
            state.put_id(&id, &history);
        }
    }
    Ok(())
}

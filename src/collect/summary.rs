//! What the spool keeps of an instance beside its records, and which instances a target stands for.

use std::collections::{BTreeMap, BTreeSet};

use super::target::Target;
use crate::record::observe::Observation;
use crate::record::version::VersionOrigin;
use crate::spool::{Instance, Selector, Spool, SpoolError};

/// Whether an instance collects, and why.
#[derive(Clone, Debug)]
pub(super) struct CollectingStatus {
    pub collecting: bool,
    pub why: String,
}

impl CollectingStatus {
    pub(super) fn collecting(observation: &Observation) -> CollectingStatus {
        let why = match observation.version.origin {
            VersionOrigin::Assumed => {
                "consent is given; the service's version was not found, the newest known is assumed"
            }
            _ => "consent is given",
        };
        CollectingStatus { collecting: true, why: why.to_owned() }
    }

    pub(super) fn not_collecting(why: &str) -> CollectingStatus {
        CollectingStatus { collecting: false, why: why.to_owned() }
    }
}

/// The instance as it stands after a look.
pub(super) fn after_look(
    mut instance: Instance,
    target: &Target,
    observation: &Observation,
    status: CollectingStatus,
) -> Instance {
    instance.service = observation.service.clone();
    instance.service_version = observation.version.version.to_string();
    instance.config_files = config_files(target);
    instance.collecting = status.collecting;
    instance.why = status.why;
    instance
}

/// The instance as it stands while its files cannot be read.
pub(super) fn unreadable(mut instance: Instance, target: &Target, why: &str) -> Instance {
    instance.config_files = config_files(target);
    instance.collecting = false;
    instance.why = format!("held: {why}");
    instance
}

/// Erases the records of an instance; returns how many were erased.
pub(super) fn erase(spool: &mut Spool, key: &str) -> Result<u64, SpoolError> {
    let selector = Selector::of_instance(key);
    if spool.would_purge(&selector)?.records == 0 {
        return Ok(0);
    }
    let erased = spool.purge(&selector)?.receipt.records;
    let mut instance = spool.instance(key).unwrap_or_default();
    // The erased state was never reported, so it is recorded again once consent is given again.
    instance.last_digest = None;
    spool.put_instance(key, instance);
    Ok(erased)
}

/// The keys under which the spool may hold records of a target: its key now, and those of instances
/// of the same files, which had another name before. Without a `service`, since the file cannot be
/// read, those of all services.
pub(super) fn keys_of(
    instances: &BTreeMap<String, Instance>,
    target: &Target,
    service: Option<&str>,
) -> BTreeSet<String> {
    let files = config_files(target);
    let same = |instance: &Instance| {
        instance.config_files == files && service.is_none_or(|service| instance.service == service)
    };
    let known = instances.iter().filter(|(_, instance)| same(instance)).map(|(key, _)| key.clone());
    let now = service.map(|service| target.key(service)).or_else(|| target.name.clone());
    known.chain(now).collect()
}

/// The config files as the spool keeps them.
fn config_files(target: &Target) -> Vec<String> {
    target.subject.files.iter().map(|file| file.to_string_lossy().into_owned()).collect()
}

//! What the spool is told of an instance beside its records.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::Collector;
use crate::clock;
use crate::record::observe::{Observation, ObserveError};
use crate::spool::{Instance, Selector, Spool, SpoolError, SpoolFolder, SpoolReader};
use crate::target::Target;

impl Collector {
    /// Takes note that the file cannot be read, for `status`.
    pub fn hold(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        error: &ObserveError,
    ) -> Result<(), SpoolError> {
        let text = error.to_string();
        let found: [u8; 32] = Sha256::digest(&text).into();
        if target.known == Some(found) || !folder.exists() {
            return Ok(());
        }
        let mut spool = folder.open(clock::now_ms())?;
        for name in keys_of(&spool, target, None) {
            let mut instance = spool.instance(&name).unwrap_or_default();
            instance.config_files = config_files(target);
            instance.collecting = false;
            instance.why = format!("held: {text}");
            spool.put_instance(&name, instance);
        }
        spool.close()?;
        target.forget();
        target.known = Some(found);
        Ok(())
    }
}

/// Erases what waits of an instance; tells how many records that were.
pub(super) fn erase(spool: &mut Spool, key: &str) -> Result<u64, SpoolError> {
    let selector = Selector::of_instance(key);
    if spool.would_purge(&selector)?.records == 0 {
        return Ok(0);
    }
    let erased = spool.purge(&selector)?.receipt.records;
    let mut instance = spool.instance(key).unwrap_or_default();
    // What was erased was never reported: given consent again, it is news.
    instance.last_digest = None;
    spool.put_instance(key, instance);
    Ok(erased)
}

/// Notes that an instance is collected, or why it is not.
pub(super) fn note(
    spool: &mut Spool,
    name: &str,
    instance: Instance,
    target: &Target,
    observation: &Observation,
    collecting: bool,
    why: String,
) {
    spool.put_instance(name, noted(instance, target, observation, collecting, why));
}

/// The instance with that noted.
pub(super) fn noted(
    mut instance: Instance,
    target: &Target,
    observation: &Observation,
    collecting: bool,
    why: String,
) -> Instance {
    instance.service = observation.service.clone();
    instance.service_version = observation.version.version.to_string();
    instance.config_files = config_files(target);
    instance.collecting = collecting;
    instance.why = why;
    instance
}

/// The keys under which records of a target may wait: the one it has now, and those of instances of the same files, which got
/// another name since. Without a `service`, since the file cannot be read, those of all services.
pub(super) fn keys_of(spool: &SpoolReader, target: &Target, service: Option<&str>) -> BTreeSet<String> {
    let files = config_files(target);
    let same =
        |it: &Instance| it.config_files == files && service.is_none_or(|service| it.service == service);
    let known = spool.instances().iter().filter(|(_, it)| same(it));
    let now = service.map(|service| target.key(service)).or_else(|| target.name.clone());
    known.map(|(key, _)| key.clone()).chain(now).collect()
}

/// The config files as the spool keeps them.
fn config_files(target: &Target) -> Vec<String> {
    target.subject.files.iter().map(|file| file.to_string_lossy().into_owned()).collect()
}

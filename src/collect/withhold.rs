//! Reads consent again before anything is sent.
//!
//! Why the last look does not suffice: an admin may have said no since. Files that hold the bytes
//! of the last time are not parsed again, so this is cheap enough for every batch.

use std::collections::{BTreeMap, BTreeSet};

use super::collector::{Collector, LookOptions};
use super::outcome::Ask;
use super::seen::Seen;
use super::summary::keys_of;
use super::target::Target;
use crate::clock;
use crate::record::inputs::Inputs;
use crate::record::observe::{self, State};
use crate::spool::{Instance, SpoolError, SpoolFolder};

/// The consent of a target at this moment.
enum ConsentNow {
    /// Given, or withdrawn before and acted on.
    Settled,
    /// Withdrawn, confirmed, and not acted on yet. The text names the key.
    Withdrawn(Box<Seen>, String),
    /// Not readable.
    Unreadable {
        /// The service, if at least that can be read.
        service: Option<String>,
    },
}

impl Collector {
    /// Returns the instances whose records must not be sent now, as their consent cannot be read.
    /// Acts on withdrawn consent first: erases those records.
    pub fn withheld(
        &self,
        folder: &SpoolFolder,
        targets: &mut [Target],
    ) -> Result<BTreeSet<String>, SpoolError> {
        let options = LookOptions { folder, ask: Ask::Difference, snapshot: None };
        let mut withheld = BTreeSet::new();
        for target in targets {
            match self.consent_now(target) {
                ConsentNow::Settled => {}
                ConsentNow::Withdrawn(seen, why) => {
                    self.not_collecting(&options, target, &seen, &why, true)?;
                }
                ConsentNow::Unreadable { service } if folder.exists() => {
                    let spool = folder.read(clock::now_ms())?;
                    withheld.extend(keys_of(spool.instances(), target, service.as_deref()));
                }
                ConsentNow::Unreadable { .. } => {}
            }
        }
        Ok(withheld)
    }

    /// Returns the instances whose records a flush would not send now: those whose consent cannot
    /// be read, and those whose records it would erase first. Reads config files and changes
    /// nothing. `instances` are those of the spool.
    pub fn would_withhold(
        &self,
        targets: &mut [Target],
        instances: &BTreeMap<String, Instance>,
    ) -> BTreeSet<String> {
        let mut withheld = BTreeSet::new();
        for target in targets {
            let service = match self.consent_now(target) {
                ConsentNow::Settled => continue,
                ConsentNow::Withdrawn(seen, _) => Some(seen.observation.service),
                ConsentNow::Unreadable { service } => service,
            };
            withheld.extend(keys_of(instances, target, service.as_deref()));
        }
        withheld
    }

    /// Reads the consent of a target. Waits until a withdrawn one is confirmed.
    fn consent_now(&self, target: &mut Target) -> ConsentNow {
        let mut unconfirmed_since = None;
        loop {
            let inputs = Inputs::read(&target.subject);
            if target.bytes == Some(inputs.digest) {
                return ConsentNow::Settled;
            }
            let Ok(observation) = observe::judge(&self.catalogue, &target.subject, &inputs) else {
                return ConsentNow::Unreadable { service: None };
            };
            let seen = Seen::new(target, observation, inputs.digest);
            match &seen.observation.state {
                State::Withdrawn(why) => match self.confirmation(target, &seen, unconfirmed_since) {
                    Some(wait) => std::thread::sleep(wait),
                    None => {
                        let why = why.clone();
                        return ConsentNow::Withdrawn(Box::new(seen), why);
                    }
                },
                State::Unclear(_) => {
                    return ConsentNow::Unreadable { service: Some(seen.observation.service) };
                }
                State::Reportable(_) | State::TooOld(_) => {
                    target.bytes = Some(seen.digest);
                    return ConsentNow::Settled;
                }
            }
            unconfirmed_since = target.unconfirmed_since.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::catalogue::Catalogue;
    use crate::record::identity::SystemIdSource;
    use crate::record::subject::Subject;

    /// Consent given; withdrawn by a word, by absence; unclear; not readable.
    const BLOCKS: [&str; 5] = [
        "anonTelemetry: true, mqttConfig: {enable: true}}\n",
        "anonTelemetry: false}\n",
        "mqttConfig: {enable: true}}\n",
        "logLevel: info}",
        "mqttConfig: {",
    ];

    #[test]
    fn what_a_flush_would_hold_or_erase_is_named_and_nothing_is_written() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let target = |(number, block): (usize, &&str)| {
            let file = at(&number.to_string());
            fs::write(&file, format!("Butler: {{{block}")).unwrap();
            let subject =
                Subject { files: vec![file], service: None, service_version: None, node_version: None };
            Target::new(Some(format!("n{number}")), subject)
        };
        let mut targets: Vec<Target> = BLOCKS.iter().enumerate().map(target).collect();
        // The spool knows two of them by earlier names as well, and others.
        let known = |number: usize, service: &str| Instance {
            service: service.to_owned(),
            config_files: vec![at(&number.to_string()).to_string_lossy().into_owned()],
            ..Instance::default()
        };
        let instances = [
            ("earlier".to_owned(), known(1, "butler")),
            ("earlier-too".to_owned(), known(4, "butler-sos")),
            ("other".to_owned(), Instance::default()),
            ("of-another-service".to_owned(), known(1, "butler-sos")),
        ];
        let instances = BTreeMap::from(instances);
        let catalogue = Catalogue::load(&[]).unwrap();
        let collector = Collector::new(catalogue, SystemIdSource::None, std::time::Duration::from_millis(20));
        let withheld = collector.would_withhold(&mut targets, &instances);
        assert_eq!(
            withheld.into_iter().collect::<Vec<_>>(),
            ["earlier", "earlier-too", "n1", "n2", "n3", "n4"]
        );
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), BLOCKS.len());
    }
}

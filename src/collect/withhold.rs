//! Reads consent again before anything is sent.
//!
//! Why the last look does not suffice: an admin may have said no since. Files that hold the bytes of
//! the last time are not parsed again, so this is cheap enough for every batch.

use std::collections::BTreeSet;

use super::collector::{Collector, LookOptions};
use super::outcome::Ask;
use super::seen::Seen;
use super::summary::{keys_of, pairs};
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
                    let spool = folder.open_to_release(clock::now_ms())?;
                    let instances = spool.instances()?;
                    spool.close()?;
                    withheld.extend(keys_of(pairs(&instances), target, service.as_deref()));
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
        instances: &[(String, Instance)],
    ) -> BTreeSet<String> {
        let mut withheld = BTreeSet::new();
        for target in targets {
            let service = match self.consent_now(target) {
                ConsentNow::Settled => continue,
                ConsentNow::Withdrawn(seen, _) => Some(seen.observation.service),
                ConsentNow::Unreadable { service } => service,
            };
            withheld.extend(keys_of(pairs(instances), target, service.as_deref()));
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

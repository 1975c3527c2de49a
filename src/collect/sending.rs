//! Consent, read again before anything is sent.
//!
//! Why not by what the last look found: it may be from before the admin said no. Files that hold the bytes of the last time are not
//! parsed again, so this is cheap enough for every batch.

use super::notes::keys_of;
use super::{Collector, Seen};
use crate::clock;
use crate::record::observe::{self, State};
use crate::record::sources::Sources;
use crate::spool::{SpoolError, SpoolFolder};
use crate::target::Target;

/// An instance whose consent cannot be read.
struct Held {
    /// Its service, if that can.
    service: Option<String>,
}

impl Collector {
    /// Which instances' records must not be sent now: those whose consent cannot be read. Withdrawn consent is acted on first.
    pub fn held(&self, folder: &SpoolFolder, targets: &mut [Target]) -> Result<Vec<String>, SpoolError> {
        let mut held = Vec::new();
        for target in targets {
            if let Some(Held { service }) = self.held_consent(folder, target)?
                && folder.exists()
            {
                let spool = folder.read(clock::now_ms())?;
                held.extend(keys_of(&spool, target, service.as_deref()));
            }
        }
        Ok(held)
    }

    /// Whether the consent of a target cannot be read now.
    fn held_consent(&self, folder: &SpoolFolder, target: &mut Target) -> Result<Option<Held>, SpoolError> {
        let mut doubted = None;
        loop {
            let sources = Sources::read(&target.subject);
            if target.bytes == Some(sources.digest) {
                return Ok(None);
            }
            let Ok(observation) = observe::judge(&self.catalogue, &target.subject, &sources) else {
                return Ok(Some(Held { service: None }));
            };
            let name = target.key(&observation.service);
            let seen = Seen { observation, name, bytes: sources.digest };
            match &seen.observation.state {
                State::Withdrawn(why) => match self.doubt(target, &seen, doubted) {
                    Some(wait) => std::thread::sleep(wait),
                    None => {
                        self.off(folder, target, &seen, why, true)?;
                        return Ok(None);
                    }
                },
                State::Unclear(_) => return Ok(Some(Held { service: Some(seen.observation.service) })),
                State::Reports(_) | State::TooOld(_) => {
                    target.bytes = Some(seen.bytes);
                    return Ok(None);
                }
            }
            doubted = target.doubted.take();
        }
    }
}

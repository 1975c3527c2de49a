//! One look at one instance: the only place where the record stage meets the spool.
//!
//! Why level and not edge: what is recorded is the difference between the file now and the last durable state in the spool.
//! So a look can be made at any time, by anybody, as often as they like: a crash, a missed event or a restart loses no
//! change, and nothing unchanged is recorded twice.
//!
//! Invariants:
//! - The spool is opened only if the look found something that it may not know yet (a better id counts), and never while
//!   waiting.
//! - Files that hold the bytes of the last look are read and hashed, and nothing else.
//! - Withdrawn consent erases the instance's records before anything else happens to them; it is believed only after
//!   a second look at the settled file says the same. A file that cannot be read erases nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::record::catalogue::Catalogue;
use crate::record::consent;
use crate::record::host::System;
use crate::record::identity::SystemIdSource;
use crate::record::observe::{self, Observation, ObserveError, Report, State};
use crate::record::sources::Sources;
use crate::record::version::Origin;
use crate::record::{Draft, Reason};
use crate::spool::{SpoolError, SpoolFolder};
use crate::target::Target;

mod ids;
mod looked;
mod notes;
mod remembered;
mod sending;

pub use ids::Ids;
pub use looked::{Ask, Introduction, Looked};
use notes::{erase, keys_of, note};
pub use remembered::Remembered;

/// Why a paused instance does not collect.
pub const PAUSED: &str = "paused by hand; `salver resume` starts it again";

/// Why nothing is collected in such an environment.
pub const DO_NOT_TRACK: &str = "DO_NOT_TRACK is set in the environment";

/// What is the same for all looks of a process.
pub struct Collector {
    /// The services that are known.
    pub catalogue: Catalogue,
    /// The ids of the instances.
    pub ids: Ids,
    /// The host's facts.
    system: System,
    settle: Duration,
    /// `DO_NOT_TRACK` asks to collect nothing.
    do_not_track: bool,
}

impl Collector {
    /// Reads the host's facts once; they do not change while a process runs.
    pub fn new(catalogue: Catalogue, system_id: SystemIdSource, settle: Duration) -> Collector {
        Collector {
            catalogue,
            ids: Ids { source: system_id },
            system: crate::record::host::facts(),
            settle,
            do_not_track: consent::do_not_track(std::env::var_os("DO_NOT_TRACK").as_deref()),
        }
    }

    /// Whether the environment asks to collect and send nothing.
    pub fn do_not_track(&self) -> bool {
        self.do_not_track
    }

    /// Looks at one instance and records what `ask` asks for. Waits until a withdrawn consent can be believed.
    pub fn look(&self, folder: &SpoolFolder, target: &mut Target, ask: Ask) -> Result<Looked, SpoolError> {
        let mut looked = self.glance(folder, target, ask)?;
        if let Looked::Doubted(wait) = looked {
            std::thread::sleep(wait);
            looked = self.glance(folder, target, ask)?;
        }
        if let Looked::Held { error, .. } = &looked {
            self.hold(folder, target, error)?;
        }
        Ok(looked)
    }

    /// The same for somebody who has no time to wait, and who calls again where there is a doubt. That a file cannot be read is not
    /// noted: it may be over in a moment.
    pub fn glance(&self, folder: &SpoolFolder, target: &mut Target, ask: Ask) -> Result<Looked, SpoolError> {
        let doubted = target.doubted.take();
        let sources = Sources::read(&target.subject);
        if target.is_as_before(&sources.digest, ask, &self.ids) {
            return Ok(Looked::AsBefore);
        }
        let observation = match observe::judge(&self.catalogue, &target.subject, &sources) {
            Ok(observation) => observation,
            Err(error) => {
                let (name, bytes) = (target.held_name(), sources.digest);
                return Ok(Looked::Held { name, error, bytes });
            }
        };
        let name = target.key(&observation.service);
        let seen = Seen { observation, name, bytes: sources.digest };
        match &seen.observation.state {
            State::Withdrawn(why) => match self.doubt(target, &seen, doubted) {
                Some(wait) => Ok(Looked::Doubted(wait)),
                None => self.off(folder, target, &seen, why, true),
            },
            State::Unclear(why) | State::TooOld(why) => self.off(folder, target, &seen, why, false),
            State::Reports(_) if self.do_not_track => self.off(folder, target, &seen, DO_NOT_TRACK, false),
            State::Reports(report) => self.report(folder, target, &seen, report, ask),
        }
    }

    /// Looks without recording anything.
    pub fn observe(&self, target: &Target) -> Result<Observation, ObserveError> {
        observe::observe(&self.catalogue, &target.subject)
    }

    /// How long a document that newly withdraws consent is to be doubted: until it has said so for `settle`, as an editor may be in
    /// the middle of writing it.
    fn doubt(&self, target: &mut Target, seen: &Seen, doubted: Option<Instant>) -> Option<Duration> {
        if target.known == Some(digest_of(&seen.observation, None)) {
            return None;
        }
        let since = doubted.unwrap_or_else(Instant::now);
        let wait = self.settle.saturating_sub(since.elapsed());
        (!wait.is_zero()).then(|| {
            target.doubted = Some(since);
            wait
        })
    }

    fn report(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        seen: &Seen,
        report: &Report,
        ask: Ask,
    ) -> Result<Looked, SpoolError> {
        let Seen { observation, name, bytes } = seen;
        let found = digest_of(observation, Some(report));
        if target.known == Some(found) && !target.asks_for_more(ask, &self.ids) {
            target.bytes = Some(*bytes);
            return Ok(Looked::Unchanged { name: name.clone(), introduction: None });
        }
        if let Some(unchanged) = self.as_remembered(target, seen, report)
            && !target.asks_for_more(ask, &self.ids)
        {
            target.known = Some(found);
            target.bytes = Some(*bytes);
            return Ok(unchanged);
        }
        let mut spool = folder.open(clock::now_ms())?;
        ids::recognise_host(&mut spool);
        let mut instance = spool.instance(name).unwrap_or_default();
        if instance.paused {
            spool.close()?;
            target.forget();
            return Ok(Looked::Off { name: name.clone(), why: PAUSED.to_owned(), erased: 0 });
        }
        let pin = self.ids.pin_in(&mut instance, report);
        target.early_pin = pin.readable.filter(|_| !pin.fixed);
        let draft = self.draft(observation, report, pin.id.clone());
        let reason = match (instance.last_digest, ask) {
            (None, _) => Some(Reason::Started),
            (Some(last), _) if last != draft.digest() => Some(Reason::Changed),
            (_, Ask::Interval(interval)) => {
                // Somebody else may have recorded since.
                target.last_record_ms = instance.last_record_ms;
                let due_in = target.due_in(interval, clock::now_ms());
                due_in.is_none_or(|wait| wait.is_zero()).then_some(Reason::Interval)
            }
            (_, Ask::Force) => Some(Reason::Manual),
            (_, Ask::Difference) => None,
        };
        let assumed = observation.version.origin == Origin::Assumed;
        let last_record_ms = instance.last_record_ms;
        note(&mut spool, name, instance, target, observation, true, why_collecting(observation));
        let record = reason.map(|reason| spool.record(name, draft, reason)).transpose()?;
        spool.close()?;
        target.known = Some(found);
        target.bytes = Some(*bytes);
        target.last_record_ms = record.as_ref().map(|record| record.timestamp_ms).or(last_record_ms);
        let name = name.clone();
        Ok(match record {
            Some(record) => Looked::Recorded { name, record: Box::new(record), assumed },
            None => {
                let introduction = Some(Introduction::of(pin.id, observation));
                Looked::Unchanged { name, introduction }
            }
        })
    }

    /// Takes note that nothing is collected, and erases what is unsent if consent was withdrawn.
    fn off(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        seen: &Seen,
        why: &str,
        withdrawn: bool,
    ) -> Result<Looked, SpoolError> {
        let Seen { observation, name, bytes } = seen;
        let (name, why) = (name.clone(), why.to_owned());
        let found = digest_of(observation, None);
        target.last_record_ms = None;
        if target.known == Some(found) {
            target.bytes = Some(*bytes);
            return Ok(Looked::Off { name, why, erased: 0 });
        }
        // Without a spool there is nothing to erase and nobody to tell.
        if !folder.exists() {
            return Ok(Looked::Off { name, why, erased: 0 });
        }
        let now_ms = clock::now_ms();
        let mut spool = if withdrawn { folder.open_to_release(now_ms)? } else { folder.open(now_ms)? };
        let mut erased = 0;
        if withdrawn {
            for key in keys_of(&spool, target, Some(&observation.service)) {
                erased += erase(&mut spool, &key)?;
            }
        }
        let instance = spool.instance(&name).unwrap_or_default();
        note(&mut spool, &name, instance, target, observation, false, why.clone());
        spool.close()?;
        target.known = Some(found);
        target.bytes = Some(*bytes);
        Ok(Looked::Off { name, why, erased })
    }

    /// What would be recorded of an observation.
    pub fn draft(&self, observation: &Observation, report: &Report, id: String) -> Draft {
        Draft {
            layout: report.derived.layout.clone(),
            values: report.derived.values.clone(),
            id,
            service_version: observation.version.version.to_string(),
            system: self.system.clone(),
            node_version: report.node_version.clone(),
        }
    }
}

/// What a look saw.
struct Seen {
    observation: Observation,
    /// The instance.
    name: String,
    /// The digest of the bytes that it follows from.
    bytes: [u8; 32],
}

fn why_collecting(observation: &Observation) -> String {
    match observation.version.origin {
        Origin::Assumed => {
            "consent is given; the service's version was not found, the newest known is assumed".into()
        }
        _ => "consent is given".into(),
    }
}

/// A digest of all that a look found; equal digests lead to the same record.
fn digest_of(observation: &Observation, report: Option<&Report>) -> [u8; 32] {
    let found = json!({
        "service": observation.service,
        "version": observation.version.version.to_string(),
        "state": match &observation.state {
            State::Reports(_) => "reports",
            State::Withdrawn(why) | State::Unclear(why) | State::TooOld(why) => why,
        },
        "values": report.map(|report| &report.derived.values),
        "layout": report.map(|report| &*report.derived.layout),
        "node": report.map(|report| &report.node_version),
    });
    Sha256::digest(found.to_string()).into()
}

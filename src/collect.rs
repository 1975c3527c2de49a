//! One look at one instance: the only place where the record stage meets the spool.
//!
//! Why level and not edge: what is recorded is the difference between the file now and the last durable state in the spool.
//! So a look can be made at any time, by anybody, as often as they like: a crash, a missed event or a restart loses no
//! change, and nothing unchanged is recorded twice.
//!
//! Invariants:
//! - The spool is opened only if the look found something that it may not know yet (a better id counts), and never while
//!   waiting.
//! - Withdrawn consent erases the instance's records before anything else happens to them; it is believed only after
//!   a second look at the settled file says the same. A file that cannot be read erases nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::record::catalogue::Catalogue;
use crate::record::consent;
use crate::record::host::System;
use crate::record::observe::{self, Observation, ObserveError, Report, State};
use crate::record::version::Origin;
use crate::record::{Draft, Reason, Record};
use crate::settings::Settings;
use crate::spool::{Instance, Selector, Spool, SpoolError, SpoolFolder};
use crate::target::Target;

mod ids;

pub use ids::Ids;

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

/// Why a look records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Only what differs from the last record.
    Difference,
    /// In any case, since an interval has passed.
    Interval,
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
    },
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
    },
}

impl Collector {
    /// Reads the host's facts once; they do not change while a process runs.
    pub fn new(catalogue: Catalogue, settings: &Settings) -> Collector {
        Collector {
            catalogue,
            ids: Ids { source: settings.identity.system_id },
            system: crate::record::host::facts(),
            settle: settings.watch.settle,
            do_not_track: consent::do_not_track(std::env::var_os("DO_NOT_TRACK").as_deref()),
        }
    }

    /// Whether the environment asks to collect and send nothing.
    pub fn do_not_track(&self) -> bool {
        self.do_not_track
    }

    /// Looks at one instance and records what `ask` asks for.
    pub fn look(&self, folder: &SpoolFolder, target: &mut Target, ask: Ask) -> Result<Looked, SpoolError> {
        let observation = match self.settled(target) {
            Ok(observation) => observation,
            Err(error) => return self.hold(folder, target, error),
        };
        let name = target.key(&observation.service);
        match &observation.state {
            State::Withdrawn(why) => self.off(folder, target, &observation, name, why, true),
            State::Unclear(why) | State::TooOld(why) => {
                self.off(folder, target, &observation, name, why, false)
            }
            State::Reports(_) if self.do_not_track => {
                self.off(folder, target, &observation, name, DO_NOT_TRACK, false)
            }
            State::Reports(report) => self.report(folder, target, &observation, report, name, ask),
        }
    }

    /// Looks without recording anything.
    pub fn observe(&self, target: &Target) -> Result<Observation, ObserveError> {
        observe::observe(&self.catalogue, &target.subject)
    }

    /// An observation that may be acted on: a document that newly withdraws consent is looked at twice, `settle` apart, as an
    /// editor may be in the middle of writing it.
    fn settled(&self, target: &Target) -> Result<Observation, ObserveError> {
        let first = observe::observe(&self.catalogue, &target.subject)?;
        let is_known = target.known == Some(digest_of(&first, None));
        if is_known || !matches!(first.state, State::Withdrawn(_)) {
            return Ok(first);
        }
        std::thread::sleep(self.settle);
        observe::observe(&self.catalogue, &target.subject)
    }

    fn report(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        observation: &Observation,
        report: &Report,
        name: String,
        ask: Ask,
    ) -> Result<Looked, SpoolError> {
        let found = digest_of(observation, Some(report));
        let is_known = target.known == Some(found) && !self.ids.improve_on(target.early_pin, report);
        if ask == Ask::Difference && is_known {
            return Ok(Looked::Unchanged { name });
        }
        let mut spool = folder.open(clock::now_ms())?;
        ids::recognise_host(&mut spool)?;
        let mut instance = spool.instance(&name)?.unwrap_or_default();
        if instance.paused {
            spool.close()?;
            target.known = None;
            return Ok(Looked::Off { name, why: PAUSED.to_owned(), erased: 0 });
        }
        let pin = self.ids.pin_in(&mut instance, report);
        target.early_pin = pin.readable.filter(|_| !pin.fixed);
        let draft = self.draft(observation, report, pin.id);
        let reason = match (instance.last_digest, ask) {
            (None, _) => Some(Reason::Started),
            (Some(last), _) if last != draft.digest() => Some(Reason::Changed),
            (_, Ask::Interval) => Some(Reason::Interval),
            (_, Ask::Force) => Some(Reason::Manual),
            (_, Ask::Difference) => None,
        };
        let assumed = observation.version.origin == Origin::Assumed;
        target.last_record_ms = instance.last_record_ms;
        note(&mut spool, &name, instance, target, observation, true, why_collecting(assumed));
        let record = reason.map(|reason| spool.record(&name, draft, reason)).transpose()?;
        spool.close()?;
        target.known = Some(found);
        Ok(match record {
            Some(record) => {
                target.last_record_ms = Some(record.timestamp_ms);
                Looked::Recorded { name, record: Box::new(record), assumed }
            }
            None => Looked::Unchanged { name },
        })
    }

    /// Takes note that nothing is collected, and erases what is unsent if consent was withdrawn.
    fn off(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        observation: &Observation,
        name: String,
        why: &str,
        withdrawn: bool,
    ) -> Result<Looked, SpoolError> {
        let why = why.to_owned();
        let found = digest_of(observation, None);
        // Without a spool there is nothing to erase and nobody to tell.
        if target.known == Some(found) || !folder.exists() {
            return Ok(Looked::Off { name, why, erased: 0 });
        }
        let now_ms = clock::now_ms();
        let mut spool = if withdrawn { folder.open_to_release(now_ms)? } else { folder.open(now_ms)? };
        let mut erased = 0;
        if withdrawn {
            for key in keys_of(&spool, target, Some(&observation.service))? {
                erased += erase(&mut spool, &key)?;
            }
        }
        let instance = spool.instance(&name)?.unwrap_or_default();
        note(&mut spool, &name, instance, target, observation, false, why.clone());
        spool.close()?;
        target.known = Some(found);
        Ok(Looked::Off { name, why, erased })
    }

    /// Takes note that the file cannot be read, for `status`.
    fn hold(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        error: ObserveError,
    ) -> Result<Looked, SpoolError> {
        let text = error.to_string();
        let found: [u8; 32] = Sha256::digest(&text).into();
        let held = Looked::Held { name: target.held_name(), error };
        if target.known == Some(found) || !folder.exists() {
            return Ok(held);
        }
        let mut spool = folder.open(clock::now_ms())?;
        for name in keys_of(&spool, target, None)? {
            let mut instance = spool.instance(&name)?.unwrap_or_default();
            instance.config_files = target.subject.files.clone();
            instance.collecting = false;
            instance.why = format!("held: {text}");
            spool.put_instance(&name, &instance);
        }
        spool.close()?;
        target.known = Some(found);
        Ok(held)
    }

    /// Which instances' records must not be sent now: those whose consent cannot be read. Withdrawn consent is acted on first.
    pub fn held(&self, folder: &SpoolFolder, targets: &mut [Target]) -> Result<Vec<String>, SpoolError> {
        let mut held = Vec::new();
        for target in targets {
            let service = match self.settled(target) {
                Err(_) => None,
                Ok(observation) => match &observation.state {
                    State::Withdrawn(why) => {
                        let name = target.key(&observation.service);
                        self.off(folder, target, &observation, name, why, true)?;
                        continue;
                    }
                    State::Unclear(_) => Some(observation.service),
                    State::Reports(_) | State::TooOld(_) => continue,
                },
            };
            if folder.exists() {
                let spool = folder.open_to_release(clock::now_ms())?;
                held.extend(keys_of(&spool, target, service.as_deref())?);
                spool.close()?;
            }
        }
        Ok(held)
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

fn why_collecting(assumed: bool) -> String {
    match assumed {
        true => "consent is given; the service's version was not found, the newest known is assumed".into(),
        false => "consent is given".into(),
    }
}

/// Erases what waits of an instance; tells how many records that were.
fn erase(spool: &mut Spool, key: &str) -> Result<u64, SpoolError> {
    let selector = Selector::of_instance(key);
    if spool.would_purge(&selector)?.records == 0 {
        return Ok(0);
    }
    let erased = spool.purge(&selector)?.records;
    let mut instance = spool.instance(key)?.unwrap_or_default();
    // What was erased was never reported: given consent again, it is news.
    instance.last_digest = None;
    spool.put_instance(key, &instance);
    Ok(erased)
}

fn note(
    spool: &mut Spool,
    name: &str,
    mut instance: Instance,
    target: &Target,
    observation: &Observation,
    collecting: bool,
    why: String,
) {
    instance.service = observation.service.clone();
    instance.service_version = observation.version.version.to_string();
    instance.config_files = target.subject.files.clone();
    instance.collecting = collecting;
    instance.why = why;
    spool.put_instance(name, &instance);
}

/// The keys under which records of a target may wait: the one it has now, and those of instances of the same files, which got
/// another name since. Without a `service`, since the file cannot be read, those of all services.
fn keys_of(spool: &Spool, target: &Target, service: Option<&str>) -> Result<BTreeSet<String>, SpoolError> {
    let same = |it: &Instance| {
        it.config_files == target.subject.files && service.is_none_or(|service| it.service == service)
    };
    let known = spool.instances()?.into_iter().filter(|(_, it)| same(it));
    let now = service.map(|service| target.key(service)).or_else(|| target.name.clone());
    Ok(known.map(|(key, _)| key).chain(now).collect())
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

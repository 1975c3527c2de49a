//! A look: observe the files, compare with the last durable state, record or erase.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::ids::{self, Ids};
use super::outcome::{Ask, Introduction, LookOutcome, Recorded, UnreadableFiles};
use super::seen::{Seen, digest_of};
use super::snapshot::Snapshot;
use super::summary::{CollectingStatus, after_look, erase, keys_of, unreadable};
use super::target::Target;
use crate::clock;
use crate::record::catalogue::Catalogue;
use crate::record::consent;
use crate::record::host::System;
use crate::record::identity::SystemIdSource;
use crate::record::inputs::Inputs;
use crate::record::observe::{self, Observation, ObserveError, Reportable, State};
use crate::record::version::VersionOrigin;
use crate::record::{Draft, Reason};
use crate::spool::{Instance, SpoolError, SpoolFolder};

/// Why a paused instance does not collect.
pub const PAUSED: &str = "paused by hand; `salver resume` starts it again";

/// Why nothing is collected in such an environment.
pub const DO_NOT_TRACK: &str = "DO_NOT_TRACK is set in the environment";

/// What all looks of a process share.
pub struct Collector {
    pub catalogue: Catalogue,
    pub ids: Ids,
    system: System,
    settle: Duration,
    /// `DO_NOT_TRACK` asks to collect nothing.
    do_not_track: bool,
}

/// How a look is made.
#[derive(Clone, Copy, Debug)]
pub struct LookOptions<'a> {
    pub folder: &'a SpoolFolder,
    pub ask: Ask,
    /// Compared with before the spool is opened.
    pub snapshot: Option<&'a Snapshot>,
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

    /// Looks at one instance and records what `ask` asks for. Waits for the confirmation of a
    /// withdrawn consent.
    pub fn look(
        &self,
        folder: &SpoolFolder,
        target: &mut Target,
        ask: Ask,
    ) -> Result<LookOutcome, SpoolError> {
        let options = LookOptions { folder, ask, snapshot: None };
        let mut outcome = self.look_once(&options, target)?;
        if let LookOutcome::AwaitingConfirmation(wait) = outcome {
            std::thread::sleep(wait);
            outcome = self.look_once(&options, target)?;
        }
        if let LookOutcome::Unreadable(unreadable) = &mut outcome {
            self.note_unreadable(&options, target, unreadable)?;
        }
        Ok(outcome)
    }

    /// A look for a caller that does not wait, and looks again where a confirmation is needed.
    /// Files that cannot be read are not noted in the spool: the cause may be gone in a moment.
    pub fn look_once(
        &self,
        options: &LookOptions<'_>,
        target: &mut Target,
    ) -> Result<LookOutcome, SpoolError> {
        let unconfirmed_since = target.unconfirmed_since.take();
        let inputs = Inputs::read(&target.subject);
        if target.is_unmodified(&inputs.digest, options.ask, &self.ids) {
            return Ok(LookOutcome::Unmodified);
        }
        let observation = match observe::judge(&self.catalogue, &target.subject, &inputs) {
            Ok(observation) => observation,
            Err(error) => {
                let (name, why) = (target.display_name(), error.to_string());
                let unreadable = UnreadableFiles { name, why, digest: inputs.digest, noted: false };
                return Ok(LookOutcome::Unreadable(unreadable));
            }
        };
        let seen = Seen::new(target, observation, inputs.digest);
        match &seen.observation.state {
            State::Withdrawn(why) => {
                let is_noted = is_noted(options, target, &seen, &CollectingStatus::not_collecting(why));
                match self.confirmation(target, &seen, unconfirmed_since).filter(|_| !is_noted) {
                    Some(wait) => Ok(LookOutcome::AwaitingConfirmation(wait)),
                    None => self.not_collecting(options, target, &seen, why, true),
                }
            }
            State::Unclear(why) | State::TooOld(why) => {
                self.not_collecting(options, target, &seen, why, false)
            }
            State::Reportable(_) if self.do_not_track => {
                self.not_collecting(options, target, &seen, DO_NOT_TRACK, false)
            }
            State::Reportable(report) => self.collect(options, target, &seen, report),
        }
    }

    /// Looks without recording anything.
    pub fn observe(&self, target: &Target) -> Result<Observation, ObserveError> {
        observe::observe(&self.catalogue, &target.subject)
    }

    /// What would be recorded of an observation.
    pub fn draft(&self, observation: &Observation, report: &Reportable, id: String) -> Draft {
        Draft {
            layout: report.derived.layout.clone(),
            values: report.derived.values.clone(),
            id,
            service_version: observation.version.version.to_string(),
            system: self.system.clone(),
            node_version: report.node_version.clone(),
        }
    }

    /// Notes in the spool that the files cannot be read, for `status`.
    pub fn note_unreadable(
        &self,
        options: &LookOptions<'_>,
        target: &mut Target,
        files: &mut UnreadableFiles,
    ) -> Result<(), SpoolError> {
        let found: [u8; 32] = Sha256::digest(&files.why).into();
        if target.known != Some(found) && options.folder.exists() {
            let note = |instance: Instance| unreadable(instance, target, &files.why);
            let is_noted = |snapshot: &Snapshot| {
                let instances = &snapshot.instances;
                let of = |key: &String| instances.get(key).cloned().unwrap_or_default();
                keys_of(instances, target, None).iter().all(|key| of(key) == note(of(key)))
            };
            if !options.snapshot.is_some_and(is_noted) {
                let mut spool = options.folder.open(clock::now_ms())?;
                let instances = spool.instances().clone();
                for key in keys_of(&instances, target, None) {
                    let instance = spool.instance(&key).unwrap_or_default();
                    spool.put_instance(&key, note(instance));
                }
                spool.close()?;
            }
            target.forget();
            target.known = Some(found);
        }
        files.noted = true;
        Ok(())
    }

    /// How long a document that newly withdraws consent has to go on saying so before that counts:
    /// for the settle time, as an editor may be in the middle of writing it.
    pub(super) fn confirmation(
        &self,
        target: &mut Target,
        seen: &Seen,
        unconfirmed_since: Option<Instant>,
    ) -> Option<Duration> {
        if target.known == Some(digest_of(&seen.observation, None)) {
            return None;
        }
        let since = unconfirmed_since.unwrap_or_else(Instant::now);
        let wait = self.settle.saturating_sub(since.elapsed());
        (!wait.is_zero()).then(|| {
            target.unconfirmed_since = Some(since);
            wait
        })
    }

    /// Records, if the look asks for it.
    fn collect(
        &self,
        options: &LookOptions<'_>,
        target: &mut Target,
        seen: &Seen,
        report: &Reportable,
    ) -> Result<LookOutcome, SpoolError> {
        let Seen { observation, name, digest } = seen;
        let found = digest_of(observation, Some(report));
        if target.known == Some(found) && !target.asks_for_more(options.ask, &self.ids) {
            target.bytes = Some(*digest);
            return Ok(LookOutcome::Unchanged { name: name.clone(), introduction: None });
        }
        if let Some(unchanged) = self.as_in_snapshot(options, target, seen, report)
            && !target.asks_for_more(options.ask, &self.ids)
        {
            target.known = Some(found);
            target.bytes = Some(*digest);
            return Ok(unchanged);
        }
        let mut spool = options.folder.open(clock::now_ms())?;
        ids::recognise_host(&mut spool);
        let mut instance = spool.instance(name).unwrap_or_default();
        if instance.paused {
            spool.close()?;
            target.forget();
            return Ok(not_collecting(name, PAUSED, 0));
        }
        let pin = self.ids.pin_in(&mut instance, report);
        target.early_pin = pin.readable.filter(|_| !pin.fixed);
        let draft = self.draft(observation, report, pin.id.clone());
        let reason = match (instance.last_digest, options.ask) {
            (None, _) => Some(Reason::Started),
            (Some(last), _) if last != draft.digest() => Some(Reason::Changed),
            (_, Ask::Interval(interval)) => {
                // Another process may have recorded since.
                target.last_record_ms = instance.last_record_ms;
                let due_in = target.due_in(interval, clock::now_ms());
                due_in.is_none_or(|wait| wait.is_zero()).then_some(Reason::Interval)
            }
            (_, Ask::Force) => Some(Reason::Manual),
            (_, Ask::Difference) => None,
        };
        let last_record_ms = instance.last_record_ms;
        let instance = after_look(instance, target, observation, CollectingStatus::collecting(observation));
        spool.put_instance(name, instance);
        let record = reason.map(|reason| spool.record(name, draft, reason)).transpose()?;
        spool.close()?;
        target.known = Some(found);
        target.bytes = Some(*digest);
        target.last_record_ms = record.as_ref().map(|record| record.timestamp_ms).or(last_record_ms);
        Ok(match record {
            Some(record) => {
                let version_assumed = observation.version.origin == VersionOrigin::Assumed;
                LookOutcome::Recorded(Box::new(Recorded::new(&record, version_assumed)))
            }
            None => LookOutcome::Unchanged {
                name: name.clone(),
                introduction: Some(Introduction::new(pin.id, observation)),
            },
        })
    }

    /// The outcome of a look that would find nothing to record and nothing to note, if the snapshot
    /// shows that.
    fn as_in_snapshot(
        &self,
        options: &LookOptions<'_>,
        target: &mut Target,
        seen: &Seen,
        report: &Reportable,
    ) -> Option<LookOutcome> {
        let Seen { observation, name, .. } = seen;
        let instance = options.snapshot?.instances.get(name)?;
        let pin = instance.pin.clone().filter(|pin| pin.fixed || !self.ids.improve_on(pin.readable))?;
        let draft = self.draft(observation, report, pin.id.clone());
        let after =
            after_look(instance.clone(), target, observation, CollectingStatus::collecting(observation));
        if instance.paused || *instance != after || instance.last_digest != Some(draft.digest()) {
            return None;
        }
        target.early_pin = pin.readable.filter(|_| !pin.fixed);
        target.last_record_ms = instance.last_record_ms;
        Some(LookOutcome::Unchanged {
            name: name.clone(),
            introduction: Some(Introduction::new(pin.id, observation)),
        })
    }

    /// Notes that nothing is collected, and erases what is unsent if consent was withdrawn.
    ///
    /// The snapshot suffices for a withdrawn consent as well: the note follows the erasure, so an
    /// instance that has it has no records from before, and a later record would have replaced it.
    pub(super) fn not_collecting(
        &self,
        options: &LookOptions<'_>,
        target: &mut Target,
        seen: &Seen,
        why: &str,
        withdrawn: bool,
    ) -> Result<LookOutcome, SpoolError> {
        let Seen { observation, name, digest } = seen;
        let folder = options.folder;
        let found = digest_of(observation, None);
        let status = CollectingStatus::not_collecting(why);
        target.last_record_ms = None;
        if target.known == Some(found) || is_noted(options, target, seen, &status) {
            target.unconfirmed_since = None;
            target.known = Some(found);
            target.bytes = Some(*digest);
            return Ok(not_collecting(name, why, 0));
        }
        // Without a spool there is nothing to erase and nothing to note.
        if !folder.exists() {
            return Ok(not_collecting(name, why, 0));
        }
        let now_ms = clock::now_ms();
        let mut spool = if withdrawn { folder.open_to_release(now_ms)? } else { folder.open(now_ms)? };
        let mut erased = 0;
        if withdrawn {
            let instances = spool.instances().clone();
            for key in keys_of(&instances, target, Some(&observation.service)) {
                erased += erase(&mut spool, &key)?;
            }
        }
        let instance = spool.instance(name).unwrap_or_default();
        spool.put_instance(name, after_look(instance, target, observation, status));
        spool.close()?;
        target.known = Some(found);
        target.bytes = Some(*digest);
        Ok(not_collecting(name, why, erased))
    }
}

/// Whether the snapshot shows that the status was noted already.
fn is_noted(options: &LookOptions<'_>, target: &Target, seen: &Seen, status: &CollectingStatus) -> bool {
    let instance = options.snapshot.and_then(|snapshot| snapshot.instances.get(&seen.name));
    let after = |it: &Instance| after_look(it.clone(), target, &seen.observation, status.clone());
    instance.is_some_and(|instance| *instance == after(instance))
}

fn not_collecting(name: &str, why: &str, erased: u64) -> LookOutcome {
    LookOutcome::NotCollecting { name: name.to_owned(), why: why.to_owned(), erased }
}

//! The service: the loop that reads files and dispatches looks.
//!
//! The loop compares bytes, and nothing more. Anything beyond that, to parse a document or to open
//! the spool, is done by a [`worker`], one at a time, for all instances that are due. So a service
//! that has nothing to do costs nothing.
//!
//! - [`look`] holds the request to a worker, the worker's side, and its messages.
//! - `dispatch` starts workers and applies their results.
//! - `watched` reads the files of an instance, and those of the settings.
//! - `spool_watch` notices a spool that was restored, exchanged or removed.
//! - [`forwarder`] is the loop around forwarding, on a thread of its own: a slow network never
//!   delays a record. The two loops meet in the spool only.
//!
//! Invariants:
//! - Nothing is held while waiting: no spool, no config file.
//! - One bad instance never stops or delays the others, and a spool that cannot be used now is
//!   tried again later.
//! - The path to a file is watched before the file is read, so no change is missed in between.
//! - While a worker runs nothing else looks. Files that become due meanwhile are read when it has
//!   ended. However it ends, the instances whose result is missing are looked at again.
//! - Between events and polls nothing wakes up.
//!
//! The settings are watched like an instance: when their bytes change, the loop ends, and the
//! caller decides. If the new settings are no good, the caller runs the loop again.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::collect::{Ids, LookOutcome, Target, UnreadableFiles};
use crate::settings::SettingsInputs;
use crate::watch::WatchOptions;
use crate::watch::events::Events;
use crate::watch::settle::Settling;
use crate::watch::watched::Watched;
use dispatch::RunningWorker;
use look::{Fault, FaultKind, Look, LookConfig};
use spool_watch::SpoolWatch;
use watched::{WatchedInstance, WatchedSettings};
use worker::Program;

mod dispatch;
pub mod forwarder;
pub mod look;
mod spool_watch;
mod watched;
pub mod worker;

/// What wakes the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something is due earlier than before, or a worker has sent a message.
    Due,
    /// The settings have to be read again.
    Reload,
    Stop,
}

/// Why the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    Stopped,
    /// The settings have to be read again.
    Reload {
        /// Somebody asked for it; otherwise the files changed.
        asked: bool,
    },
    /// The spool could not be used when it was needed first.
    SpoolUnusable(Fault),
}

/// Shows what the service does.
pub trait Reporter {
    /// A look was made. Not called for files that cannot be read, or that await confirmation.
    fn outcome(&mut self, outcome: &LookOutcome);
    /// The files of an instance could not be read for some time.
    fn unreadable(&mut self, files: &UnreadableFiles);
    /// The files of an instance can be read again.
    fn readable_again(&mut self, name: &str);
    /// Looks have failed for some time; they are tried again.
    fn looks_fail(&mut self, fault: &Fault);
    /// Looks succeed again.
    fn looks_succeed(&mut self);
}

/// A service that runs, or is about to.
pub struct ServiceLoop {
    program: Program,
    config: LookConfig,
    watch: WatchOptions,
    instances: Vec<WatchedInstance>,
    settings: WatchedSettings,
    spool: SpoolWatch,
    events: Events,
    settling: Arc<Mutex<Settling>>,
    sender: Sender<Wake>,
    worker: Option<RunningWorker>,
    /// Whether the spool has been opened, successfully or not.
    spool_tried: bool,
    began: Instant,
    next_poll: Duration,
}

impl ServiceLoop {
    /// A service of the settings that were read from `inputs` when their bytes had the digest
    /// `in_force`. It wakes itself through `sender`.
    pub fn new(
        program: Program,
        config: LookConfig,
        watch: WatchOptions,
        (inputs, in_force): (SettingsInputs, [u8; 32]),
        targets: Vec<Target>,
        sender: Sender<Wake>,
    ) -> ServiceLoop {
        let began = Instant::now();
        let settling = Arc::new(Mutex::new(Settling::new(watch.settle)));
        let (touched, woken) = (Arc::clone(&settling), sender.clone());
        let events = Events::new(move |all| {
            let now = began.elapsed();
            let mut settling = lock(&touched);
            let is_earlier = all.into_iter().fold(false, |any, watched| settling.touch(watched, now) | any);
            if is_earlier {
                // The receiver is gone only when the service ends.
                _ = woken.send(Wake::Due);
            }
        });
        ServiceLoop {
            program,
            config,
            watch,
            instances: targets.into_iter().map(WatchedInstance::new).collect(),
            settings: WatchedSettings::new(inputs, in_force),
            spool: SpoolWatch::default(),
            events,
            settling,
            sender,
            worker: None,
            spool_tried: false,
            began,
            next_poll: Duration::ZERO,
        }
    }

    /// Runs until it is asked for something else, or the settings change.
    pub fn run(&mut self, receiver: &Receiver<Wake>, reporter: &mut dyn Reporter) -> ExitReason {
        loop {
            if let Break(reason) = self.step(receiver, reporter) {
                return reason;
            }
        }
    }

    fn step(&mut self, receiver: &Receiver<Wake>, reporter: &mut dyn Reporter) -> ControlFlow<ExitReason> {
        self.receive(reporter)?;
        if self.worker.is_none() {
            self.round(receiver, reporter)?;
        }
        let woken = match self.worker {
            Some(_) => receiver.recv().map_err(RecvTimeoutError::from),
            None => receiver.recv_timeout(self.next_due().saturating_sub(self.began.elapsed())),
        };
        match woken {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => Break(ExitReason::Stopped),
            Ok(Wake::Reload) => Break(ExitReason::Reload { asked: true }),
            Ok(Wake::Due) | Err(RecvTimeoutError::Timeout) => Continue(()),
        }
    }

    /// Has a worker check that the spool can be used, and waits for it. A full disk may have room
    /// again later, so it is no error here.
    pub fn try_spool(&mut self) -> Result<(), Fault> {
        self.spool_tried = true;
        look::try_spool(&self.program, &self.config).or_else(|fault| match fault.kind {
            FaultKind::Full => Ok(()),
            _ => Err(fault),
        })
    }

    /// Reads everything that is due, once, and dispatches the looks that follow.
    fn round(&mut self, receiver: &Receiver<Wake>, reporter: &mut dyn Reporter) -> ControlFlow<ExitReason> {
        let now = self.began.elapsed();
        let is_poll = now >= self.next_poll;
        if is_poll {
            self.next_poll = now + self.watch.poll;
            self.events.begin_pass();
            self.compare_spool();
        }
        let mut looks = Vec::new();
        let (mut asked, mut changed) = (false, false);
        for watched in self.due(now, is_poll) {
            match receiver.try_recv() {
                Ok(Wake::Stop) => return Break(ExitReason::Stopped),
                Ok(Wake::Reload) => asked = true,
                Ok(Wake::Due) | Err(_) => {}
            }
            match watched {
                Watched::Instance(index) => looks.extend(self.read_instance(index, is_poll, reporter)),
                Watched::Settings => changed = self.settings_changed(is_poll),
            }
        }
        if is_poll {
            self.events.end_pass();
        }
        if !looks.is_empty() {
            self.dispatch(looks, reporter);
        }
        match asked || changed {
            true => Break(ExitReason::Reload { asked }),
            false => Continue(()),
        }
    }

    /// Compares the spool with the one that the last looks were made for. If it is another, or has
    /// changed, every instance is compared with it anew.
    fn compare_spool(&mut self) {
        // A stamp that cannot be read for a moment is no reason for a look.
        let Ok(stamp) = self.config.folder.stamp() else { return };
        if self.spool.differs(stamp) {
            self.instances.iter_mut().for_each(WatchedInstance::forget_spool);
        }
    }

    fn next_due(&self) -> Duration {
        lock(&self.settling).next_due().map_or(self.next_poll, |due| due.min(self.next_poll))
    }

    /// Takes note that the settings were read anew and are no good; those in force stay in force.
    /// Returns whether to say so: not at once, as the file may be half written.
    pub fn settings_refused(&mut self, why: &str) -> bool {
        let failure = self.settings.retry.failed(why, self.watch.settle, self.watch.poll);
        self.plan(Watched::Settings, failure.wait);
        failure.report
    }

    /// Takes note that the settings were read anew from bytes with this digest, and mean the same.
    pub fn settings_unchanged(&mut self, in_force: [u8; 32]) {
        self.settings.in_force = in_force;
    }

    /// What has to be read: what is due, and at a poll everything that is not being written now.
    fn due(&self, now: Duration, is_poll: bool) -> Vec<Watched> {
        let mut settling = lock(&self.settling);
        let due = settling.due(now);
        let all = (0..self.instances.len()).map(Watched::Instance).chain([Watched::Settings]);
        match is_poll {
            true => all.filter(|watched| !settling.is_busy(*watched)).collect(),
            false => due,
        }
    }

    /// Reads the files of an instance. Returns the look that they need, if any.
    fn read_instance(&mut self, index: usize, is_poll: bool, reporter: &mut dyn Reporter) -> Option<Look> {
        match self.instances[index].read(index, &mut self.events, is_poll) {
            Some(digest) => self.look_needed(index, digest, reporter),
            None => {
                self.touch(Watched::Instance(index));
                None
            }
        }
    }

    /// The look that an instance needs; `None` if its files hold the bytes of the last one, and all
    /// that followed from them still holds.
    fn look_needed(&mut self, index: usize, digest: [u8; 32], reporter: &mut dyn Reporter) -> Option<Look> {
        let WatchedInstance { target, read_retry, unreadable, .. } = &mut self.instances[index];
        let note_unreadable = read_retry.next_failure_lasts();
        let known = unreadable.as_ref().filter(|it| it.digest == digest && (it.noted || !note_unreadable));
        if let Some(files) = known.cloned() {
            self.files_unreadable(index, files, reporter);
            return None;
        }
        let ids = Ids { source: self.config.system_id };
        if target.is_unmodified(&digest, self.config.ask(), &ids) {
            target.drop_confirmation();
            self.apply_outcome(index, LookOutcome::Unmodified, reporter);
            return None;
        }
        Some(Look { index, target: target.clone(), note_unreadable })
    }

    /// Whether the files of the settings hold other bytes than those in force.
    fn settings_changed(&mut self, is_poll: bool) -> bool {
        let Some(changed) = self.settings.read(&mut self.events, is_poll) else {
            self.touch(Watched::Settings);
            return false;
        };
        if !changed && self.settings.retry.succeeded() {
            tracing::info!("the settings file is again as it is applied");
        }
        changed
    }

    /// Has something read once more after the settle time, as if an event had announced it.
    fn touch(&self, watched: Watched) {
        lock(&self.settling).touch(watched, self.began.elapsed());
    }

    fn plan(&self, watched: Watched, wait: Duration) {
        lock(&self.settling).plan(watched, self.began.elapsed(), wait);
    }
}

/// A half-finished change that a panic left is at worst a read too many, or one that waits for the
/// poll.
fn lock(settling: &Mutex<Settling>) -> MutexGuard<'_, Settling> {
    settling.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The loop that joins the detect stage with looking and recording.
//!
//! It compares bytes, and nothing more. Whatever takes more, to read a document or to open the spool, is done by a [`Worker`](crate::worker::Worker), one at a
//! time, for all targets that are due. So a service that has nothing to do costs nothing.
//!
//! Forwarding has a loop of its own ([`crate::forwarder`]): a slow network never delays a record.
//!
//! Invariants:
//! - Nothing is held while waiting: no spool, no config file.
//! - One bad instance never stops or delays the others, and a spool that cannot be used now is tried again later.
//! - The way to a file is watched before the file is read, so nothing falls between.
//! - While a worker is under way nobody else looks; what becomes due meanwhile is looked at when it has ended. However it ends, what it did
//!   not tell of is looked at again.
//! - Between events and polls nothing wakes up.
//!
//! The settings are one more target: when their bytes change, the loop ends, and whoever runs it decides what becomes of it. If
//! nothing does, since they are no good, it is simply run again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::collect::Ids;
use crate::look::{self, Came, Fault, FaultKind, Held, Look, Means};
use crate::record::sources::{self, Sources};
use crate::settings::Inputs;
use crate::target::Target;
use crate::watch::WatchOptions;
use crate::watch::events::{Events, Place};
use crate::watch::patience::Patience;
use crate::watch::rest::Rest;
use crate::watch::settle::Settling;
use crate::worker::Program;

mod looking;

use looking::Looking;

/// What wakes the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A target is due earlier than it was, or a worker has told something.
    Due,
    /// Somebody asks to read the settings anew.
    Reload,
    /// Stop.
    Stop,
}

/// Why the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Somebody asked to stop.
    Stop,
    /// The settings are to be read anew, since somebody asked or since they changed.
    Reload {
        /// Somebody asked.
        asked: bool,
    },
    /// The spool could not be used when it was needed first.
    Unusable(Fault),
}

/// Told to whoever shows it.
pub trait Screen {
    /// A look came to this.
    fn came(&mut self, came: &Came);
    /// An instance, or the file of one without a name, could not be read for some time.
    fn held(&mut self, held: &Held);
    /// It can be read again.
    fn healed(&mut self, name: &str);
    /// Looks could not be made for some time; they are tried again.
    fn failed(&mut self, fault: &Fault);
    /// They can be made again.
    fn works(&mut self);
}

/// A service that runs, or is about to.
pub struct Service {
    program: Program,
    means: Means,
    watch: WatchOptions,
    inputs: Inputs,
    /// The bytes of the settings that are in force.
    in_force: [u8; 32],
    targets: Vec<Target>,
    troubles: Vec<Troubles>,
    events: Events,
    settling: Arc<Mutex<Settling>>,
    sender: Sender<Wake>,
    looking: Option<Looking>,
    /// It was used, or tried.
    spool_tried: bool,
    began: Instant,
    next_poll: Duration,
}

/// What does not work for a target, and what is not believed of it yet.
#[derive(Default)]
struct Troubles {
    rest: Rest,
    file: Patience,
    spool: Patience,
    held: Option<Held>,
}

impl Service {
    /// A service of the settings that were read from `inputs` when they held the bytes `in_force`. Wakes itself through `sender`.
    pub fn new(
        program: Program,
        means: Means,
        watch: WatchOptions,
        (inputs, in_force): (Inputs, [u8; 32]),
        targets: Vec<Target>,
        sender: Sender<Wake>,
    ) -> Service {
        let began = Instant::now();
        let settling = Arc::new(Mutex::new(Settling::new(watch.settle)));
        let (touched, woken) = (Arc::clone(&settling), sender.clone());
        let events = Events::new(move |targets| {
            let now = began.elapsed();
            let mut settling = lock(&touched);
            let is_earlier = targets.into_iter().fold(false, |any, target| settling.touch(target, now) | any);
            if is_earlier {
                // The receiver is gone only when the service ends.
                _ = woken.send(Wake::Due);
            }
        });
        // One more, for the settings.
        let troubles = (0..=targets.len()).map(|_| Troubles::default()).collect();
        Service {
            program,
            means,
            watch,
            inputs,
            in_force,
            targets,
            troubles,
            events,
            settling,
            sender,
            looking: None,
            spool_tried: false,
            began,
            next_poll: Duration::ZERO,
        }
    }

    /// Runs until somebody asks for something else, or the settings change.
    pub fn run(&mut self, receiver: &Receiver<Wake>, screen: &mut dyn Screen) -> Left {
        loop {
            if let Some(fault) = self.hear(screen) {
                return Left::Unusable(fault);
            }
            if self.looking.is_none()
                && let Some(left) = self.round(receiver, screen)
            {
                return left;
            }
            let woken = match self.looking {
                Some(_) => receiver.recv().map_err(RecvTimeoutError::from),
                None => receiver.recv_timeout(self.next_due().saturating_sub(self.began.elapsed())),
            };
            match woken {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return Left::Stop,
                Ok(Wake::Reload) => return Left::Reload { asked: true },
                Ok(Wake::Due) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Has a worker see whether the spool can be used, and waits for it. A full disk may have room again later.
    pub fn try_spool(&mut self) -> Result<(), Fault> {
        self.spool_tried = true;
        look::try_spool(&self.program, &self.means).or_else(|fault| match fault.kind {
            FaultKind::Full => Ok(()),
            _ => Err(fault),
        })
    }

    /// Everybody who is due, once.
    fn round(&mut self, receiver: &Receiver<Wake>, screen: &mut dyn Screen) -> Option<Left> {
        let now = self.began.elapsed();
        let is_pass = now >= self.next_poll;
        if is_pass {
            self.next_poll = now + self.watch.poll;
            self.events.begin_pass();
        }
        let mut looks = Vec::new();
        let (mut asked, mut changed) = (false, false);
        for number in self.due(now, is_pass) {
            match receiver.try_recv() {
                Ok(Wake::Stop) => return Some(Left::Stop),
                Ok(Wake::Reload) => asked = true,
                Ok(Wake::Due) | Err(_) => {}
            }
            let bytes = self.read(number);
            if self.stirs(number, is_pass, bytes) {
                continue;
            }
            match self.targets.get(number) {
                Some(_) => looks.extend(self.look_needed(number, bytes, screen)),
                None => changed = self.settings_changed(number, bytes),
            }
        }
        if is_pass {
            self.events.end_pass();
        }
        if !looks.is_empty() {
            self.send(looks, screen);
        }
        (asked || changed).then_some(Left::Reload { asked })
    }

    fn next_due(&self) -> Duration {
        lock(&self.settling).next_due().map_or(self.next_poll, |due| due.min(self.next_poll))
    }

    /// The settings were read anew and are no good; those in force stay in force. Tells whether that is to be said: not at once, as they may be
    /// half written.
    pub fn refuse(&mut self, why: &str) -> bool {
        let number = self.targets.len();
        let failed = self.troubles[number].file.failed(why, self.watch.settle, self.watch.poll);
        self.plan(number, failed.wait);
        failed.say
    }

    /// The settings were read anew, when they held these bytes, and say what they said before.
    pub fn keep(&mut self, in_force: [u8; 32]) {
        self.in_force = in_force;
    }

    /// Who is to be looked at: those that are due, and in a pass everybody but who is being written to in this moment.
    fn due(&self, now: Duration, is_pass: bool) -> Vec<usize> {
        let mut settling = lock(&self.settling);
        let due = settling.due(now);
        match is_pass {
            true => (0..=self.targets.len()).filter(|number| !settling.is_restless(*number)).collect(),
            false => due,
        }
    }

    /// The digest of what a target's files hold, once the way to them is watched.
    fn read(&mut self, number: usize) -> [u8; 32] {
        match self.targets.get(number) {
            Some(Target { subject, .. }) => {
                let places: Vec<Place> = sources::places(subject).into_iter().map(Place::File).collect();
                self.events.follow(number, &places);
                Sources::read(subject).digest
            }
            None => {
                let files = self.inputs.files().map(|file| Place::File(file.to_owned()));
                let folders = self.inputs.folders().map(|folder| Place::Folder(folder.to_owned()));
                self.events.follow(number, &files.chain(folders).collect::<Vec<_>>());
                self.inputs.digest()
            }
        }
    }

    /// Whether a poll found something that may not be all of it yet. Then it is looked at again after a while, as if it had been touched.
    fn stirs(&mut self, number: usize, is_pass: bool, bytes: [u8; 32]) -> bool {
        let rest = &mut self.troubles[number].rest;
        if !is_pass && rest.is_calm() {
            return false;
        }
        let is_news = match self.targets.get(number) {
            Some(target) => target.is_other_than(&bytes),
            None => bytes != self.in_force,
        };
        let stirs = rest.stirs(bytes, is_news);
        if stirs {
            lock(&self.settling).touch(number, self.began.elapsed());
        }
        stirs
    }

    fn settings_changed(&mut self, number: usize, bytes: [u8; 32]) -> bool {
        let changed = bytes != self.in_force;
        if !changed && self.troubles[number].file.healed() {
            tracing::info!("the settings file is again as it is applied");
        }
        changed
    }

    /// The look that a target needs; none if its files hold the bytes of the last one, and all that followed from them still holds.
    fn look_needed(&mut self, number: usize, bytes: [u8; 32], screen: &mut dyn Screen) -> Option<Look> {
        let (target, troubles) = (&mut self.targets[number], &self.troubles[number]);
        let lasts = troubles.file.is_at_its_end();
        let as_held = troubles.held.as_ref().filter(|held| held.bytes == bytes && (held.noted || !lasts));
        if let Some(held) = as_held.cloned() {
            self.held(number, held, screen);
            return None;
        }
        let ids = Ids { source: self.means.system_id };
        if target.is_as_before(&bytes, self.means.ask(), &ids) {
            target.doubted = None;
            self.came(number, Came::AsBefore, screen);
            return None;
        }
        Some(Look { number, target: target.clone(), lasts })
    }

    fn plan(&self, number: usize, wait: Duration) {
        lock(&self.settling).plan(number, self.began.elapsed(), wait);
    }
}

/// What a panic elsewhere left half changed is at worst a look too many, or one that waits for the poll.
fn lock(settling: &Mutex<Settling>) -> MutexGuard<'_, Settling> {
    settling.lock().unwrap_or_else(PoisonError::into_inner)
}

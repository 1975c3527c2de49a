//! The loop that joins the detect stage with looking and recording.
//!
//! Forwarding has a loop of its own ([`crate::forwarder`]): a slow network never delays a record.
//!
//! Invariants:
//! - Nothing is held while waiting: no spool, no config file.
//! - One bad instance never stops or delays the others, and a spool that cannot be used now is tried again later.
//! - The way to a file is watched before the file is read, so nothing falls between.
//! - Between events and polls nothing wakes up.
//!
//! The settings are one more target: when their bytes change, the loop ends, and whoever runs it decides what becomes of it. If
//! nothing does, since they are no good, it is simply run again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::collect::{Ask, Collector, Looked};
use crate::record::observe::ObserveError;
use crate::record::sources::{self, Sources};
use crate::settings::{Settings, Source};
use crate::spool::{SpoolError, SpoolFolder};
use crate::target::Target;
use crate::watch::events::{Events, Place};
use crate::watch::patience::Patience;
use crate::watch::rest::Rest;
use crate::watch::settle::Settling;

/// What wakes the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A target is due earlier than it was.
    Due,
    /// Somebody asks to read the settings anew.
    Reload,
    /// Stop.
    Stop,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Somebody asked to stop.
    Stop,
    /// The settings are to be read anew, since somebody asked or since they changed.
    Reload {
        /// Somebody asked.
        asked: bool,
    },
}

/// Told to whoever shows it.
pub trait Screen {
    /// A look came to this.
    fn looked(&mut self, looked: &Looked);
    /// An instance, or the file of one without a name, could not be read for some time.
    fn held(&mut self, name: &str, error: &ObserveError);
    /// It can be read again.
    fn healed(&mut self, name: &str);
    /// The spool could not be used for some time; it is tried again.
    fn spool_failed(&mut self, error: &SpoolError);
    /// The spool can be used.
    fn spool_works(&mut self);
}

/// A service that runs, or is about to.
pub struct Service {
    collector: Arc<Collector>,
    folder: SpoolFolder,
    settings: Settings,
    source: Source,
    /// The bytes of the settings that are in force.
    in_force: [u8; 32],
    targets: Vec<Target>,
    troubles: Vec<Troubles>,
    events: Events,
    settling: Arc<Mutex<Settling>>,
    began: Instant,
    next_poll: Duration,
}

/// What does not work for a target, and what is not believed of it yet.
#[derive(Default)]
struct Troubles {
    rest: Rest,
    file: Patience,
    spool: Patience,
}

impl Service {
    /// A service of the settings that were read from `source` when it held the bytes `in_force`. Wakes itself through `sender`.
    pub fn new(
        collector: Arc<Collector>,
        folder: SpoolFolder,
        settings: Settings,
        (source, in_force): (Source, [u8; 32]),
        targets: Vec<Target>,
        sender: Sender<Wake>,
    ) -> Service {
        let began = Instant::now();
        let settling = Arc::new(Mutex::new(Settling::new(settings.watch.settle)));
        let touched = Arc::clone(&settling);
        let events = Events::new(move |targets| {
            let now = began.elapsed();
            let mut settling = lock(&touched);
            let is_earlier = targets.into_iter().fold(false, |any, target| settling.touch(target, now) | any);
            if is_earlier {
                // The receiver is gone only when the service ends.
                _ = sender.send(Wake::Due);
            }
        });
        // One more, for the settings.
        let troubles = (0..=targets.len()).map(|_| Troubles::default()).collect();
        let next_poll = Duration::ZERO;
        Service {
            collector,
            folder,
            settings,
            source,
            in_force,
            targets,
            troubles,
            events,
            settling,
            began,
            next_poll,
        }
    }

    /// Runs until somebody asks for something else, or the settings change.
    pub fn run(&mut self, receiver: &Receiver<Wake>, screen: &mut dyn Screen) -> Left {
        loop {
            let now = self.began.elapsed();
            let is_pass = now >= self.next_poll;
            if is_pass {
                self.next_poll = now + self.settings.watch.poll;
                self.events.begin_pass();
            }
            let mut changed = false;
            let mut asked = false;
            for number in self.due(now, is_pass) {
                match receiver.try_recv() {
                    Ok(Wake::Stop) => return Left::Stop,
                    Ok(Wake::Reload) => asked = true,
                    Ok(Wake::Due) | Err(_) => {}
                }
                // The settings come last: an instance that is looked at now is not looked at again for their sake.
                if self.stirs(number, is_pass) {
                    continue;
                }
                match self.targets.get(number) {
                    Some(_) => self.look_at(number, screen),
                    None => changed = self.settings_changed(number),
                }
            }
            if is_pass {
                self.events.end_pass();
            }
            if asked || changed {
                return Left::Reload { asked };
            }
            let next = lock(&self.settling).next_due().map_or(self.next_poll, |due| due.min(self.next_poll));
            match receiver.recv_timeout(next.saturating_sub(self.began.elapsed())) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return Left::Stop,
                Ok(Wake::Reload) => return Left::Reload { asked: true },
                Ok(Wake::Due) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The settings were read anew and are no good; those in force stay in force. Tells whether that is to be said: not at once, as they may be
    /// half written.
    pub fn refuse(&mut self, why: &str) -> bool {
        let number = self.targets.len();
        let watch = &self.settings.watch;
        let failed = self.troubles[number].file.failed(why, watch.settle, watch.poll);
        lock(&self.settling).plan(number, self.began.elapsed(), failed.wait);
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

    /// Whether a poll found something that may not be all of it yet. Then it is looked at again after a while, as if it had been touched.
    fn stirs(&mut self, number: usize, is_pass: bool) -> bool {
        let rest = &mut self.troubles[number].rest;
        if !is_pass && rest.is_calm() {
            return false;
        }
        let (bytes, is_news) = match self.targets.get(number) {
            Some(target) => {
                let bytes = Sources::read(&target.subject).digest;
                (bytes, target.is_other_than(&bytes))
            }
            None => {
                let bytes = self.source.digest();
                (bytes, bytes != self.in_force)
            }
        };
        let stirs = rest.stirs(bytes, is_news);
        if stirs {
            lock(&self.settling).touch(number, self.began.elapsed());
        }
        stirs
    }

    fn settings_changed(&mut self, number: usize) -> bool {
        self.events.follow(number, &self.source.places());
        let changed = self.source.digest() != self.in_force;
        if !changed && self.troubles[number].file.healed() {
            tracing::info!("the settings file is again as it is applied");
        }
        changed
    }

    fn look_at(&mut self, number: usize, screen: &mut dyn Screen) {
        let places = sources::places(&self.targets[number].subject).into_iter().map(Place::File);
        self.events.follow(number, &places.collect::<Vec<_>>());
        let interval = self.settings.record.interval;
        let ask = interval.map_or(Ask::Difference, Ask::Interval);
        let wait = match self.collector.glance(&self.folder, &mut self.targets[number], ask) {
            Ok(Looked::Doubted(wait)) => {
                tracing::debug!(target = number, "consent seems to be withdrawn, and is read once more");
                Some(wait)
            }
            Ok(Looked::Held { name, error }) => Some(self.held(number, &name, &error, screen)),
            Err(error) => Some(self.spool_failed(number, &error, screen)),
            Ok(looked) => {
                if matches!(looked, Looked::AsBefore) {
                    tracing::trace!(target = number, "the files are as they were");
                }
                self.worked(number, &looked, screen);
                interval.and_then(|interval| self.targets[number].due_in(interval, clock::now_ms()))
            }
        };
        if let Some(wait) = wait {
            lock(&self.settling).plan(number, self.began.elapsed(), wait);
        }
    }

    fn worked(&mut self, number: usize, looked: &Looked, screen: &mut dyn Screen) {
        let troubles = &mut self.troubles[number];
        if troubles.file.healed() {
            screen.healed(&self.targets[number].held_name());
        }
        if !matches!(looked, Looked::AsBefore) && troubles.spool.healed() {
            screen.spool_works();
        }
        screen.looked(looked);
    }

    /// When to look again at a file that cannot be read.
    fn held(&mut self, number: usize, name: &str, error: &ObserveError, screen: &mut dyn Screen) -> Duration {
        let watch = &self.settings.watch;
        let failed = self.troubles[number].file.failed(&error.to_string(), watch.settle, watch.poll);
        if failed.lasts
            && let Err(error) = self.collector.hold(&self.folder, &mut self.targets[number], error)
        {
            tracing::debug!(instance = name, "cannot be noted for `status`: {error}");
        }
        if failed.say {
            screen.held(name, error);
        } else if !failed.lasts {
            tracing::debug!(instance = name, "cannot be read now, and is tried again: {error}");
        }
        failed.wait
    }

    /// When to try again to use the spool.
    fn spool_failed(&mut self, number: usize, error: &SpoolError, screen: &mut dyn Screen) -> Duration {
        let watch = &self.settings.watch;
        let failed = self.troubles[number].spool.failed(&error.to_string(), watch.settle, watch.poll);
        if failed.say {
            screen.spool_failed(error);
        }
        failed.wait
    }
}

/// What a panic elsewhere left half changed is at worst a look too many, or one that waits for the poll.
fn lock(settling: &Mutex<Settling>) -> MutexGuard<'_, Settling> {
    settling.lock().unwrap_or_else(PoisonError::into_inner)
}

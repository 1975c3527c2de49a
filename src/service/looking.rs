//! What the service has a worker look at, and what it makes of what that tells.
//!
//! Why patience stands here and not with the worker: that a file cannot be read, or that looks cannot be made, is worth a word only once it has
//! lasted, and no worker lives that long.

use std::borrow::Cow;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::{Screen, Service, Wake};
use crate::clock;
use crate::look::{self, Came, Fault, FaultKind, Held, Look, Order, Told};
use crate::target::Target;
use crate::worker::{Heard, Worker};

/// How long a service that stops waits for a worker that is under way.
const PATIENCE_AT_STOP: Duration = Duration::from_millis(700);

/// A worker under way.
pub(super) struct Looking {
    worker: Worker<Told>,
    /// The targets of which it did not tell yet, in the order in which it looks.
    untold: Vec<usize>,
}

impl Service {
    /// Ends a worker that is under way, after a moment in which it may come to an end by itself. What it told counts.
    pub fn stop(mut self, screen: &mut dyn Screen) {
        if let Some(looking) = self.looking.take() {
            for told in looking.worker.end(PATIENCE_AT_STOP) {
                if let Told::Look { number, target, came } = told {
                    self.take(number, *target, came, screen);
                }
            }
        }
    }

    /// Has a worker make these looks.
    pub(super) fn send(&mut self, looks: Vec<Look>, screen: &mut dyn Screen) {
        let untold: Vec<usize> = looks.iter().map(|look| look.number).collect();
        let order = Order { means: Cow::Borrowed(&self.means), looks: Cow::Owned(looks) };
        let sender = self.sender.clone();
        // The receiver is gone only when the service ends.
        let ring = move || _ = sender.send(Wake::Due);
        match Worker::start(&self.program, look::COMMAND, &order, ring) {
            Ok(worker) => self.looking = Some(Looking { worker, untold }),
            Err(error) => {
                let fault = Fault::worker(format!("the process that looks cannot be started: {error}"));
                untold.into_iter().for_each(|number| self.failed(number, &fault, screen));
            }
        }
    }

    /// Takes in what a worker has told since the last time. Tells that the spool cannot be used, if nobody has used it yet.
    pub(super) fn hear(&mut self, screen: &mut dyn Screen) -> Option<Fault> {
        while let Some(looking) = &mut self.looking {
            match looking.worker.hear() {
                Heard::Nothing => break,
                Heard::Told(Told::Look { number, target, came }) => {
                    self.spool_tried = true;
                    looking.untold.retain(|untold| *untold != number);
                    self.take(number, *target, came, screen);
                }
                Heard::Told(Told::Spool(Ok(()))) => {}
                Heard::Told(Told::Spool(Err(fault))) => {
                    for number in std::mem::take(&mut looking.untold) {
                        self.failed(number, &fault, screen);
                    }
                    if !self.spool_tried && fault.kind != FaultKind::Full {
                        return Some(fault);
                    }
                }
                Heard::Ended(how) => {
                    let untold = self.looking.take().map(|looking| looking.untold).unwrap_or_default();
                    self.broke_off(untold, how, screen);
                }
            }
        }
        None
    }

    /// A worker ended before it told of these.
    fn broke_off(&mut self, untold: Vec<usize>, how: io::Result<ExitStatus>, screen: &mut dyn Screen) {
        let how = how.map_or_else(|error| error.to_string(), |status| status.to_string());
        let fault = Fault::worker(format!("the process that looks ended too early: {how}"));
        let mut untold = untold.into_iter();
        // It was this one's turn. The others do not suffer for what may be its fault.
        if let Some(number) = untold.next() {
            self.failed(number, &fault, screen);
        }
        untold.for_each(|number| self.plan(number, Duration::ZERO));
    }

    fn take(&mut self, number: usize, target: Target, came: Result<Came, Fault>, screen: &mut dyn Screen) {
        self.targets[number] = target;
        match came {
            Ok(came) => self.came(number, came, screen),
            Err(fault) => self.failed(number, &fault, screen),
        }
    }

    pub(super) fn came(&mut self, number: usize, came: Came, screen: &mut dyn Screen) {
        match came {
            Came::Doubted(wait) => {
                tracing::debug!(target = number, "consent seems to be withdrawn, and is read once more");
                self.plan(number, wait);
                return;
            }
            Came::Held(held) => return self.held(number, held, screen),
            Came::AsBefore => match &self.troubles[number].held {
                Some(held) => tracing::debug!(instance = held.name, "nothing that is reported changed"),
                None => tracing::trace!(target = number, "the files are as they were"),
            },
            Came::Recorded { .. } | Came::Unchanged { .. } | Came::Off { .. } => {
                if self.troubles[number].spool.healed() {
                    screen.works();
                }
            }
        }
        let troubles = &mut self.troubles[number];
        troubles.held = None;
        if troubles.file.healed() {
            screen.healed(&self.targets[number].held_name());
        }
        screen.came(&came);
        let target = &mut self.targets[number];
        let due_in = self.means.interval.and_then(|interval| target.due_in(interval, clock::now_ms()));
        if let Some(wait) = due_in {
            self.plan(number, wait);
        }
    }

    /// A file cannot be read: looks at it again later.
    pub(super) fn held(&mut self, number: usize, held: Held, screen: &mut dyn Screen) {
        let troubles = &mut self.troubles[number];
        let failed = troubles.file.failed(&held.why, self.watch.settle, self.watch.poll);
        if failed.say {
            screen.held(&held);
        } else if !failed.lasts {
            tracing::debug!(instance = held.name, "cannot be read now, and is tried again: {}", held.why);
        }
        troubles.held = Some(held);
        self.plan(number, failed.wait);
    }

    /// A look could not be made: tries again later.
    fn failed(&mut self, number: usize, fault: &Fault, screen: &mut dyn Screen) {
        let failed = self.troubles[number].spool.failed(&fault.text, self.watch.settle, self.watch.poll);
        if failed.say {
            screen.failed(fault);
        }
        self.plan(number, failed.wait);
    }
}

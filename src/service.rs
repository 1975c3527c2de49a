//! The loop that joins the detect stage with looking and recording.
//!
//! Forwarding has a loop of its own ([`crate::forwarder`]): a slow network never delays a record.
//!
//! Invariants:
//! - Nothing is held while waiting: no spool, no config file.
//! - One bad instance never stops the others, and a spool that cannot be used now is tried again later.
//! - Between events and polls nothing wakes up.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::clock;
use crate::collect::{Ask, Collector, Looked};
use crate::settings::Settings;
use crate::spool::{SpoolError, SpoolFolder};
use crate::target::Target;
use crate::watch::events::{Events, Touched};
use crate::watch::settle::Settling;

/// How soon a target is looked at again that could not be read or recorded.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is retried that soon; after that the poll is enough.
const RETRIES: u32 = 5;

/// What wakes the loop.
pub enum Wake {
    /// Something happened to these targets.
    Touched(Touched),
    /// Stop.
    Stop,
}

/// Told to whoever shows it.
pub trait Screen {
    /// A look came to this.
    fn looked(&mut self, looked: &Looked);
    /// The spool could not be used; it is tried again.
    fn spool_failed(&mut self, error: &SpoolError);
}

/// A service that is about to run.
pub struct Service<'a> {
    /// Looks and records.
    pub collector: &'a Collector,
    /// The spool.
    pub folder: &'a SpoolFolder,
    /// The settings.
    pub settings: &'a Settings,
    /// The instances.
    pub targets: Vec<Target>,
}

impl Service<'_> {
    /// Runs until [`Wake::Stop`] comes.
    pub fn run(mut self, sender: Sender<Wake>, receiver: &Receiver<Wake>, screen: &mut dyn Screen) {
        let began = Instant::now();
        let mut settling = Settling::new(self.settings.watch.settle);
        let mut failures = vec![0u32; self.targets.len()];
        let mut events = Events::new(self.targets.len(), sender, Wake::Touched);
        let mut next_poll = Duration::ZERO;
        loop {
            let now = began.elapsed();
            if now >= next_poll {
                next_poll = now + self.settings.watch.poll;
                for (number, target) in self.targets.iter().enumerate() {
                    events.watch(number, &target.subject.files);
                }
                let all: Vec<usize> = events.all().iter().copied().collect();
                self.look_at(&all, &mut settling, &mut failures, began, screen);
            }
            let due = settling.due(began.elapsed());
            self.look_at(&due, &mut settling, &mut failures, began, screen);

            let now = began.elapsed();
            let until = settling.next_due().map_or(next_poll, |due| due.min(next_poll));
            match receiver.recv_timeout(until.saturating_sub(now)) {
                Ok(Wake::Touched(targets)) => {
                    let now = began.elapsed();
                    targets.into_iter().for_each(|target| settling.touch(target, now));
                }
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn look_at(
        &mut self,
        targets: &[usize],
        settling: &mut Settling,
        failures: &mut [u32],
        began: Instant,
        screen: &mut dyn Screen,
    ) {
        for &number in targets {
            let ask = self.ask(&self.targets[number]);
            let looked = self.collector.look(self.folder, &mut self.targets[number], ask);
            let failed = matches!(looked, Err(_) | Ok(Looked::Held { .. }));
            match &looked {
                Ok(looked) => screen.looked(looked),
                Err(error) => screen.spool_failed(error),
            }
            failures[number] = if failed { failures[number].saturating_add(1) } else { 0 };
            if failed && failures[number] <= RETRIES {
                settling.retry(number, began.elapsed(), RETRY);
            }
        }
    }

    /// Whether an interval has passed since the instance was last recorded, by the spool's own memory.
    fn ask(&self, target: &Target) -> Ask {
        let Some(interval) = self.settings.record.interval else {
            return Ask::Difference;
        };
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        match target.last_record_ms {
            Some(last) if clock::now_ms().saturating_sub(last) >= interval => Ask::Interval,
            _ => Ask::Difference,
        }
    }
}

//! Forwarding by itself: the loop of `flush.mode: auto`, on a thread of its own.
//!
//! Why a thread: a request may take as long as a bad line wants, and records must not wait for it. The two meet in the spool
//! only. When to try is kept there too, so a restart neither forgets a server's wish for a pause nor starts a rush.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock;
use crate::collect::Collector;
use crate::forward::backoff;
use crate::forward::flush::{self, Caller, Line, random};
use crate::forward::plan::Limits;
use crate::forward::transport::Endpoint;
use crate::forward::verdict::{Outcome, Why};
use crate::forward::wire::Shape;
use crate::spool::{SpoolError, SpoolFolder};
use crate::stop::Stop;
use crate::target::Target;

/// How long a stopping service waits for a request that was aborted.
const PATIENCE_AT_STOP: Duration = Duration::from_millis(1500);

/// What a forwarder works with.
pub struct Forwarding {
    /// The spool.
    pub folder: SpoolFolder,
    /// The host.
    pub endpoint: Arc<Endpoint>,
    /// The shape of a request.
    pub shape: Shape,
    /// Sizes; without patience, since the next run is never far.
    pub limits: Limits,
    /// How often to try.
    pub every: Duration,
    /// Reads consent again before each batch.
    pub collector: Collector,
    /// The instances.
    pub targets: Vec<Target>,
}

/// A forwarder that runs.
pub struct Forwarder {
    thread: JoinHandle<()>,
    endpoint: Arc<Endpoint>,
    stop: Stop,
}

impl Forwarder {
    /// Starts forwarding, until `stop` is set.
    pub fn start(forwarding: Forwarding, stop: Stop) -> std::io::Result<Forwarder> {
        let endpoint = Arc::clone(&forwarding.endpoint);
        let told = stop.clone();
        let thread =
            std::thread::Builder::new().name("forward".into()).spawn(move || forwarding.run(&told))?;
        Ok(Forwarder { thread, endpoint, stop })
    }

    /// Ends the request under way, if there is one, and waits a moment for the thread. A name lookup cannot be interrupted:
    /// then the thread is left behind, and its batch is sent again by the next process.
    pub fn stop(self) {
        self.stop.set();
        self.endpoint.abort();
        let asked = Instant::now();
        while !self.thread.is_finished() && asked.elapsed() < PATIENCE_AT_STOP {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Forwarding {
    fn run(mut self, stop: &Stop) {
        if stop.wait(backoff::at_start(self.every, random())) {
            return;
        }
        let mut said = None;
        loop {
            let wait = match self.attempt(stop, &mut said) {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!("forwarding: {error}");
                    self.every
                }
            };
            if stop.wait(wait) {
                return;
            }
        }
    }

    /// Makes one run if its time has come; tells how long to wait for the next. What keeps records from arriving is logged unless
    /// it was `said` of the run before.
    fn attempt(&mut self, stop: &Stop, said: &mut Option<Why>) -> Result<Duration, SpoolError> {
        if let Some(wait) = self.not_before()? {
            return Ok(wait);
        }
        let line = Line {
            folder: &self.folder,
            endpoint: &self.endpoint,
            shape: self.shape.clone(),
            limits: self.limits,
        };
        let mut consent =
            Consent { collector: &self.collector, folder: &self.folder, targets: &mut self.targets };
        let report = flush::run(&line, &mut consent, stop)?;
        if report.sent > 0 {
            tracing::info!(records = report.sent, remaining = report.remaining, "delivered");
        }
        if report.why != *said && !stop.is_set() {
            if let Some(why) = &report.why {
                tracing::warn!(remaining = report.remaining, "not delivered: {why}");
            }
            *said = report.why;
        }
        match report.outcome {
            Outcome::Empty | Outcome::Drained | Outcome::Limit => Ok(backoff::regular(self.every, random())),
            _ => Ok(self.not_before()?.unwrap_or(self.every)),
        }
    }

    /// How long the spool says to wait, if it does.
    fn not_before(&self) -> Result<Option<Duration>, SpoolError> {
        if !self.folder.exists() {
            return Ok(Some(self.every.min(Duration::from_secs(5))));
        }
        let now_ms = clock::now_ms();
        let mut spool = self.folder.open_to_release(now_ms)?;
        let next = spool.flush_memory().next_attempt_ms;
        spool.close()?;
        let left = next.and_then(|next| u64::try_from(next.saturating_sub(now_ms)).ok());
        Ok(left.filter(|left| *left > 0).map(Duration::from_millis))
    }
}

/// Consent, read again before each batch.
pub struct Consent<'a> {
    /// Looks and erases.
    pub collector: &'a Collector,
    /// The spool.
    pub folder: &'a SpoolFolder,
    /// The instances of the settings.
    pub targets: &'a mut [Target],
}

impl Caller for Consent<'_> {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        Ok(self.collector.held(self.folder, self.targets)?.into_iter().collect())
    }

    fn progress(&mut self, _: u64) {}
}

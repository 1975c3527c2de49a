//! Forwarding by itself: the loop of `flush.mode: auto`, on a thread of its own.
//!
//! Why a thread: a request may take as long as a slow network wants, and records must not wait for
//! it. Each attempt is made by a [`Worker`], which may be killed in the middle of a request: the
//! records on the wire are marked, and go out again with the same uuids. The thread and the service
//! meet in the spool only. The time of the next attempt is kept there too, so a restart neither
//! forgets a server's wish for a pause nor starts a rush.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Wake;
use super::look::LookConfig;
use super::worker::{self, GRACE_PERIOD, Program, Task, Worker, WorkerEvent};
use crate::clock;
use crate::collect::{Collector, Target};
use crate::forward::backoff;
use crate::forward::flush::{self, FlushHooks, FlushTarget, random};
use crate::forward::plan::FlushLimits;
use crate::forward::transport::{Endpoint, EndpointSettings};
use crate::forward::verdict::FlushOutcome;
use crate::forward::wire::RequestOptions;
use crate::spool::{SpoolError, SpoolFolder};

pub const TASK: Task = Task { command: "forward", does: "forwards" };

/// Whatever ends a service may end its children at the same moment. A worker that ends so shortly
/// before a stop did not fail.
const STOP_WINDOW: Duration = Duration::from_millis(200);

/// How often to look for a spool, as long as there is none.
const NO_SPOOL: Duration = Duration::from_secs(5);

/// What an attempt needs; the request to a worker. Holds the project's key, so it is never printed.
#[derive(Clone, Serialize, Deserialize)]
pub struct ForwardConfig {
    /// The spool, and what is needed to read consent again before each batch.
    pub look: LookConfig,
    pub endpoint: EndpointSettings,
    pub request: RequestOptions,
    /// Sizes. Without patience, since the next run is never far.
    pub limits: FlushLimits,
    /// Interval between attempts.
    pub every: Duration,
    pub targets: Vec<Target>,
}

/// The result of an attempt; the message of a worker.
#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    /// `None` if its time had not come.
    run: Option<RunSummary>,
    /// Wait before the next one.
    wait: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
struct RunSummary {
    sent: u64,
    remaining: u64,
    /// What keeps records from arriving.
    why: Option<String>,
}

/// A forwarder that runs.
pub struct Forwarder {
    thread: JoinHandle<()>,
    sender: Sender<Wake>,
}

impl Forwarder {
    /// Starts forwarding, until it is stopped.
    pub fn start(program: Program, config: ForwardConfig) -> io::Result<Forwarder> {
        let (sender, receiver) = channel();
        let mut attempts = Attempts { program, config, sender: sender.clone(), receiver, reported: None };
        let thread = std::thread::Builder::new().name("forward".into()).spawn(move || attempts.run())?;
        Ok(Forwarder { thread, sender })
    }

    /// Ends it, and after a grace period an attempt that is being made.
    pub fn stop(self) {
        // Neither fails unless the thread has panicked.
        _ = self.sender.send(Wake::Stop);
        _ = self.thread.join();
    }
}

/// One attempt after the other.
struct Attempts {
    program: Program,
    config: ForwardConfig,
    sender: Sender<Wake>,
    receiver: Receiver<Wake>,
    /// What kept records from arriving, as it was logged last.
    reported: Option<String>,
}

impl Attempts {
    fn run(&mut self) {
        let mut wait = backoff::at_start(self.config.every, random());
        while !self.is_stopped_within(wait) {
            wait = match self.attempt() {
                None => return,
                Some(Ok(attempt)) => self.report(attempt),
                Some(Err(error)) => {
                    tracing::warn!("forwarding: {error}");
                    self.config.every
                }
            };
        }
    }

    fn is_stopped_within(&self, wait: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.receiver.recv_timeout(wait.saturating_sub(began.elapsed())) {
                Ok(Wake::Due | Wake::Reload) => {}
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Makes one attempt; `None` if it was stopped.
    fn attempt(&self) -> Option<Result<Attempt, String>> {
        if !self.config.look.folder.exists() {
            let wait = self.config.every.min(NO_SPOOL);
            return Some(Ok(Attempt { run: None, wait }));
        }
        let sender = self.sender.clone();
        let notify = move || _ = sender.send(Wake::Due);
        let mut worker = match Worker::start(&self.program, TASK, &self.config, notify) {
            Ok(worker) => worker,
            Err(error) => return Some(Err(error)),
        };
        let mut attempt = None;
        loop {
            match worker.next_event() {
                WorkerEvent::Message(message) => attempt = Some(message),
                WorkerEvent::Ended(_) if attempt.is_none() && self.is_stopped_within(STOP_WINDOW) => {
                    return None;
                }
                WorkerEvent::Ended(how) => return Some(attempt.unwrap_or(Err(how))),
                WorkerEvent::Quiet => match self.receiver.recv() {
                    Ok(Wake::Due | Wake::Reload) => {}
                    Ok(Wake::Stop) | Err(_) => {
                        if let Some(Ok(Attempt { run: Some(run), .. })) =
                            worker.end(GRACE_PERIOD).pop().or(attempt)
                        {
                            run.report_sent();
                        }
                        return None;
                    }
                },
            }
        }
    }

    /// Logs the result of an attempt, unless the one before had the same; returns the wait before
    /// the next.
    fn report(&mut self, attempt: Attempt) -> Duration {
        if let Some(run) = attempt.run {
            run.report_sent();
            if let Some(why) = run.why.as_ref().filter(|_| run.why != self.reported) {
                tracing::warn!(remaining = run.remaining, "not delivered: {why}");
            }
            self.reported = run.why;
        }
        attempt.wait
    }
}

impl RunSummary {
    fn report_sent(&self) {
        if self.sent > 0 {
            tracing::info!(records = self.sent, remaining = self.remaining, "delivered");
        }
    }
}

/// The worker's side: makes the attempt that the service requested.
pub fn work() -> io::Result<()> {
    let mut config = worker::request::<ForwardConfig>()?;
    worker::send(&config.attempt())
}

impl ForwardConfig {
    /// Makes one run if its time has come.
    fn attempt(&mut self) -> Result<Attempt, String> {
        let endpoint = Endpoint::new(&self.endpoint).map_err(|error| error.to_string())?;
        self.attempt_at(&endpoint).map_err(|error| error.to_string())
    }

    fn attempt_at(&mut self, endpoint: &Endpoint) -> Result<Attempt, SpoolError> {
        if let Some(wait) = self.not_before()? {
            return Ok(Attempt { run: None, wait });
        }
        let LookConfig { folder, catalogue, system_id, settle, .. } = &self.look;
        let collector = Collector::new(catalogue.clone(), *system_id, *settle);
        let target = FlushTarget { folder, endpoint, request: self.request.clone(), limits: self.limits };
        let mut consent = ConsentCheck { collector: &collector, folder, targets: &mut self.targets };
        let report = flush::run(&target, &mut consent)?;
        let wait = match report.outcome {
            FlushOutcome::Empty | FlushOutcome::Drained | FlushOutcome::Limit => {
                backoff::regular(self.every, random())
            }
            _ => self.not_before()?.unwrap_or(self.every),
        };
        let why = report.why.map(|why| why.to_string());
        Ok(Attempt { run: Some(RunSummary { sent: report.sent, remaining: report.remaining, why }), wait })
    }

    /// The wait that the spool asks for, if any.
    fn not_before(&self) -> Result<Option<Duration>, SpoolError> {
        let now_ms = clock::now_ms();
        let next = self.look.folder.read(now_ms)?.flush_memory().next_attempt_ms;
        let left = next.and_then(|next| u64::try_from(next.saturating_sub(now_ms)).ok());
        Ok(left.filter(|left| *left > 0).map(Duration::from_millis))
    }
}

/// Reads consent again before each batch.
pub struct ConsentCheck<'a> {
    pub collector: &'a Collector,
    pub folder: &'a SpoolFolder,
    /// The instances of the settings.
    pub targets: &'a mut [Target],
}

impl FlushHooks for ConsentCheck<'_> {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        self.collector.withheld(self.folder, self.targets)
    }

    fn progress(&mut self, _: u64) {}
}

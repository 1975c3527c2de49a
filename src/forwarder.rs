//! Forwarding by itself: the loop of `flush.mode: auto`, on a thread of its own.
//!
//! Why a thread: a request may take as long as a bad line wants, and records must not wait for it. Each attempt is made by a [`Worker`], which may
//! be killed in the middle of a request: what was on the wire is marked, and goes out again with the same uuids. The two meet in the spool
//! only. When to try is kept there too, so a restart neither forgets a server's wish for a pause nor starts a rush.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::collect::Collector;
use crate::forward::backoff;
use crate::forward::flush::{self, FlushHooks, FlushTarget, random};
use crate::forward::plan::FlushLimits;
use crate::forward::transport::{Endpoint, EndpointSettings};
use crate::forward::verdict::FlushOutcome;
use crate::forward::wire::RequestOptions;
use crate::look::Means;
use crate::spool::{SpoolError, SpoolFolder};
use crate::target::Target;
use crate::worker::{self, Heard, Program, Worker};

/// The hidden command.
pub const COMMAND: &str = "forward";

/// How long a stopping service waits for an attempt under way: enough to take note of an answer, and not to wait for one.
const PATIENCE_AT_STOP: Duration = Duration::from_millis(700);

/// Within this time it shows whether a worker ended because everything is to end.
const A_MOMENT: Duration = Duration::from_millis(200);

/// So often it is looked whether there is a spool by now.
const NO_SPOOL: Duration = Duration::from_secs(5);

/// What an attempt takes. It holds the project's key, so nobody may print it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Forwarding {
    /// The spool, and what it takes to read consent again before each batch.
    pub means: Means,
    /// The host.
    pub endpoint: EndpointSettings,
    /// The shape of a request.
    pub shape: RequestOptions,
    /// Sizes; without patience, since the next run is never far.
    pub limits: FlushLimits,
    /// How often to try.
    pub every: Duration,
    /// The instances.
    pub targets: Vec<Target>,
}

/// What came of an attempt.
#[derive(Debug, Serialize, Deserialize)]
struct Attempted {
    /// None, if its time had not come.
    run: Option<Ran>,
    /// How long to wait for the next.
    wait: Duration,
}

/// What came of a run.
#[derive(Debug, Serialize, Deserialize)]
struct Ran {
    sent: u64,
    remaining: u64,
    /// What keeps records from arriving.
    why: Option<String>,
}

/// A forwarder that runs.
pub struct Forwarder {
    thread: JoinHandle<()>,
    sender: Sender<Call>,
}

/// What wakes the thread.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// The worker has told something.
    Ring,
    Stop,
}

impl Forwarder {
    /// Starts forwarding, until it is stopped.
    pub fn start(program: Program, forwarding: Forwarding) -> io::Result<Forwarder> {
        let (sender, calls) = channel();
        let mut attempts = Attempts { program, forwarding, sender: sender.clone(), calls, said: None };
        let thread = std::thread::Builder::new().name("forward".into()).spawn(move || attempts.run())?;
        Ok(Forwarder { thread, sender })
    }

    /// Ends it, and an attempt that is under way after a moment.
    pub fn stop(self) {
        // Neither fails unless the thread has panicked.
        _ = self.sender.send(Call::Stop);
        _ = self.thread.join();
    }
}

/// One attempt after the other.
struct Attempts {
    program: Program,
    forwarding: Forwarding,
    sender: Sender<Call>,
    calls: Receiver<Call>,
    /// What kept records from arriving, as it was last said.
    said: Option<String>,
}

impl Attempts {
    fn run(&mut self) {
        let mut wait = backoff::at_start(self.forwarding.every, random());
        while !self.is_stopped_within(wait) {
            wait = match self.attempt() {
                None => return,
                Some(Ok(attempted)) => self.tell(attempted),
                Some(Err(error)) => {
                    tracing::warn!("forwarding: {error}");
                    self.forwarding.every
                }
            };
        }
    }

    fn is_stopped_within(&self, wait: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.calls.recv_timeout(wait.saturating_sub(began.elapsed())) {
                Ok(Call::Ring) => {}
                Ok(Call::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// One attempt; none if it was stopped.
    fn attempt(&self) -> Option<Result<Attempted, String>> {
        if !self.forwarding.means.folder.exists() {
            let wait = self.forwarding.every.min(NO_SPOOL);
            return Some(Ok(Attempted { run: None, wait }));
        }
        let sender = self.sender.clone();
        let ring = move || _ = sender.send(Call::Ring);
        let mut worker = match Worker::start(&self.program, COMMAND, &self.forwarding, ring) {
            Ok(worker) => worker,
            Err(error) => return Some(Err(format!("the process that forwards cannot be started: {error}"))),
        };
        let mut attempted = None;
        loop {
            match worker.hear() {
                Heard::Told(told) => attempted = Some(told),
                // Whoever stops a service may end its children at the same moment.
                Heard::Ended(_) if attempted.is_none() && self.is_stopped_within(A_MOMENT) => return None,
                Heard::Ended(how) => {
                    let how = how.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let early = || Err(format!("the process that forwards ended too early: {how}"));
                    return Some(attempted.unwrap_or_else(early));
                }
                Heard::Nothing => match self.calls.recv() {
                    Ok(Call::Ring) => {}
                    Ok(Call::Stop) | Err(_) => {
                        if let Some(Ok(Attempted { run: Some(run), .. })) =
                            worker.end(PATIENCE_AT_STOP).pop().or(attempted)
                        {
                            run.say_sent();
                        }
                        return None;
                    }
                },
            }
        }
    }

    /// Says what came of an attempt, unless it was said of the one before; tells how long to wait for the next.
    fn tell(&mut self, attempted: Attempted) -> Duration {
        if let Some(run) = attempted.run {
            run.say_sent();
            if let Some(why) = run.why.as_ref().filter(|_| run.why != self.said) {
                tracing::warn!(remaining = run.remaining, "not delivered: {why}");
            }
            self.said = run.why;
        }
        attempted.wait
    }
}

impl Ran {
    fn say_sent(&self) {
        if self.sent > 0 {
            tracing::info!(records = self.sent, remaining = self.remaining, "delivered");
        }
    }
}

/// Makes the attempt that the service ordered.
pub fn work() -> io::Result<()> {
    let mut forwarding = worker::order::<Forwarding>()?;
    worker::tell(&forwarding.attempt())
}

impl Forwarding {
    /// Makes one run if its time has come.
    fn attempt(&mut self) -> Result<Attempted, String> {
        let endpoint = Endpoint::new(&self.endpoint).map_err(|error| error.to_string())?;
        self.attempt_at(&endpoint).map_err(|error| error.to_string())
    }

    fn attempt_at(&mut self, endpoint: &Endpoint) -> Result<Attempted, SpoolError> {
        if let Some(wait) = self.not_before()? {
            return Ok(Attempted { run: None, wait });
        }
        let Means { folder, catalogue, system_id, settle, .. } = &self.means;
        let collector = Collector::new(catalogue.clone(), *system_id, *settle);
        let target = FlushTarget { folder, endpoint, request: self.shape.clone(), limits: self.limits };
        let mut consent = Consent { collector: &collector, folder, targets: &mut self.targets };
        let report = flush::run(&target, &mut consent)?;
        let wait = match report.outcome {
            FlushOutcome::Empty | FlushOutcome::Drained | FlushOutcome::Limit => {
                backoff::regular(self.every, random())
            }
            _ => self.not_before()?.unwrap_or(self.every),
        };
        let why = report.why.map(|why| why.to_string());
        Ok(Attempted { run: Some(Ran { sent: report.sent, remaining: report.remaining, why }), wait })
    }

    /// How long the spool says to wait, if it does.
    fn not_before(&self) -> Result<Option<Duration>, SpoolError> {
        let now_ms = clock::now_ms();
        let next = self.means.folder.read(now_ms)?.flush_memory().next_attempt_ms;
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

impl FlushHooks for Consent<'_> {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        Ok(self.collector.held(self.folder, self.targets)?.into_iter().collect())
    }

    fn progress(&mut self, _: u64) {}
}

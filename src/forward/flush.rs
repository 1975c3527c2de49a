//! One run of the forwarder: batch after batch, until the planner ends it.
//!
//! Invariants:
//! - The spool is open while a batch is read, marked or acknowledged, and closed during a request.
//! - Before each batch, the caller names the instances whose records may not be sent now.
//! - A batch is marked durably as in flight before it goes out; if the process dies, the same uuids
//!   go out again together.
//! - The flush lock is held from before a batch is read until it is acknowledged. Between two
//!   batches it goes to a process that waits for it: a purge, or another flush.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use super::backoff;
use super::gzip_body::GzipBody;
use super::plan::{FlushEnd, FlushLimits, FlushStep, Planner};
use super::transport::Endpoint;
use super::verdict::{Explanation, FlushOutcome};
use super::wire::RequestOptions;
use crate::clock;
use crate::record::BatchOutcome;
use crate::spool::{FlushTurn, LinkState, Queued, Spool, SpoolError, SpoolFolder};

/// Where records come from and where they go.
pub struct FlushTarget<'a> {
    pub folder: &'a SpoolFolder,
    pub endpoint: &'a Endpoint,
    pub request: RequestOptions,
    pub limits: FlushLimits,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Records delivered.
    pub sent: u64,
    /// Requests made.
    pub batches: u64,
    /// Bytes of their bodies after compression.
    pub wire_bytes: u64,
    /// Records that became dead letters in this run.
    pub dead_lettered: u64,
    /// Records that still wait.
    pub remaining: u64,
    /// The instances whose records may not be sent now, with or without records that wait.
    pub held: BTreeSet<String>,
    /// How many of the remaining records have a time too far in the future, and when the first of
    /// them may be sent, in milliseconds since 1970.
    pub ahead: (u64, Option<i64>),
    /// All dead letters, those of earlier runs included.
    pub dead: u64,
    pub outcome: FlushOutcome,
    /// The cause and the next step, where records were kept.
    pub why: Option<Explanation>,
    /// The pause that the server asked for.
    pub retry_after: Option<Duration>,
    /// When the service tries again after a failure, in milliseconds since 1970.
    pub next_attempt_ms: Option<i64>,
}

/// What a run asks and tells its caller.
pub trait FlushHooks {
    /// The instances whose records may not be sent now; asked before each batch.
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError>;
    /// The number of records delivered so far; told after each answer.
    fn progress(&mut self, sent: u64);
}

/// Sends records until the queue is empty or the planner gives up.
///
/// A run cannot be cancelled: to stop it, end the process. The mark on the batch in flight makes
/// that safe.
pub fn run(target: &FlushTarget<'_>, hooks: &mut dyn FlushHooks) -> Result<FlushReport, SpoolError> {
    let mut run = Run::begin(target, hooks)?;
    let end = loop {
        match run.planner.next(run.began.elapsed()) {
            FlushStep::Done(end) => break end,
            FlushStep::Wait(time) => {
                run.give_up_turn()?;
                std::thread::sleep(time);
                run.take_turn()?;
            }
            FlushStep::Send { max_events, silence } => {
                if run.turn.as_ref().is_some_and(FlushTurn::is_wanted) {
                    run.give_up_turn()?;
                    run.take_turn()?;
                }
                run.send(max_events, silence)?;
            }
        }
    };
    run.finish(end)
}

struct Run<'a, 'h> {
    target: &'a FlushTarget<'a>,
    hooks: &'h mut dyn FlushHooks,
    began: Instant,
    planner: Planner,
    /// `None` while other processes may have it.
    turn: Option<FlushTurn>,
    /// The last batch and its outcome, until it is acknowledged.
    answered: Option<(Vec<Queued>, BatchOutcome)>,
    report: FlushReport,
}

impl<'a, 'h> Run<'a, 'h> {
    fn begin(target: &'a FlushTarget<'a>, hooks: &'h mut dyn FlushHooks) -> Result<Self, SpoolError> {
        let turn = Some(target.folder.flush_turn(Duration::ZERO)?);
        let link_batch_events = link_state(target)?.batch_events;
        Ok(Run {
            target,
            hooks,
            began: Instant::now(),
            planner: Planner::new(target.limits, link_batch_events),
            turn,
            answered: None,
            report: FlushReport::default(),
        })
    }

    /// Acknowledges the last batch, then lets other processes have the turn.
    fn give_up_turn(&mut self) -> Result<(), SpoolError> {
        self.acknowledge()?.close()?;
        self.turn = None;
        Ok(())
    }

    /// Waits for the turn behind those who came first. Each of them may have one request in flight.
    fn take_turn(&mut self) -> Result<(), SpoolError> {
        self.turn = Some(self.target.folder.flush_turn(self.target.endpoint.timeout())?);
        Ok(())
    }

    /// Sends one batch and gives the answer to the planner.
    fn send(&mut self, max_events: usize, silence: Option<Duration>) -> Result<(), SpoolError> {
        self.report.held = self.hooks.held()?;
        let mut spool = self.acknowledge()?;
        let (batch, body) = next_request(self.target, &mut spool, max_events, &self.report.held)?;
        spool.close()?;
        if batch.is_empty() {
            self.planner.queue_is_empty();
            return Ok(());
        }
        let posted = self.target.endpoint.post(&body, silence);
        let outcome = self.planner.learn(&posted.answer, batch.len(), self.began.elapsed(), random());
        self.report.batches += 1;
        self.report.wire_bytes += posted.wire_bytes;
        match &outcome {
            BatchOutcome::Delivered => self.report.sent += batch.len() as u64,
            BatchOutcome::DeadLettered { .. } => self.report.dead_lettered += 1,
            BatchOutcome::Kept | BatchOutcome::Uncertain => {}
        }
        self.hooks.progress(self.report.sent);
        self.answered = Some((batch, outcome));
        Ok(())
    }

    /// Opens the spool and acknowledges the last batch.
    fn acknowledge(&mut self) -> Result<Spool, SpoolError> {
        let mut spool = self.target.folder.open_to_release(clock::now_ms())?;
        if let Some((batch, outcome)) = self.answered.take() {
            spool.acknowledge(&batch, &outcome)?;
        }
        Ok(spool)
    }

    /// Acknowledges the last batch and stores how the run ended.
    fn finish(mut self, end: FlushEnd) -> Result<FlushReport, SpoolError> {
        self.report.outcome = end.outcome;
        self.report.why = end.why;
        self.report.retry_after = end.retry_after;
        // A run that stops at `--limit` has not looked whether more records wait.
        if self.report.outcome == FlushOutcome::Limit {
            self.report.held = self.hooks.held()?;
        }
        let mut spool = self.acknowledge()?;
        let why = self.report.why.as_ref().map(|why| why.text.clone());
        spool.put_link_state(LinkState { batch_events: self.planner.link_batch_events(), why });
        store_end(&mut spool, &mut self.report)?;
        spool.close()?;
        Ok(self.report)
    }
}

/// What earlier runs learned of the network.
fn link_state(target: &FlushTarget<'_>) -> Result<LinkState, SpoolError> {
    Ok(target.folder.read(clock::now_ms())?.link_state().clone())
}

/// Reads the next records, writes their request and marks them as in flight.
fn next_request(
    target: &FlushTarget<'_>,
    spool: &mut Spool,
    max_events: usize,
    held: &BTreeSet<String>,
) -> Result<(Vec<Queued>, GzipBody), SpoolError> {
    let mut batch = spool.next_batch(max_events, held)?;
    let records = batch.iter().map(|queued| &queued.record);
    let body = GzipBody::of(records, &target.request, clock::now_ms());
    batch.truncate(body.events);
    if !batch.is_empty() {
        spool.begin(&batch)?;
    }
    Ok((batch, body))
}

/// Stores how the run ended, and completes the report with what is left in the queue.
fn store_end(spool: &mut Spool, report: &mut FlushReport) -> Result<(), SpoolError> {
    if report.outcome == FlushOutcome::Limit && spool.next_batch(1, &report.held)?.is_empty() {
        let none_left_queue = report.sent + report.dead_lettered == 0;
        report.outcome = if none_left_queue { FlushOutcome::Empty } else { FlushOutcome::Drained };
    }
    let counts = spool.counts()?;
    (report.remaining, report.dead) = (counts.queued, counts.dead);
    report.ahead = spool.ahead()?;
    let now_ms = clock::now_ms();
    let failed = report.outcome.is_failure();
    let memory = spool.flush_memory_mut();
    memory.last_attempt_ms = Some(now_ms);
    memory.last_outcome = Some(report.outcome.to_string());
    if report.sent > 0 {
        memory.last_success_ms = Some(now_ms);
    }
    memory.failures = if failed { memory.failures.saturating_add(1) } else { 0 };
    memory.next_attempt_ms = failed.then(|| {
        let wait = backoff::delay(memory.failures, report.retry_after, random());
        now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    });
    report.next_attempt_ms = memory.next_attempt_ms;
    Ok(())
}

/// A uniform random number: std seeds each hasher's state from the operating system.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

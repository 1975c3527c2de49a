//! One run of the forwarder: batch after batch until the planner says it is over.
//!
//! Invariants:
//! - The spool is open while a batch is taken, noted or acknowledged, and closed while a request is under way.
//! - Before each batch the caller says whose records may not be sent now.
//! - What a request carries is noted durably before it goes out; if the process dies, the same uuids go out again together.
//! - The turn to flush is held from before a batch is taken until it is acknowledged. Between two batches it goes to whoever
//!   waits for it: a purge, or another flush.

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

/// Where the records come from, where they go, and in which shape.
pub struct FlushTarget<'a> {
    /// The spool.
    pub folder: &'a SpoolFolder,
    /// The host.
    pub endpoint: &'a Endpoint,
    /// The shape of a request.
    pub request: RequestOptions,
    /// Sizes and patience.
    pub limits: FlushLimits,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Records delivered.
    pub sent: u64,
    /// Requests made.
    pub batches: u64,
    /// Bytes of their bodies, as sent.
    pub wire_bytes: u64,
    /// Records set apart as dead letters.
    pub dead_lettered: u64,
    /// Records still waiting.
    pub remaining: u64,
    /// The instances whose records may not be sent now, whether any of them waits or not.
    pub held: BTreeSet<String>,
    /// How many of the remaining were stamped too far in the future, and when the first of them may be sent, in milliseconds
    /// since 1970.
    pub ahead: (u64, Option<i64>),
    /// Dead letters, those of earlier runs included.
    pub dead: u64,
    /// How it ended.
    pub outcome: FlushOutcome,
    /// The cause and the next step, where records were kept.
    pub why: Option<Explanation>,
    /// The wait the server asked for.
    pub retry_after: Option<Duration>,
    /// When the service tries again after a failure, in milliseconds since 1970.
    pub next_attempt_ms: Option<i64>,
}

/// What a run may ask its caller, and tell it.
pub trait FlushHooks {
    /// The instances whose records may not be sent now.
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError>;
    /// So many records were delivered so far.
    fn progress(&mut self, sent: u64);
}

/// Sends what waits, until the queue is empty or the planner gives up. Whoever wants to stop before ends the process: that is what the mark on a
/// batch that is under way is for.
pub fn run(target: &FlushTarget<'_>, caller: &mut dyn FlushHooks) -> Result<FlushReport, SpoolError> {
    let mut run = Run::begin(target, caller)?;
    let ending = loop {
        match run.planner.next(run.began.elapsed()) {
            FlushStep::Done(ending) => break ending,
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
    run.end(ending)
}

/// A run under way.
struct Run<'a, 'c> {
    target: &'a FlushTarget<'a>,
    caller: &'c mut dyn FlushHooks,
    began: Instant,
    planner: Planner,
    /// `None` while others may have it.
    turn: Option<FlushTurn>,
    /// The last batch, until it is acknowledged.
    answered: Option<(Vec<Queued>, BatchOutcome)>,
    report: FlushReport,
}

impl<'a, 'c> Run<'a, 'c> {
    fn begin(target: &'a FlushTarget<'a>, caller: &'c mut dyn FlushHooks) -> Result<Self, SpoolError> {
        let turn = Some(target.folder.flush_turn(Duration::ZERO)?);
        let link_batch_events = link_state(target)?.batch_events;
        Ok(Run {
            target,
            caller,
            began: Instant::now(),
            planner: Planner::new(target.limits, link_batch_events),
            turn,
            answered: None,
            report: FlushReport::default(),
        })
    }

    /// Acknowledges the last batch and lets others have the turn.
    fn give_up_turn(&mut self) -> Result<(), SpoolError> {
        self.acknowledge()?.close()?;
        self.turn = None;
        Ok(())
    }

    /// Waits behind those who waited. Each of them may have one request on the wire.
    fn take_turn(&mut self) -> Result<(), SpoolError> {
        self.turn = Some(self.target.folder.flush_turn(self.target.endpoint.timeout())?);
        Ok(())
    }

    /// Sends one batch and learns from the answer.
    fn send(&mut self, max_events: usize, silence: Option<Duration>) -> Result<(), SpoolError> {
        self.report.held = self.caller.held()?;
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
        self.caller.progress(self.report.sent);
        self.answered = Some((batch, outcome));
        Ok(())
    }

    /// Opens the spool and acknowledges what was answered.
    fn acknowledge(&mut self) -> Result<Spool, SpoolError> {
        let mut spool = self.target.folder.open_to_release(clock::now_ms())?;
        if let Some((batch, outcome)) = self.answered.take() {
            spool.acknowledge(&batch, &outcome)?;
        }
        Ok(spool)
    }

    /// Acknowledges the last batch and remembers how the run ended.
    fn end(mut self, ending: FlushEnd) -> Result<FlushReport, SpoolError> {
        self.report.outcome = ending.outcome;
        self.report.why = ending.why;
        self.report.retry_after = ending.retry_after;
        // With as many records sent as were allowed, nobody looked yet whether there are more.
        if self.report.outcome == FlushOutcome::Limit {
            self.report.held = self.caller.held()?;
        }
        let mut spool = self.acknowledge()?;
        let why = self.report.why.as_ref().map(|why| why.text.clone());
        spool.put_link_state(&LinkState { batch_events: self.planner.link_batch_events(), why })?;
        conclude(&mut spool, &mut self.report)?;
        spool.close()?;
        Ok(self.report)
    }
}

/// What earlier runs learned of the target.
fn link_state(target: &FlushTarget<'_>) -> Result<LinkState, SpoolError> {
    let spool = target.folder.open_to_release(clock::now_ms())?;
    let memory = spool.link_state()?;
    spool.close()?;
    Ok(memory)
}

/// Takes the next records and writes their request; what it carries is noted as under way.
fn next_request(
    target: &FlushTarget<'_>,
    spool: &mut Spool,
    max_events: usize,
    held: &BTreeSet<String>,
) -> Result<(Vec<Queued>, GzipBody), SpoolError> {
    let mut batch = spool.next_batch(max_events, held)?;
    let body = GzipBody::of(batch.iter().map(|queued| &queued.record), &target.request, clock::now_ms());
    batch.truncate(body.events);
    if !batch.is_empty() {
        spool.begin(&batch)?;
    }
    Ok((batch, body))
}

/// Remembers how the run ended, and tells what is left.
fn conclude(spool: &mut Spool, report: &mut FlushReport) -> Result<(), SpoolError> {
    if report.outcome == FlushOutcome::Limit && spool.next_batch(1, &report.held)?.is_empty() {
        let nothing_left = report.sent + report.dead_lettered == 0;
        report.outcome = if nothing_left { FlushOutcome::Empty } else { FlushOutcome::Drained };
    }
    let counts = spool.counts()?;
    (report.remaining, report.dead) = (counts.queued, counts.dead);
    report.ahead = spool.ahead()?;
    let now_ms = clock::now_ms();
    let memory = spool.flush_memory();
    let failed =
        matches!(report.outcome, FlushOutcome::Unreachable | FlushOutcome::Refused | FlushOutcome::Throttled);
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

/// An evenly spread number: std seeds each hasher's state from the operating system.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

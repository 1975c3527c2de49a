//! What to send next, and when to stop: the forwarder's decisions, without its I/O.
//!
//! A run asks the planner for a [`FlushStep`], carries it out and reports the answer back; the planner never sees
//! a socket, a clock or the spool. So every outage can be played through in a test, and the code that does
//! I/O has nothing left to decide. (The model is Mozilla's Glean, whose uploader is told Upload, Wait or
//! Done.)
//!
//! ```text
//! loop: next ----Send----> read the head of the queue, post it ----answer----> learn ---> BatchOutcome of the batch
//!        |                       (queue empty: queue_is_empty)
//!        |-------Wait----> sleep, or be cancelled
//!        '-------Done----> tell the outcome
//! ```
//!
//! Invariants:
//! 1. A record has one fate per answer: delivered, dead-lettered or kept, and kept is the rule.
//! 2. Every run ends. Each answer takes records off the queue, makes the next batch smaller, or uses up
//!    patience.
//! 3. All batches are taken from the head of the queue, so records arrive in the order in which they were
//!    written.
//!
//! Batch sizes follow three separate reasons, since each needs another cure:
//! - **a poison record** (400): the records at the head that hold it are *suspects*; half of them are sent at
//!   a time until it stands alone. Of 2,000 records it takes about a dozen requests to find it. The rest then
//!   goes at full size;
//! - **a limit on size** (413): half is the new ceiling for the rest of the run, since the limit won't move;
//! - **a weak line** (timeout, broken off): half, and double again once some have passed. What is learned so outlives the run
//!   ([`Planner::link_batch_events`]): a run that ends at its first failure would otherwise begin with the same full batch for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    answer::Answer,
    backoff,
    verdict::{Deferral, Explanation, FlushOutcome, Verdict, judge},
};
use crate::record::BatchOutcome;

/// After so many records refused alone, with none delivered in between, the fault is hardly theirs.
const MAX_REFUSED_IN_A_ROW: u32 = 100;

/// So many batches pass on a line that was too weak before a larger one is tried. Each try that fails costs a timeout, and the
/// service the rest of its run; once one succeeds, the line is better and the next are tried at once.
const PASSES_BEFORE_GROWTH: u32 = 8;

/// What a run may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FlushLimits {
    /// The most events in a batch (`flush.batchEvents`).
    pub batch_events: usize,
    /// How much time waits and failed attempts may take in all (`flush.patience`). Zero, for the service,
    /// ends the run at the first failure: its next run starts when [`backoff::delay`] says.
    pub patience: Duration,
    /// How many records may leave the queue in all (`--limit`).
    pub records: Option<u64>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlushStep {
    /// Send the head of the queue, at least one record and at most so many.
    Send {
        /// The most events to put in the batch.
        max_events: usize,
        /// The longest silence of the other side that is borne; what moves, however slowly, is left to `flush.timeout`.
        silence: Option<Duration>,
    },
    /// Do nothing for this long, then ask again.
    Wait(Duration),
    /// The run is over.
    Done(FlushEnd),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushEnd {
    /// In the contract's words.
    pub outcome: FlushOutcome,
    /// The cause and the next step, where records were kept.
    pub why: Option<Explanation>,
    /// The wait that the server asked for; [`backoff::delay`] takes it.
    pub retry_after: Option<Duration>,
}

/// The state of one run. Times are counted from any fixed moment, such as the start of the run.
#[derive(Debug)]
pub struct Planner {
    limits: FlushLimits,
    /// The size of the next batch, as far as the line goes.
    size: usize,
    /// What `size` may grow to.
    ceiling: usize,
    /// So many batches have to pass before `size` grows.
    passes_to_growth: u32,
    /// So many records at the head hold at least one that PostHog refuses; 0 if none is known.
    suspects: usize,
    refused_in_a_row: u32,
    failures_in_a_row: u32,
    left_queue: u64,
    patience_used: Duration,
    attempt_began: Duration,
    /// A wait or an end that is already decided.
    decided: Option<FlushStep>,
}

impl Planner {
    /// A planner for one run. `link_batch_events` is what the planner of the run before said of the line.
    pub fn new(limits: FlushLimits, link_batch_events: Option<u64>) -> Self {
        let ceiling = limits.batch_events.max(1);
        let known = link_batch_events
            .and_then(|events| usize::try_from(events).ok())
            .filter(|known| *known < ceiling);
        Self {
            limits,
            size: known.map_or(ceiling, |known| known.max(1)),
            ceiling,
            passes_to_growth: if known.is_some() { PASSES_BEFORE_GROWTH } else { 1 },
            suspects: 0,
            refused_in_a_row: 0,
            failures_in_a_row: 0,
            left_queue: 0,
            patience_used: Duration::ZERO,
            attempt_began: Duration::ZERO,
            decided: None,
        }
    }

    /// What to do now. After [`FlushStep::Done`] every further call says the same.
    pub fn next(&mut self, now: Duration) -> FlushStep {
        if let Some(step) = self.decided.take() {
            match step {
                FlushStep::Wait(wait) => self.patience_used += wait,
                _ => self.decided = Some(step.clone()),
            }
            return step;
        }
        let allowed = self.limits.records.map_or(u64::MAX, |limit| limit.saturating_sub(self.left_queue));
        if allowed == 0 {
            return self.end(FlushOutcome::Limit, None, None);
        }
        self.attempt_began = now;
        let max_events = self.batch_size().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        // Without patience, as the service is, a slow answer costs nothing but time.
        let patience = Some(self.limits.patience).filter(|patience| !patience.is_zero());
        let silence = patience.map(|patience| patience.saturating_sub(self.patience_used));
        FlushStep::Send { max_events, silence }
    }

    /// The most events to send at once on this line, where that is fewer than the settings allow: for the next run.
    pub fn link_batch_events(&self) -> Option<u64> {
        (self.size < self.limits.batch_events).then_some(self.size as u64)
    }

    /// Reports that the queue held nothing to send.
    pub fn queue_is_empty(&mut self) {
        let outcome = if self.left_queue == 0 { FlushOutcome::Empty } else { FlushOutcome::Drained };
        self.end(outcome, None, None);
    }

    /// Reports the answer to a batch of so many `events` (at least one), and says what becomes of them.
    ///
    /// `random` is any evenly spread number; it decides the length of a wait.
    pub fn learn(&mut self, answer: &Answer, events: usize, now: Duration, random: u64) -> BatchOutcome {
        match judge(answer, events) {
            Verdict::Delivered => self.delivered(events),
            Verdict::Isolate => {
                self.suspects = events;
                BatchOutcome::Kept
            }
            Verdict::Shrink => {
                self.ceiling = (events / 2).max(1);
                self.size = self.size.min(self.ceiling);
                BatchOutcome::Kept
            }
            Verdict::DeadLetter { words } => self.dead_letter(words),
            Verdict::Keep(deferral) => {
                if matches!(answer, Answer::Unreachable(failure) if failure.may_depend_on_size()) {
                    self.size = (events / 2).max(1);
                    self.passes_to_growth = PASSES_BEFORE_GROWTH;
                }
                self.keep(deferral, now, random);
                if answer.may_be_stored() { BatchOutcome::Uncertain } else { BatchOutcome::Kept }
            }
        }
    }

    fn batch_size(&self) -> usize {
        match self.suspects {
            0 => self.size,
            suspects => (suspects / 2).clamp(1, self.size),
        }
    }

    fn delivered(&mut self, events: usize) -> BatchOutcome {
        self.left_queue += events as u64;
        self.suspects = self.suspects.saturating_sub(events);
        self.passes_to_growth = self.passes_to_growth.saturating_sub(1);
        if self.passes_to_growth == 0 {
            self.size = (self.size * 2).min(self.ceiling);
            self.passes_to_growth = 1;
        }
        self.failures_in_a_row = 0;
        self.refused_in_a_row = 0;
        BatchOutcome::Delivered
    }

    fn dead_letter(&mut self, words: String) -> BatchOutcome {
        self.left_queue += 1;
        self.suspects = 0;
        self.refused_in_a_row += 1;
        if self.refused_in_a_row >= MAX_REFUSED_IN_A_ROW {
            let why = format!(
                "PostHog refused {MAX_REFUSED_IN_A_ROW} records in a row, each alone, so the fault is hardly \
                 theirs: `salver dump --state dead` shows its words. Check posthog.host, then put them back with \
                 `salver flush --retry-dead`"
            );
            self.end(FlushOutcome::Refused, Some(why.into()), None);
        }
        BatchOutcome::DeadLettered { words }
    }

    fn keep(&mut self, deferral: Deferral, now: Duration, random: u64) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.patience_used += now.saturating_sub(self.attempt_began);
        let wait = backoff::delay(self.failures_in_a_row, deferral.retry_after, random);
        let in_time = self.patience_used.saturating_add(wait) <= self.limits.patience;
        if in_time && deferral.outcome != FlushOutcome::Refused {
            self.decided = Some(FlushStep::Wait(wait));
        } else {
            self.end(deferral.outcome, Some(deferral.why), deferral.retry_after);
        }
    }

    fn end(
        &mut self,
        outcome: FlushOutcome,
        why: Option<Explanation>,
        retry_after: Option<Duration>,
    ) -> FlushStep {
        let done = FlushStep::Done(FlushEnd { outcome, why, retry_after });
        self.decided = Some(done.clone());
        done
    }
}

#[cfg(test)]
mod tests;

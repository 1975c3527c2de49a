//! What to send next, and when to stop: the forwarder's decisions, without I/O.
//!
//! A run asks the planner for a [`FlushStep`], carries it out and reports the answer back. The
//! planner knows no socket, no clock and no spool, so a test can play every outage, and the code
//! that does I/O has nothing left to decide. (The model is Mozilla's Glean, whose uploader is told
//! Upload, Wait or Done.)
//!
//! ```text
//! loop: next --Send--> read the head of the queue, post it --answer--> learn --> BatchOutcome
//!        |                  (nothing to send: queue_is_empty)
//!        |-----Wait--> sleep
//!        '-----Done--> report the end
//! ```
//!
//! Invariants:
//! 1. An answer gives all records of a batch one outcome: delivered, dead-lettered or kept. Kept is
//!    the default.
//! 2. Every run ends. Each answer removes records from the queue, makes the next batch smaller, or
//!    uses up patience.
//! 3. All batches are taken from the head of the queue, so records arrive in the order in which
//!    they were written.
//!
//! A batch is made smaller for three reasons, each with its own remedy:
//! - **A poison record** (400): the records at the head that contain it are *suspects*. Half of
//!   them are sent at a time until the record is alone, which takes about a dozen requests for
//!   2,000 records. Then batches have their full size again.
//! - **A size limit** (413): half is the ceiling for the rest of the run, since the limit is fixed.
//! - **A weak network** (timeout, connection broken off): half, and double again after some batches
//!   have passed. The next run starts from this size ([`Planner::link_batch_events`]); otherwise a
//!   service whose runs end at the first failure would send the same full batch for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    answer::Answer,
    backoff,
    verdict::{Deferral, Explanation, FlushOutcome, Verdict, judge},
};
use crate::record::BatchOutcome;

/// After this many records refused alone, with none delivered in between, the records are hardly to
/// blame.
const MAX_REFUSED_IN_A_ROW: u32 = 100;

/// The number of batches that must pass on a weak network before a larger one is tried. A try that
/// fails costs a timeout, and the service the rest of its run. After one success the network is
/// better, and the next sizes are tried at once.
const PASSES_BEFORE_GROWTH: u32 = 8;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FlushLimits {
    /// The most events in a batch (`flush.batchEvents`).
    pub batch_events: usize,
    /// The most time for waits and failed attempts together (`flush.patience`). Zero, as the
    /// service has it, ends the run at the first failure; [`backoff::delay`] says when the next run
    /// starts.
    pub patience: Duration,
    /// The most records that may leave the queue (`--limit`).
    pub records: Option<u64>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlushStep {
    /// Send the head of the queue: at least one record.
    Send {
        max_events: usize,
        /// The longest silence of the server before the attempt is given up. A transfer that goes
        /// on, however slowly, is limited by `flush.timeout` only.
        silence: Option<Duration>,
    },
    /// Wait for this long, then ask again.
    Wait(Duration),
    Done(FlushEnd),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushEnd {
    pub outcome: FlushOutcome,
    /// The cause and the next step, where records were kept.
    pub why: Option<Explanation>,
    /// The pause that the server asked for, an input of [`backoff::delay`].
    pub retry_after: Option<Duration>,
}

/// The state of one run. Times are counted from any fixed moment, such as the start of the run.
#[derive(Debug)]
pub struct Planner {
    limits: FlushLimits,
    /// The size of the next batch that the network is believed to carry.
    size: usize,
    /// The largest value of `size`.
    ceiling: usize,
    /// The number of batches that must pass before `size` grows.
    passes_to_growth: u32,
    /// This many records at the head contain at least one that PostHog refuses; 0 if none is known.
    suspects: usize,
    refused_in_a_row: u32,
    failures_in_a_row: u32,
    left_queue: u64,
    patience_used: Duration,
    attempt_began: Duration,
    /// A wait or an end that is decided already.
    decided: Option<FlushStep>,
}

impl Planner {
    /// A planner for one run. `link_batch_events` is what the planner of the last run returned.
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

    /// What to do now. After [`FlushStep::Done`], every further call returns the same.
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
        // Without patience, as in the service, a slow answer costs nothing but time.
        let patience = Some(self.limits.patience).filter(|patience| !patience.is_zero());
        let silence = patience.map(|patience| patience.saturating_sub(self.patience_used));
        FlushStep::Send { max_events, silence }
    }

    /// The batch size that the network carries, if smaller than the settings allow: for the next
    /// run.
    pub fn link_batch_events(&self) -> Option<u64> {
        (self.size < self.limits.batch_events).then_some(self.size as u64)
    }

    /// Reports that nothing was left to send.
    pub fn queue_is_empty(&mut self) {
        let outcome = if self.left_queue == 0 { FlushOutcome::Empty } else { FlushOutcome::Drained };
        self.end(outcome, None, None);
    }

    /// Reports the answer to a batch of `events` records (at least one), and returns their outcome.
    ///
    /// `random` is a uniform random number; it decides the length of a wait.
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

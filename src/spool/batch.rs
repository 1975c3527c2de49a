//! What is on the wire: taking a batch, noting it before it goes out, and settling it when an answer came.
//!
//! Invariants: what is under way is noted durably before it leaves, and until it is known that it arrived or that it did not, so that
//! the same uuids go out again together and a purge can say what may have arrived;
//! acknowledging tolerates records that were purged meanwhile; a delivered batch and its ledger entry are one step.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::error::SpoolError;
use super::ledger::LedgerReason;
use super::queue::{Queued, Span, Spool};
use super::state::DeadLetter;
use crate::record::BatchOutcome;

/// PostHog moves an event that is more than 23 hours ahead of its clock to its own now, which would be another time than the one
/// recorded. So records stamped further ahead, by a clock that was wrong, are held until their time comes, and never restamped.
pub(super) const MOST_AHEAD_MS: i64 = 23 * 3600 * 1000;

/// Whether a record was stamped too far in the future to be sent now; both times in milliseconds since 1970.
pub fn is_ahead(timestamp_ms: i64, now_ms: i64) -> bool {
    timestamp_ms > now_ms.saturating_add(MOST_AHEAD_MS)
}

impl Spool {
    /// The next records to send, oldest first: at most `max`, none of the instances in `skip`. What was on the wire and may have
    /// arrived comes first and alone, so that the same uuids go out again together.
    pub fn next_batch(&mut self, max: usize, skip: &BTreeSet<String>) -> Result<Vec<Queued>, SpoolError> {
        self.keep_limits()?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let unsettled = self.state.meta.in_flight.clone();
        if let (Some(first), Some(last)) = (unsettled.first(), unsettled.last()) {
            let batch = self.sendable(max, skip, first..=last, |seq| unsettled.contains(seq))?;
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
        self.sendable(max, skip, 0..=u64::MAX, |_| true)
    }

    /// Those of a range that may be sent now.
    fn sendable(
        &mut self,
        max: usize,
        skip: &BTreeSet<String>,
        range: RangeInclusive<u64>,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Vec<Queued>, SpoolError> {
        let now_ms = self.now_ms;
        let mut batch = Vec::new();
        self.each(*range.start(), |queued| {
            let further = queued.seq < *range.end();
            let ahead = is_ahead(queued.record.timestamp_ms, now_ms);
            if wanted(queued.seq)
                && !ahead
                && queued.dead.is_none()
                && !skip.contains(&queued.record.instance)
            {
                batch.push(queued);
            }
            further && batch.len() < max
        })?;
        Ok(batch)
    }

    /// Takes note that these records are going onto the wire. Durable when it returns.
    pub fn begin(&mut self, batch: &[Queued]) -> Result<(), SpoolError> {
        for queued in batch {
            self.state.meta.in_flight.insert(queued.seq);
            *self.state.meta.attempts.entry(queued.seq).or_default() += 1;
        }
        self.state.meta.flush.last_attempt_ms = Some(self.now_ms);
        self.state.commit()
    }

    /// Notes what became of a batch. Records that were purged meanwhile are passed over.
    pub fn acknowledge(&mut self, batch: &[Queued], outcome: &BatchOutcome) -> Result<(), SpoolError> {
        match outcome {
            BatchOutcome::Delivered => self.delivered(batch),
            BatchOutcome::DeadLettered { words } => self.dead_lettered(batch, words),
            BatchOutcome::Kept => {
                batch.iter().for_each(|queued| _ = self.state.meta.in_flight.remove(queued.seq));
                Ok(())
            }
            BatchOutcome::Uncertain => Ok(()),
        }
    }

    fn delivered(&mut self, batch: &[Queued]) -> Result<(), SpoolError> {
        let present: Vec<&Queued> = batch.iter().filter(|it| self.place_of(it.seq).is_some()).collect();
        let uuids: Vec<&str> = present.iter().map(|it| it.record.uuid.as_str()).collect();
        self.note_left(&uuids)?;
        let (mut used, mut span) = (BTreeSet::new(), Span::default());
        for queued in present {
            let Some(at) = self.place_of(queued.seq) else { continue };
            self.mark_done(at, queued.seq);
            used.insert((&queued.record.instance, &queued.record.draft.id));
            span.add(queued.record.timestamp_ms);
        }
        used.into_iter().try_for_each(|(instance, id)| self.delivered_with(instance, id))?;
        self.enter(LedgerReason::Delivered, span)
    }

    fn dead_lettered(&mut self, batch: &[Queued], words: &str) -> Result<(), SpoolError> {
        let mut span = Span::default();
        for queued in batch {
            let Some(at) = self.place_of(queued.seq) else { continue };
            let attempts = self.state.meta.attempts.get(&queued.seq).copied().unwrap_or(1);
            let letter = DeadLetter { at_ms: Some(self.now_ms), words: Some(words.to_owned()), attempts };
            self.state.meta.in_flight.remove(queued.seq);
            self.state.put_dead(queued.seq, &letter);
            self.witness.segments[at].dead.insert(queued.seq);
            span.add(queued.record.timestamp_ms);
        }
        self.enter(LedgerReason::DeadLettered, span)
    }

    /// Puts all dead letters back into the queue; tells how many.
    pub fn revive_dead(&mut self) -> Result<u64, SpoolError> {
        let dead = self.state.dead()?;
        for seq in dead.keys() {
            self.state.remove_dead(*seq);
        }
        self.witness.segments.iter_mut().for_each(|entry| entry.dead = Default::default());
        Ok(dead.len() as u64)
    }

    /// The place of the segment in which a record is still in the queue.
    fn place_of(&self, seq: u64) -> Option<usize> {
        self.witness.segments.iter().position(|entry| entry.is_live(seq))
    }

    pub(super) fn mark_done(&mut self, at: usize, seq: u64) {
        let entry = &mut self.witness.segments[at];
        if entry.leave(seq) {
            self.state.remove_dead(seq);
        }
        self.state.meta.done.entry(entry.number).or_default().insert(seq);
        self.state.meta.attempts.remove(&seq);
        self.state.meta.in_flight.remove(seq);
    }

    /// An id that was delivered stays with its instance from now on.
    fn delivered_with(&mut self, name: &str, id: &str) -> Result<(), SpoolError> {
        let mut history = self.state.id(id)?.unwrap_or_default();
        history.delivered_ms = Some(self.now_ms);
        self.state.put_id(id, &history);
        if let Some(mut instance) = self.state.instance(name)?
            && let Some(pin) = instance.pin.as_mut().filter(|pin| pin.id == id && !pin.fixed)
        {
            pin.fixed = true;
            self.state.put_instance(name, &instance);
        }
        Ok(())
    }
}

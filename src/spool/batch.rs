//! What is on the wire: taking a batch, noting it before it goes out, and settling it when an answer came.
//!
//! Invariants: what is under way is noted durably before it leaves, so that the same uuids go out again together if the sender dies;
//! acknowledging tolerates records that were purged meanwhile; a delivered batch and its ledger entry are one step.

use std::collections::BTreeSet;

use super::error::SpoolError;
use super::ledger::Fate;
use super::queue::{Queued, Span, Spool};
use super::state::DeadLetter;
use crate::record::Record;

/// PostHog moves an event that is more than 23 hours ahead of its clock to its own now, which would be another time than the one
/// recorded. So records stamped further ahead, by a clock that was wrong, are held until their time comes, and never restamped.
pub(super) const MOST_AHEAD_MS: i64 = 23 * 3600 * 1000;

/// Whether a record was stamped too far in the future to be sent now; both times in milliseconds since 1970.
pub fn is_ahead(timestamp_ms: i64, now_ms: i64) -> bool {
    timestamp_ms > now_ms.saturating_add(MOST_AHEAD_MS)
}

/// What became of a record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// PostHog took it.
    Delivered,
    /// Refused alone, with the server's words.
    Dead(String),
}

impl Spool {
    /// The next records to send, oldest first: at most `max`, none of the instances in `skip`. A batch that was on the wire
    /// when its sender died comes first and alone, so that the same uuids go out again together.
    pub fn next_batch(&mut self, max: usize, skip: &BTreeSet<String>) -> Result<Vec<Queued>, SpoolError> {
        self.keep_limits()?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let unsettled = self.state.meta.in_flight.clone();
        let (first, last) = (unsettled.first().unwrap_or(0), unsettled.last().unwrap_or(u64::MAX));
        let now_ms = self.now_ms;
        let mut batch = Vec::new();
        self.each(first, |queued| {
            let further = queued.seq < last;
            let wanted = unsettled.is_empty() || unsettled.contains(queued.seq);
            let ahead = is_ahead(queued.record.timestamp_ms, now_ms);
            if wanted && !ahead && queued.dead.is_none() && !skip.contains(&queued.record.instance) {
                batch.push(queued);
            }
            further && batch.len() < max
        })?;
        if batch.is_empty() && !unsettled.is_empty() {
            self.state.meta.in_flight = Default::default();
            return self.next_batch(max, skip);
        }
        Ok(batch)
    }

    /// Takes note that these records are going onto the wire. Durable when it returns.
    pub fn begin(&mut self, batch: &[Queued]) -> Result<(), SpoolError> {
        self.state.meta.in_flight = batch.iter().map(|queued| queued.seq).collect();
        for queued in batch {
            *self.state.meta.attempts.entry(queued.seq).or_default() += 1;
        }
        self.state.meta.flush.last_attempt_ms = Some(self.now_ms);
        self.state.commit()
    }

    /// Takes note of what became of a batch. Records that were purged meanwhile are passed over; what is not named stays queued.
    pub fn settle(&mut self, settled: &[(Queued, Settled)]) -> Result<(), SpoolError> {
        let mut delivered = Span::default();
        let mut dead = Span::default();
        self.note_left(&self.delivered_uuids(settled))?;
        for (queued, fate) in settled {
            let Some(at) = self.place_of(queued.seq) else {
                continue;
            };
            match fate {
                Settled::Delivered => {
                    self.mark_done(at, queued.seq);
                    self.delivered_with(&queued.record)?;
                    delivered.add(queued.record.timestamp_ms);
                }
                Settled::Dead(words) => {
                    let attempts = self.state.meta.attempts.get(&queued.seq).copied().unwrap_or(1);
                    let letter =
                        DeadLetter { at_ms: Some(self.now_ms), words: Some(words.clone()), attempts };
                    self.state.put_dead(queued.seq, &letter);
                    self.witness.segments[at].dead.insert(queued.seq);
                    dead.add(queued.record.timestamp_ms);
                }
            }
        }
        self.state.meta.in_flight = Default::default();
        self.enter(Fate::Delivered, delivered)?;
        self.enter(Fate::DeadLettered, dead)
    }

    /// The uuids of those that were delivered and not purged meanwhile.
    fn delivered_uuids<'a>(&self, settled: &'a [(Queued, Settled)]) -> Vec<&'a str> {
        let delivered = settled.iter().filter(|(_, fate)| *fate == Settled::Delivered);
        let there = delivered.filter(|(queued, _)| self.place_of(queued.seq).is_some());
        there.map(|(queued, _)| queued.record.uuid.as_str()).collect()
    }

    /// Takes note that nobody waits for an answer any more, although none came.
    pub fn give_up_batch(&mut self) {
        self.state.meta.in_flight = Default::default();
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
    }

    /// An id that was delivered stays with its instance from now on.
    fn delivered_with(&mut self, record: &Record) -> Result<(), SpoolError> {
        let id = &record.draft.id;
        let mut history = self.state.id(id)?.unwrap_or_default();
        history.delivered_ms = Some(self.now_ms);
        self.state.put_id(id, &history);
        if let Some(mut instance) = self.state.instance(&record.instance)?
            && let Some(pin) = instance.pin.as_mut().filter(|pin| pin.id == *id && !pin.fixed)
        {
            pin.fixed = true;
            self.state.put_instance(&record.instance, &instance);
        }
        Ok(())
    }
}

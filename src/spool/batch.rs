//! Batches: taking one, noting it before it goes out, and acknowledging it when an answer came.
//!
//! # Invariants
//!
//! 1. A batch is noted durably before it leaves, and until its outcome is known, so that the same
//!    uuids go out again together and a purge can say what may have arrived.
//! 2. Acknowledging tolerates records that were purged meanwhile.
//! 3. A delivered batch and its ledger entry are one commit.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::error::SpoolError;
use super::ledger::LedgerReason;
use super::queue::{Span, Spool};
use super::ranges::Ranges;
use super::reader::Queued;
use super::times::is_ahead;
use crate::record::BatchOutcome;

impl Spool {
    /// The next records to send, oldest first: at most `max`, none of the instances in `held`. A
    /// batch that may have arrived comes first and alone, so that the same uuids go out again
    /// together.
    pub fn next_batch(&mut self, max: usize, held: &BTreeSet<String>) -> Result<Vec<Queued>, SpoolError> {
        self.keep_limits()?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let in_flight = self.manifest.in_flight.clone();
        if !in_flight.is_empty() {
            let batch = self.sendable(max, held, Some(&in_flight))?;
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
        self.sendable(max, held, None)
    }

    /// The records that may be sent now, of these or of all.
    fn sendable(
        &mut self,
        max: usize,
        held: &BTreeSet<String>,
        of: Option<&Ranges>,
    ) -> Result<Vec<Queued>, SpoolError> {
        let now_ms = self.now_ms;
        // A purge that could not be completed yet must not be overtaken.
        let pending = self.manifest.pending_purge.clone();
        let (first, last) = of.map_or((0, u64::MAX), |of| (of.first().unwrap_or(0), of.last().unwrap_or(0)));
        let mut batch = Vec::new();
        let _ = self.each(first, max as u64, |queued| {
            let is_last = queued.seq >= last;
            let may_go = of.is_none_or(|of| of.contains(queued.seq))
                && !is_ahead(queued.record.timestamp_ms, now_ms)
                && queued.dead.is_none()
                && !held.contains(&queued.record.instance)
                && pending.as_ref().is_none_or(|purge| !purge.selects(queued.seq, &queued.record, false));
            if may_go {
                batch.push(queued);
            }
            if is_last || batch.len() >= max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(batch)
    }

    /// Notes that these records are going onto the wire. Durable when this returns.
    pub fn begin(&mut self, batch: &[Queued]) -> Result<(), SpoolError> {
        for queued in batch {
            self.manifest.in_flight.insert(queued.seq);
            self.manifest.add_attempt(queued.seq);
        }
        self.manifest.flush.last_attempt_ms = Some(self.now_ms);
        self.commit()
    }

    /// Notes what became of a batch. Records that were purged meanwhile are passed over.
    pub fn acknowledge(&mut self, batch: &[Queued], outcome: &BatchOutcome) -> Result<(), SpoolError> {
        match outcome {
            BatchOutcome::Delivered => self.delivered(batch),
            BatchOutcome::DeadLettered { words } => {
                self.dead_lettered(batch, words);
                Ok(())
            }
            BatchOutcome::Kept => {
                batch.iter().for_each(|queued| _ = self.manifest.in_flight.remove(queued.seq));
                Ok(())
            }
            BatchOutcome::Uncertain => Ok(()),
        }
    }

    fn delivered(&mut self, batch: &[Queued]) -> Result<(), SpoolError> {
        let still_queued: Vec<(usize, &Queued)> = (batch.iter())
            .filter_map(|queued| Some((self.manifest.segment_of(queued.seq)?, queued)))
            .collect();
        let uuids: Vec<&str> = still_queued.iter().map(|(_, it)| it.record.uuid.as_str()).collect();
        self.add_to_dedup(&uuids)?;
        let (mut used, mut span) = (BTreeSet::new(), Span::default());
        for (at, queued) in still_queued {
            self.manifest.mark_done(at, queued.seq);
            used.insert((&queued.record.instance, &queued.record.draft.id));
            span.add(queued.record.timestamp_ms);
        }
        used.into_iter().for_each(|(instance, id)| self.note_delivered(instance, id));
        self.append_to_ledger(LedgerReason::Delivered, span);
        Ok(())
    }

    fn dead_lettered(&mut self, batch: &[Queued], words: &str) {
        let mut span = Span::default();
        for queued in batch {
            let Some(at) = self.manifest.segment_of(queued.seq) else { continue };
            let letter = self.dead_letter_of(queued.seq, words);
            self.manifest.bury(at, queued.seq, letter);
            span.add(queued.record.timestamp_ms);
        }
        self.append_to_ledger(LedgerReason::DeadLettered, span);
    }

    /// Puts all dead letters back into the queue and returns how many.
    pub fn revive_dead(&mut self) -> u64 {
        self.manifest.revive_dead()
    }
}

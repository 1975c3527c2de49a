//! Keeping the limits: carries out what `retention` plans.

use super::error::SpoolError;
use super::ledger::Fate;
use super::queue::{Span, Spool};
use super::retention::{self, Part, Step};
use super::witness::Entry;

impl Spool {
    /// Lets go what the limits do not allow.
    pub fn keep_limits(&mut self) -> Result<(), SpoolError> {
        let bytes = |entry: &Entry| entry.checksum.map_or(entry.frame_bytes * 2, |checksum| checksum.bytes);
        let parts: Vec<Part> = (self.witness.segments.iter())
            .map(|entry| Part {
                number: entry.number,
                live: entry.live(),
                bytes: bytes(entry),
                newest_ms: entry.newest_ms,
            })
            .collect();
        for step in retention::plan(&parts, self.witness.state.bytes, &self.limits, self.now_ms) {
            match step {
                Step::Drop { number, fate } => self.let_go(number, u64::MAX, fate)?,
                Step::Trim { number, records } => self.let_go(number, records, Fate::Evicted)?,
            }
        }
        Ok(())
    }

    /// Marks the oldest live records of a segment as done, with the reason in the ledger.
    fn let_go(&mut self, number: u64, most: u64, fate: Fate) -> Result<(), SpoolError> {
        let Some(at) = self.witness.segments.iter().position(|entry| entry.number == number) else {
            return Ok(());
        };
        let entry = self.witness.segments[at].clone();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let leaving: Vec<u64> = entry.present.iter().filter(|seq| entry.is_live(*seq)).take(most).collect();
        for seq in &leaving {
            self.mark_done(at, *seq);
            self.state.remove_dead(*seq);
        }
        // The times are those of the segment: reading each record again would cost more than the ledger gains.
        let span =
            Span { records: leaving.len() as u64, oldest_ms: entry.oldest_ms, newest_ms: entry.newest_ms };
        self.enter(fate, span);
        Ok(())
    }
}

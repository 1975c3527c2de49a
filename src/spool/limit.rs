//! Keeping the limits: carries out what `retention` plans.

use std::collections::BTreeSet;

use super::error::SpoolError;
use super::ledger::LedgerReason;
use super::queue::{Span, Spool};
use super::reserve;
use super::retention::{self, Part, RetentionStep};
use super::store::{Go, LOG_PIECE};
use super::witness::Entry;

impl Spool {
    /// Lets go what the limits do not allow.
    pub fn keep_limits(&mut self) -> Result<(), SpoolError> {
        let believed = self.state.see_clock(self.now_ms)?.is_believed();
        if self.is_within_limits() {
            return Ok(());
        }
        if !believed {
            self.doubt_the_clock();
        }
        while !self.carry_out_plan()? {}
        Ok(())
    }

    /// Carries a plan out; tells whether that was all of it.
    fn carry_out_plan(&mut self) -> Result<bool, SpoolError> {
        let newest = self.newest_of_instances()?;
        let mut complete = true;
        for step in self.planned(&newest)? {
            match step {
                RetentionStep::Drop { number, fate } => self.let_go(number, u64::MAX, fate, |_| true)?,
                RetentionStep::Expire { number, before_ms } => {
                    self.expire(number, before_ms)?;
                    complete = false;
                }
                RetentionStep::Trim { number, records } => {
                    self.let_go(number, records, LedgerReason::Evicted, |seq| !newest.contains(&seq))?;
                }
                RetentionStep::TrimNewest { number, records } => {
                    self.let_go(number, records, LedgerReason::Evicted, |_| true)?;
                }
                RetentionStep::Shrink { number } => {
                    self.let_go(number, u64::MAX, LedgerReason::Evicted, |seq| !newest.contains(&seq))?;
                    self.shrink(number)?;
                }
            }
        }
        Ok(complete)
    }

    /// What would leave if the limits were kept now, oldest first.
    pub fn plan(&mut self) -> Result<Vec<RetentionStep>, SpoolError> {
        let newest = self.newest_of_instances()?;
        self.planned(&newest)
    }

    /// Says, once, that nothing expires for now.
    fn doubt_the_clock(&mut self) {
        const TEXT: &str = "the clock of this server has jumped by more than 30 days: check the date; nothing expires until it \
                            has gone on from there for a day";
        if !self.problems().iter().any(|problem| problem.text == TEXT) {
            self.add_problem(TEXT.to_owned());
        }
    }

    /// Whether a look at the sums is enough: it is, for nearly every record.
    fn is_within_limits(&self) -> bool {
        let segments = &self.witness.segments;
        let live: u64 = segments.iter().map(Entry::live).sum();
        let bytes: u64 = segments.iter().map(Entry::bytes).sum();
        let oldest_ms = segments.first().map_or(i64::MAX, |entry| entry.oldest_ms);
        let age = u128::try_from(self.now_ms.saturating_sub(oldest_ms)).unwrap_or(0);
        live <= self.limits.max_records
            && bytes + self.other_bytes() <= self.limits.max_bytes
            && age <= self.limits.retention.as_millis()
    }

    fn planned(&mut self, newest: &BTreeSet<u64>) -> Result<Vec<RetentionStep>, SpoolError> {
        let part = |entry: &Entry| Part {
            number: entry.number,
            live: entry.live(),
            newest_of_instance: newest.iter().filter(|seq| entry.is_live(**seq)).count() as u64,
            bytes: entry.bytes(),
            oldest_ms: entry.oldest_ms,
            newest_ms: entry.newest_ms,
        };
        let parts: Vec<Part> = self.witness.segments.iter().map(part).collect();
        let believed = self.state.see_clock(self.now_ms)?.is_believed();
        Ok(retention::plan(&parts, self.other_bytes(), &self.limits, self.now_ms, believed))
    }

    /// Bytes of the folder outside of segments, with what closing may add to the summary.
    fn other_bytes(&self) -> u64 {
        let beside = self.left.bytes() + SMALL_FILES + reserve::wanted(&self.witness);
        self.witness.state.bytes + LOG_PIECE as u64 + beside
    }

    /// The sequence numbers of the newest record of each instance.
    fn newest_of_instances(&self) -> Result<BTreeSet<u64>, SpoolError> {
        Ok(self.state.instances()?.into_iter().filter_map(|(_, instance)| instance.last_seq).collect())
    }

    /// Marks the oldest live records of a segment that may go as done, with the reason in the ledger.
    fn let_go(
        &mut self,
        number: u64,
        most: u64,
        fate: LedgerReason,
        may_go: impl Fn(u64) -> bool,
    ) -> Result<(), SpoolError> {
        let Some(at) = self.place_of_segment(number) else { return Ok(()) };
        let entry = self.witness.segments[at].clone();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let live = entry.present.iter().filter(|seq| entry.is_live(*seq));
        let leaving: Vec<u64> = live.filter(|seq| may_go(*seq)).take(most).collect();
        for seq in &leaving {
            self.mark_done(at, *seq);
        }
        // The times are those of the segment: reading each record again would cost more than the ledger gains.
        let span =
            Span { records: leaving.len() as u64, oldest_ms: entry.oldest_ms, newest_ms: entry.newest_ms };
        self.enter(fate, span)
    }

    /// Lets the records of a segment go that are older than this, and takes note of how old the rest is.
    fn expire(&mut self, number: u64, before_ms: i64) -> Result<(), SpoolError> {
        let Some(at) = self.place_of_segment(number) else { return Ok(()) };
        let entry = self.witness.segments[at].clone();
        let mut oldest_ms = entry.newest_ms;
        let mut expired = BTreeSet::new();
        self.segment(at)?.each(0, |seq, record| {
            if entry.is_live(seq) && record.timestamp_ms < before_ms {
                expired.insert(seq);
            } else if entry.is_live(seq) {
                oldest_ms = oldest_ms.min(record.timestamp_ms);
            }
            Ok(Go::On)
        })?;
        self.let_go(number, u64::MAX, LedgerReason::Expired, |seq| expired.contains(&seq))?;
        self.witness.segments[at].oldest_ms = oldest_ms.max(before_ms);
        Ok(())
    }

    /// Rewrites a segment without the records that are done.
    fn shrink(&mut self, number: u64) -> Result<(), SpoolError> {
        let Some(at) = self.place_of_segment(number) else { return Ok(()) };
        let entry = self.witness.segments[at].clone();
        let mut keep = Vec::new();
        self.segment(at)?.each(0, |seq, record| {
            if entry.is_live(seq) {
                keep.push((seq, record));
            }
            Ok(Go::On)
        })?;
        self.replace_segment(at, &keep)
    }

    fn place_of_segment(&self, number: u64) -> Option<usize> {
        self.witness.segments.iter().position(|entry| entry.number == number)
    }
}

/// Room for the small files of the folder, in bytes: marker, locks, witness, identities.
pub(super) const SMALL_FILES: u64 = 32 * 1024;

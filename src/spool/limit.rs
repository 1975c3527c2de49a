//! Keeping the limits: carries out what `retention` plans.

use std::collections::BTreeSet;

use super::clock_guard::ClockGuard;
use super::error::SpoolError;
use super::ledger::LedgerReason;
use super::manifest::Entry;
use super::queue::{Span, Spool};
use super::ranges::Ranges;
use super::reader::SpoolReader;
use super::reserve;
use super::retention::{self, Quarantine, RetentionStep, Segment};
use super::segment::records::Records;

/// Room for the small files of the folder, in bytes: marker and locks.
const SMALL_FILES: u64 = 8 * 1024;

impl SpoolReader {
    /// Computes what would leave if the limits were applied now, oldest first.
    pub fn plan(&self) -> Vec<RetentionStep> {
        let newest = self.newest_of_instances();
        let segment = |entry: &Entry| Segment {
            number: entry.number,
            live: entry.live_count(),
            newest_of_instance: newest.within(&entry.live()).len(),
            bytes: entry.bytes(),
            least_bytes: entry.frame_bytes,
            sealed: entry.sealed,
            oldest_ms: entry.oldest_ms,
            newest_ms: entry.newest_ms,
        };
        let segments: Vec<Segment> = self.segments_in_use().map(segment).collect();
        let quarantined: Vec<Quarantine> = (self.manifest.quarantined.iter())
            .map(|part| Quarantine { number: part.number, bytes: part.bytes, at_ms: part.at_ms })
            .collect();
        let expire = self.clock().is_trusted();
        let other_bytes = self.other_bytes();
        retention::plan(&segments, &quarantined, other_bytes, &self.limits, self.now_ms, expire)
    }

    /// Those with records in the queue; the others leave with the next commit.
    fn segments_in_use(&self) -> impl Iterator<Item = &Entry> {
        self.manifest.segments.iter().filter(|entry| entry.live_count() > 0)
    }

    /// The clock after one more look.
    fn clock(&self) -> ClockGuard {
        self.manifest.clock.map_or_else(|| ClockGuard::new(self.now_ms), |known| known.see(self.now_ms))
    }

    /// Bytes of the folder outside of segments, and the reserve.
    fn other_bytes(&self) -> u64 {
        let quarantined: u64 = self.manifest.quarantined.iter().map(|part| part.bytes).sum();
        self.bytes_beside_segments() - quarantined + SMALL_FILES + reserve::wanted(&self.manifest)
    }

    /// The sequence numbers of the newest record of each instance.
    fn newest_of_instances(&self) -> Ranges {
        self.manifest.instances.values().filter_map(|instance| instance.last_seq).collect()
    }

    /// Whether a look at the sums is enough: for nearly every record nothing has to leave.
    fn is_within_limits(&self) -> bool {
        let live: u64 = self.segments_in_use().map(Entry::live_count).sum();
        let bytes: u64 = self.segments_in_use().map(Entry::bytes).sum();
        let quarantined: u64 = self.manifest.quarantined.iter().map(|part| part.bytes).sum();
        let times = self.segments_in_use().map(|entry| entry.oldest_ms);
        let oldest_ms = times.chain(self.manifest.quarantined.iter().map(|part| part.at_ms)).min();
        let age = self.now_ms.saturating_sub(oldest_ms.unwrap_or(self.now_ms));
        live <= self.limits.max_records
            && bytes + quarantined + self.other_bytes() <= self.limits.max_bytes
            && u128::try_from(age).unwrap_or(0) <= self.limits.retention.as_millis()
    }
}

impl Spool {
    /// Removes what the limits do not allow.
    pub fn keep_limits(&mut self) -> Result<(), SpoolError> {
        let trusted = self.see_clock().is_trusted();
        if self.is_within_limits() {
            return Ok(());
        }
        if !trusted {
            self.add_problem(
                "the clock of this server has jumped by more than 30 days: check the date; nothing expires until it has gone \
                 on from there for a day"
                    .to_owned(),
            );
        }
        while !self.carry_out_plan()? {}
        Ok(())
    }

    /// Notes what the clock says.
    pub(super) fn see_clock(&mut self) -> ClockGuard {
        let clock = self.clock();
        self.manifest.clock = Some(clock);
        clock
    }

    /// Carries a plan out and returns whether that was all of it.
    fn carry_out_plan(&mut self) -> Result<bool, SpoolError> {
        let newest = self.newest_of_instances();
        let mut complete = true;
        for step in self.plan() {
            match step {
                RetentionStep::Drop { number, reason } => {
                    self.drop_oldest(number, u64::MAX, reason, |_| true)
                }
                RetentionStep::Expire { number, before_ms } => {
                    self.expire(number, before_ms)?;
                    complete = false;
                }
                RetentionStep::Trim { number, records, spare_newest } => {
                    let may_go = |seq| !spare_newest || !newest.contains(seq);
                    self.drop_oldest(number, records, LedgerReason::Evicted, may_go);
                }
                RetentionStep::Compact { number } => self.compact(number)?,
                RetentionStep::DropQuarantined { number } => {
                    self.manifest.quarantined.retain(|part| part.number != number);
                    self.obsolete.push(number);
                }
            }
        }
        Ok(complete)
    }

    /// Marks the oldest records of a segment that may go as done, with the reason in the ledger.
    fn drop_oldest(&mut self, number: u64, max: u64, reason: LedgerReason, may_go: impl Fn(u64) -> bool) {
        let Some(at) = self.manifest.position(number) else { return };
        let entry = self.manifest.segments[at].clone();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let leaving: Vec<u64> = entry.live().iter().filter(|seq| may_go(*seq)).take(max).collect();
        leaving.iter().for_each(|seq| self.manifest.mark_done(at, *seq));
        // The times are those of the segment: reading each record again would cost more than the
        // ledger gains.
        let records = leaving.len() as u64;
        let span = Span { records, oldest_ms: entry.oldest_ms, newest_ms: entry.newest_ms };
        self.append_to_ledger(reason, span);
    }

    /// Drops the records of a segment that are older than this, and notes how old the rest is.
    fn expire(&mut self, number: u64, before_ms: i64) -> Result<(), SpoolError> {
        let Some((at, found)) = self.whole_segment(number)? else { return Ok(()) };
        let newest_ms = self.manifest.segments[at].newest_ms;
        let expired: BTreeSet<u64> =
            found.times().filter(|(_, time_ms)| *time_ms < before_ms).map(|(seq, _)| seq).collect();
        let oldest_ms =
            found.times().map(|(_, time_ms)| time_ms).filter(|time_ms| *time_ms >= before_ms).min();
        self.drop_oldest(number, u64::MAX, LedgerReason::Expired, |seq| expired.contains(&seq));
        self.manifest.segments[at].oldest_ms = oldest_ms.unwrap_or(newest_ms).max(before_ms);
        Ok(())
    }

    /// Writes a segment anew with nothing but the records in the queue.
    fn compact(&mut self, number: u64) -> Result<(), SpoolError> {
        let Some((_, found)) = self.whole_segment(number)? else { return Ok(()) };
        let keep: Vec<_> = found.into_records().collect();
        self.replace_segment(number, &keep)
    }

    /// The position of a segment and its records in the queue. A segment that lacks some of them is
    /// damaged: it is recovered instead.
    fn whole_segment(&mut self, number: u64) -> Result<Option<(usize, Records)>, SpoolError> {
        let Some(at) = self.manifest.position(number) else { return Ok(None) };
        self.close_if_active(number)?;
        let entry = &self.manifest.segments[at];
        let live = entry.live();
        let found = self.records_of(entry, &live)?;
        if found.len() < live.len() {
            self.recover(&[number])?;
            return Ok(None);
        }
        Ok(Some((at, found)))
    }
}

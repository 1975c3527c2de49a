//! What a setting may be set to, each range with its reason.
//!
//! The ends are generous: they refuse what can only be a slip (a zero, a missing digit, milliseconds for minutes) or
//! what the other side refuses anyway, and leave the rest to the admin.

use std::ops::RangeInclusive;
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const CENTURY: Duration = Duration::from_hours(36_500 * 24);

/// The largest settings file that is read; the commented sample has about 6 KB.
pub(super) const FILE_BYTES: u64 = MIB;

/// `spool.maxBytes`. Below 2 MiB an empty spool with its ledger and its reserve would already be over the limit.
pub(super) const SPOOL_BYTES: RangeInclusive<u64> = 2 * MIB..=TIB;
/// `spool.maxRecords`. A hundred million records are decades of any server's changes.
pub(super) const SPOOL_RECORDS: RangeInclusive<u64> = 1..=100_000_000;
/// `spool.retention`. Under an hour nothing would outlive a lunch break without a line; a century means "keep".
pub(super) const RETENTION: RangeInclusive<Duration> = HOUR..=CENTURY;
/// `spool.wait`. Holders act within milliseconds, so 100 ms is short but fair; after 10 minutes somebody should look.
pub(super) const SPOOL_WAIT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);

/// `watch.settle`. Zero would read files in the middle of an editor's write.
pub(super) const SETTLE: RangeInclusive<Duration> = Duration::from_millis(10)..=MINUTE;
/// `watch.poll`. Below a second the disk never rests; beyond a day a network share's changes would be news of
/// yesterday.
pub(super) const POLL: RangeInclusive<Duration> = SECOND..=Duration::from_hours(24);
/// `record.interval`. Butler's own cadence is 12 h; once a minute is already far more than anyone reads.
pub(super) const INTERVAL: RangeInclusive<Duration> = MINUTE..=Duration::from_hours(365 * 24);

/// `flush.every`. Between attempts of the service while the line is up.
pub(super) const EVERY: RangeInclusive<Duration> = SECOND..=Duration::from_hours(30 * 24);
/// `flush.batchEvents`. More than 10,000 gain nothing and make a refused batch long to halve.
pub(super) const BATCH_EVENTS: RangeInclusive<u64> = 1..=10_000;
/// `flush.batchBytes`, before gzip. PostHog takes 20 MiB decoded; 16 KiB still holds the largest record of any
/// generation.
pub(super) const BATCH_BYTES: RangeInclusive<u64> = 16 * KIB..=20 * MIB;
/// `flush.timeout`. Of one whole request.
pub(super) const TIMEOUT: RangeInclusive<Duration> = SECOND..=Duration::from_mins(10);
/// `flush.patience`. All the waiting of one flush by hand.
pub(super) const PATIENCE: RangeInclusive<Duration> = SECOND..=HOUR;
/// `flush.historicalAfter`. Younger than an hour nothing is history; a century switches it off.
pub(super) const HISTORICAL_AFTER: RangeInclusive<Duration> = HOUR..=CENTURY;

/// Longest project key that PostHog takes; a longer one is answered with 401.
pub(super) const KEY_LENGTH: usize = 64;
/// Longest name of an instance or a service: what fits a column of `status`.
pub(super) const NAME_LENGTH: usize = 64;

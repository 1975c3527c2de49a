//! Promise 9: the spool is bounded. The oldest records leave first and the newest of each instance
//! last, always with an entry in the ledger; and no jump of a clock makes any of them leave, or be
//! sent with another time than its own.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, files, spool_folder, waiting_in};
use crate::support::posthog::PostHog;
use crate::support::scratch::in_memory;
use crate::support::site::{SOS, Site};
use crate::support::{err, expect, out};
use salver::record::BatchOutcome;
use salver::record::Reason;
use salver::spool::{LedgerReason, Selector, SpoolFolder};

const HOUR: i64 = 3600 * 1000;
const DAY: i64 = 24 * HOUR;

/// A spool that may hold so many records and bytes.
fn bounded(place: &tempfile::TempDir, max_records: u64, max_bytes: u64) -> SpoolFolder {
    let mut folder = spool_folder(&place.path().join("spool"));
    folder.limits.max_records = max_records;
    folder.limits.max_bytes = max_bytes;
    folder
}

/// Records so many drafts of an instance at a time.
fn record(folder: &SpoolFolder, now_ms: i64, instance: &str, numbers: std::ops::Range<u64>) {
    let mut spool = folder.open(now_ms).unwrap();
    spool.record_all(instance, numbers.map(draft).collect(), Reason::Changed).unwrap();
    spool.close().unwrap();
}

/// Instance and number of each record that waits, in order.
fn waiting(folder: &SpoolFolder) -> Vec<(String, u64)> {
    let mut spool = folder.open(NOW).unwrap();
    let waiting = waiting_in(&mut spool).unwrap();
    spool.close().unwrap();
    waiting.into_iter().map(|queued| (queued.record.instance, queued.seq)).collect()
}

/// What the ledger says has left, by fate.
fn left(folder: &SpoolFolder, fate: LedgerReason) -> u64 {
    let spool = folder.open(NOW).unwrap();
    let left = spool.ledger().iter().filter(|entry| entry.reason == fate).map(|entry| entry.records).sum();
    spool.close().unwrap();
    left
}

fn bytes_on_disk(folder: &SpoolFolder) -> u64 {
    files(&folder.path).iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn beyond_the_limit_on_records_the_oldest_leave_and_the_newest_of_an_instance_stays() {
    let place = tempfile::tempdir().unwrap();
    let folder = bounded(&place, 20, 1 << 30);
    record(&folder, NOW, "quiet", 0..3);
    for round in 0..10 {
        record(&folder, NOW + 1000 * round, "busy", round as u64 * 7..round as u64 * 7 + 7);
        assert!(waiting(&folder).len() <= 20);
    }
    let left_over = waiting(&folder);
    assert_eq!(left_over[0], ("quiet".to_owned(), 3), "the last word of an instance outlives what is newer");
    let busy: Vec<u64> = left_over[1..].iter().map(|(_, seq)| *seq).collect();
    assert_eq!(busy, (55..=73).collect::<Vec<_>>(), "of the others the newest stay");
    assert_eq!(left(&folder, LedgerReason::Evicted), 73 - 20, "each of the others is in the ledger");
}

#[test]
fn when_there_are_more_instances_than_records_may_stay_even_the_newest_leave_oldest_first() {
    let place = tempfile::tempdir().unwrap();
    let folder = bounded(&place, 3, 1 << 30);
    for (number, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        record(&folder, NOW + number as i64, name, 0..1);
    }
    let names: Vec<String> = waiting(&folder).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["c", "d", "e"]);
}

#[test]
fn beyond_the_limit_on_bytes_the_folder_shrinks_and_the_newest_of_an_instance_stays() {
    let place = tempfile::tempdir().unwrap();
    let folder = bounded(&place, 1_000_000, 1 << 30);
    record(&folder, NOW, "quiet", 0..1);
    record(&folder, NOW + 1, "busy", 0..30_000);
    let before = bytes_on_disk(&folder);
    let most = before / 2;
    let folder = bounded(&place, 1_000_000, most);
    record(&folder, NOW + 2, "busy", 30_000..30_001);
    let after = bytes_on_disk(&folder);
    assert!(after <= most, "{after} of {before} bytes, and {most} were allowed");
    let left_over = waiting(&folder);
    assert_eq!(left_over[0].0, "quiet");
    let busy: Vec<u64> = left_over[1..].iter().map(|(_, seq)| *seq).collect();
    assert!(
        busy.windows(2).all(|pair| pair[0] + 1 == pair[1]) && *busy.last().unwrap() == 30_002,
        "the newest stay"
    );
    assert_eq!(left(&folder, LedgerReason::Evicted) + left_over.len() as u64, 30_002);
}

#[test]
fn the_narrowest_limit_on_bytes_that_may_be_set_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let most = 2 * 1024 * 1024;
    let folder = bounded(&place, 1_000_000, most);
    // What is kept of earlier deliveries counts as well.
    const DELIVERED: u64 = 12_000;
    for first in (0..DELIVERED).step_by(1_000) {
        record(&folder, NOW, "a", first..first + 1_000);
        let mut spool = folder.open(NOW).unwrap();
        let batch = spool.next_batch(1_000, &BTreeSet::new()).unwrap();
        spool.begin(&batch).unwrap();
        spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
        spool.close().unwrap();
    }
    for round in 0..20 {
        record(&folder, NOW + round, "a", round as u64 * 500..round as u64 * 500 + 500);
        let bytes = bytes_on_disk(&folder);
        assert!(bytes <= most, "{bytes} after {round} rounds");
    }
    let left_over = waiting(&folder);
    assert!(
        left_over.len() > 500 && left_over.last().unwrap().1 == DELIVERED + 10_000,
        "{}",
        left_over.len()
    );
    assert_eq!(left(&folder, LedgerReason::Evicted) + left_over.len() as u64, 10_000);
    assert_eq!(
        left(&folder, LedgerReason::Delivered),
        DELIVERED,
        "what was delivered in time was not evicted"
    );
}

#[test]
fn what_is_older_than_the_retention_expires_but_not_across_a_jump_of_the_clock() {
    let place = tempfile::tempdir().unwrap();
    let mut folder = bounded(&place, 1000, 1 << 30);
    folder.limits.retention = Duration::from_secs(100 * 24 * 3600);
    record(&folder, NOW, "a", 0..5);

    let far = NOW + 20_000 * DAY;
    for now_ms in [far, far + HOUR, far + 23 * HOUR] {
        record(&folder, now_ms, "b", 0..1);
        assert_eq!(left(&folder, LedgerReason::Expired), 0, "{now_ms}");
    }
    let mut spool = folder.open(far + 23 * HOUR).unwrap();
    let problems: Vec<String> = spool.problems().iter().map(|problem| problem.text.clone()).collect();
    assert!(
        problems.len() == 1 && problems[0].contains("the clock of this server has jumped"),
        "{problems:?}"
    );
    assert_eq!(spool.counts().unwrap().queued, 8);
    spool.close().unwrap();

    // Back in the present, which is a jump as well, and on from there: nothing is old, and then the
    // first are.
    let of_a = || waiting(&folder).iter().filter(|(name, _)| name == "a").count();
    for days in 0..=100 {
        record(&folder, NOW + days * DAY, "c", 0..1);
        assert_eq!(of_a(), 5, "day {days}");
    }
    record(&folder, NOW + 101 * DAY, "c", 0..1);
    assert_eq!((of_a(), left(&folder, LedgerReason::Expired)), (0, 6), "they, and the first of the others");
}

#[test]
fn whole_segments_expire_when_the_clock_went_on_to_their_end() {
    let place = tempfile::tempdir().unwrap();
    let mut folder = bounded(&place, 100_000, 1 << 30);
    folder.limits.retention = Duration::from_secs(100 * 24 * 3600);
    record(&folder, NOW, "a", 0..5000);
    for days in (20..=120).step_by(20) {
        record(&folder, NOW + days * DAY, "b", 0..1);
    }
    let expired = left(&folder, LedgerReason::Expired);
    assert!(expired >= 4096, "{expired}");
    assert_eq!(expired + waiting(&folder).len() as u64, 5006);
}

#[test]
fn what_was_stamped_far_in_the_future_is_held_until_its_time_and_never_restamped() {
    let place = tempfile::tempdir().unwrap();
    let folder = bounded(&place, 1000, 1 << 30);
    record(&folder, NOW + 10 * DAY, "a", 0..2);
    record(&folder, NOW, "b", 0..1);
    let nobody = BTreeSet::new();
    let mut spool = folder.open(NOW).unwrap();
    let batch = spool.next_batch(10, &nobody).unwrap();
    assert_eq!(batch.iter().map(|queued| queued.record.instance.as_str()).collect::<Vec<_>>(), ["b"]);
    let (ahead, first_ms) = spool.ahead().unwrap();
    assert_eq!((ahead, first_ms), (2, Some(NOW + 10 * DAY - 23 * HOUR)));
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    assert_eq!(spool.next_batch(10, &nobody).unwrap(), []);
    spool.close().unwrap();

    let mut spool = folder.open(first_ms.unwrap()).unwrap();
    let times: Vec<i64> =
        spool.next_batch(10, &nobody).unwrap().iter().map(|queued| queued.record.timestamp_ms).collect();
    spool.close().unwrap();
    assert_eq!(times[0], NOW + 10 * DAY, "as it was stamped");
    assert_eq!(waiting(&folder).len(), 2);
}

#[test]
fn status_says_what_left_and_why_and_when_the_next_expires() {
    let site = Site::of_sos(SOS);
    site.write(
        "salver.yaml",
        "spool: {directory: spool, maxRecords: 2, retention: 10d}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n",
    );
    for _ in 0..5 {
        expect(site.salver().args(["record", "--force"]), 0);
    }
    let status = site.status();
    assert_eq!(status["spool"]["records"], 2);
    let left = status["left"].as_array().unwrap();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|entry| entry["fate"] == "evicted" && entry["records"] == 1), "{left:?}");
    let (oldest, expiry) = (&status["spool"]["oldest"], &status["limits"]["nextExpiry"]);
    let time = |json: &serde_json::Value| json.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((time(expiry) - time(oldest)).total(jiff::Unit::Hour).unwrap(), 240.0);
    let text = out(&expect(site.salver().arg("status"), 0));
    assert!(text.contains("evicted") && text.contains("2 records, 10d; next to expire "), "{text}");
}

#[test]
fn a_flush_holds_what_is_stamped_in_the_future_and_says_until_when() {
    let posthog = PostHog::start();
    let site = Site::of_sos(SOS);
    site.settings(&format!("posthog: {{host: '{}', apiKey: phc_not_a_real_key}}\n", posthog.url()));
    let folder = spool_folder(&site.spool());
    let now_ms = salver::clock::now_ms();
    record(&folder, now_ms + 3 * DAY, "a", 0..2);
    record(&folder, now_ms - HOUR, "b", 0..3);
    let dry = out(&expect(site.salver().args(["flush", "--dry-run"]), 0));
    assert_eq!(dry.matches("\"uuid\"").count(), 3);
    let flushed = expect(site.salver().arg("flush"), 0);
    assert!(err(&flushed).contains("stamped in the future"), "{}", err(&flushed));
    assert_eq!((posthog.uuids().len(), site.dump().len()), (3, 2));
    let status = site.status();
    assert_eq!(status["spool"]["ahead"], 2);
    assert!(out(&expect(site.salver().arg("status"), 0)).contains("2 of them were stamped in the future"));
}

/// On Windows a segment cannot be read while the database writes to it, not even by its own
/// process.
#[test]
fn the_segment_that_is_written_to_can_be_read_expired_from_and_erased() {
    let place = tempfile::tempdir().unwrap();
    let mut folder = bounded(&place, 100, 1 << 30);
    folder.limits.retention = Duration::from_secs(24 * 3600);
    folder.wait = Duration::from_millis(500);
    record(&folder, NOW, "a", 0..3);
    let mut spool = folder.open(NOW + DAY + 10).unwrap();
    spool.record("b", draft(3), Reason::Changed).unwrap();
    let waiting = waiting_in(&mut spool).unwrap();
    assert_eq!(waiting.iter().map(|queued| queued.seq).collect::<Vec<_>>(), [4], "the others have expired");
    spool.record("b", draft(4), Reason::Changed).unwrap();
    let purged = spool.purge(&Selector { all: true, ..Selector::default() }).unwrap();
    assert_eq!(purged.receipt.records, 2);
    let (_, search) = spool.close_and_search(purged).unwrap();
    assert_eq!(search.left, []);
}

/// The narrowest limit that can be set: what is evicted for one new record is a small part of the
/// queue.
#[test]
fn at_the_narrowest_limit_one_record_never_evicts_the_backlog() {
    let place = in_memory();
    let folder = bounded(&place, 1 << 20, 2 << 20);
    let count = || folder.read(NOW).unwrap().counts().unwrap().queued;
    let (mut most, mut evictions) = (0, 0);
    for number in 0..100 {
        record(&folder, NOW, "a", number * 100..number * 100 + 99);
        let held = count();
        record(&folder, NOW, "a", number..number + 1);
        let holds = count();
        assert!(holds > held / 2, "one record evicted {} of {held}", held + 1 - holds);
        evictions += usize::from(holds < held);
        assert!(bytes_on_disk(&folder) <= 2 << 20, "{} bytes", bytes_on_disk(&folder));
        most = most.max(holds);
    }
    assert!(most > 1000, "only {most} records fit");
    let evicted = left(&folder, LedgerReason::Evicted);
    assert!(evicted > 1000, "only {evicted} were evicted");
    assert!(evictions < 50, "{evictions} of 100 single records evicted others");
}

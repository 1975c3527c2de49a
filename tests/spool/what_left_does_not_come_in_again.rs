//! Promise: the spool knows again what was delivered or erased here, so that an export that is imported twice brings nothing back.
//! It keeps digests for that, from which nobody learns a uuid, within a bound.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, copy, files_with, spool_folder};
use crate::support::scratch::in_memory;
use salver::record::BatchOutcome;
use salver::record::Reason;
use salver::spool::{Selector, Spool, SpoolFolder};
use uuid::Uuid;

const DAY: i64 = 24 * 3600 * 1000;

fn record(spool: &mut Spool, instance: &str, count: u64) -> Vec<Uuid> {
    let written = spool.record_all(instance, (0..count).map(draft).collect(), Reason::Changed).unwrap();
    written.iter().map(|record| record.uuid.parse().unwrap()).collect()
}

/// Delivers the next records.
fn deliver(spool: &mut Spool, most: usize) {
    let batch = spool.next_batch(most, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
}

/// Records and delivers so many, in a step of their own.
fn delivered(folder: &SpoolFolder, now_ms: i64, count: u64) -> Vec<Uuid> {
    let mut spool = folder.open(now_ms).unwrap();
    let uuids = record(&mut spool, "a", count);
    deliver(&mut spool, uuids.len());
    spool.close().unwrap();
    uuids
}

/// How many of these have left, as far as the spool knows.
fn known(folder: &SpoolFolder, uuids: &[Uuid]) -> usize {
    let mut spool = folder.open(NOW).unwrap();
    let known = uuids.iter().filter(|uuid| spool.is_in_dedup(uuid).unwrap()).count();
    spool.close().unwrap();
    known
}

fn problems(folder: &SpoolFolder) -> Vec<String> {
    let spool = folder.open(NOW).unwrap();
    let problems = spool.problems().iter().map(|problem| problem.text.clone()).collect();
    spool.close().unwrap();
    problems
}

#[test]
fn what_was_delivered_or_erased_is_known_again_and_nothing_else_is() {
    let place = in_memory();
    let mut folder = spool_folder(&place.path().join("spool"));
    let sent = delivered(&folder, NOW, 10);
    let mut spool = folder.open(NOW).unwrap();
    let erased = record(&mut spool, "erased", 10);
    spool.purge(&Selector::of_instance("erased")).unwrap();
    let evicted = record(&mut spool, "a", 10);
    spool.close().unwrap();
    folder.limits.max_records = 5;
    let mut spool = folder.open(NOW).unwrap();
    let waiting = record(&mut spool, "a", 5);
    let batch = spool.next_batch(1, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch[..1], &BatchOutcome::DeadLettered { words: "400 no".into() }).unwrap();
    assert_eq!(sent.iter().filter(|uuid| spool.is_in_dedup(uuid).unwrap()).count(), 10, "at once");
    spool.close().unwrap();

    assert_eq!((known(&folder, &sent), known(&folder, &erased)), (10, 10));
    assert_eq!(known(&folder, &evicted), 0, "an import may bring back what had no room");
    assert_eq!(known(&folder, &waiting), 0, "not what waits, dead letters among it");
    let mut spool = folder.open(NOW).unwrap();
    spool.purge(&Selector { dead: true, ..Selector::default() }).unwrap();
    spool.close().unwrap();
    assert_eq!(known(&folder, &waiting), 1, "the dead letter was erased");
    assert_eq!(problems(&folder), Vec::<String>::new());
}

#[test]
fn the_digests_tell_nobody_a_uuid() {
    let place = in_memory();
    let folder = spool_folder(&place.path().join("spool"));
    let uuids = delivered(&folder, NOW, 20);
    for uuid in uuids {
        let plain = [uuid.hyphenated().to_string(), uuid.simple().to_string()].map(String::into_bytes);
        for form in plain.into_iter().chain([uuid.as_bytes().to_vec(), uuid.to_bytes_le().to_vec()]) {
            assert_eq!(files_with(&folder.path, &form), Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn a_death_between_the_digest_and_the_acknowledgement_loses_neither_the_record_nor_the_digest() {
    let place = in_memory();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    let uuids = record(&mut spool, "a", 8);
    spool.close().unwrap();
    let mut spool = folder.open(NOW).unwrap();
    deliver(&mut spool, 5);
    // Dies before it is closed: what was settled is not acknowledged yet.
    drop(spool);
    assert_eq!(known(&folder, &uuids), 5, "the digest is there first");
    let mut spool = folder.open(NOW).unwrap();
    assert_eq!(spool.counts().unwrap().queued, 8, "and the batch is sent again");
    deliver(&mut spool, 5);
    spool.close().unwrap();
    let mut spool = folder.open(NOW).unwrap();
    assert_eq!(spool.counts().unwrap().queued, 3);
    spool.close().unwrap();
    assert_eq!((known(&folder, &uuids), problems(&folder)), (5, vec![]));
}

#[test]
fn a_purge_that_died_after_the_digest_is_finished_and_known() {
    let place = in_memory();
    let folder = spool_folder(&place.path().join("spool"));
    delivered(&folder, NOW, 3);
    let mut spool = folder.open(NOW).unwrap();
    let uuids = record(&mut spool, "a", 8);
    spool.close().unwrap();
    let before = place.path().join("before");
    copy(&folder.path, &before);
    let mut spool = folder.open(NOW).unwrap();
    spool.purge(&Selector::of_instance("a")).unwrap();
    spool.close().unwrap();
    // As it was before, but for the digests.
    fs::copy(folder.path.join("dedup"), before.join("dedup")).unwrap();
    fs::remove_dir_all(&folder.path).unwrap();
    copy(&before, &folder.path);
    make_private(&folder);
    let mut spool = folder.open(NOW).unwrap();
    assert_eq!(spool.purge(&Selector::of_instance("a")).unwrap().receipt.records, 8);
    spool.close().unwrap();
    assert_eq!((known(&folder, &uuids), problems(&folder)), (8, vec![]));
}

#[test]
fn digests_stay_within_their_bound_and_the_newest_are_kept() {
    let place = in_memory();
    let mut folder = spool_folder(&place.path().join("spool"));
    // Which leaves 8,192 digests.
    folder.limits.max_bytes = 2 * 1024 * 1024;
    let mut steps = Vec::new();
    for _ in 0..30 {
        steps.push(delivered(&folder, NOW, 400));
        let bytes = fs::metadata(folder.path.join("dedup")).unwrap().len();
        assert!(bytes <= 8_192 * 8 * 5 / 4 + 8 * 1024, "{bytes}");
    }
    let known: Vec<usize> = steps.iter().map(|uuids| known(&folder, uuids)).collect();
    assert_eq!(known[29 - 8_192 / 400 + 1..], vec![400; 8_192 / 400], "the newest");
    assert_eq!(known[0], 0, "the oldest");
    assert_eq!(problems(&folder), Vec::<String>::new());
}

#[test]
fn digests_age_with_the_retention_but_not_by_a_clock_that_jumped() {
    let place = in_memory();
    let mut folder = spool_folder(&place.path().join("spool"));
    folder.limits.retention = Duration::from_secs(100 * 24 * 3600);
    let first = delivered(&folder, NOW, 5);
    for days in (20..=100).step_by(20) {
        delivered(&folder, NOW + days * DAY, 5);
        assert_eq!(known(&folder, &first), 5, "day {days}");
    }
    delivered(&folder, NOW + 102 * DAY, 5);
    assert_eq!(known(&folder, &first), 0);
    let last = delivered(&folder, NOW + 103 * DAY, 5);
    delivered(&folder, NOW + 20_000 * DAY, 5);
    assert_eq!(known(&folder, &last), 5);
}

#[test]
fn damage_is_said_and_what_is_whole_is_still_known() {
    let place = in_memory();
    let folder = spool_folder(&place.path().join("spool"));
    let steps: Vec<Vec<Uuid>> = (0..4).map(|_| delivered(&folder, NOW, 50)).collect();
    let healthy = place.path().join("healthy");
    copy(&folder.path, &healthy);
    let whole = fs::read(healthy.join("dedup")).unwrap();
    let chunk = (whole.len() - 83) / 4;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let torn = [&whole[..], &whole[83..83 + chunk / 2]].concat();
    // What the file holds, which steps are still known, and whether it is damage.
    let cases = [
        ("a chunk that was cut off by a crash", Some(torn), [true; 4], false),
        ("removed", None, [false; 4], true),
        ("empty", Some(Vec::new()), [false; 4], true),
        ("the key", Some(flipped(20)), [false; 4], true),
        ("the first chunk", Some(flipped(83 + 40)), [false, true, true, true], true),
        ("the head of the second", Some(flipped(83 + chunk + 5)), [true, false, true, true], true),
        ("the last chunk is cut", Some(whole[..whole.len() - 1].to_vec()), [true, true, true, false], true),
        (
            "the last chunk is gone",
            Some(whole[..whole.len() - chunk].to_vec()),
            [true, true, true, false],
            true,
        ),
    ];
    for (what, bytes, left, is_damage) in cases {
        fs::remove_dir_all(&folder.path).unwrap();
        copy(&healthy, &folder.path);
        make_private(&folder);
        match bytes {
            Some(bytes) => fs::write(folder.path.join("dedup"), bytes).unwrap(),
            None => fs::remove_file(folder.path.join("dedup")).unwrap(),
        }
        let expected = left.map(|is_left| if is_left { 50 } else { 0 });
        for _ in 0..2 {
            let known: Vec<usize> = steps.iter().map(|uuids| known(&folder, uuids)).collect();
            assert_eq!(known, expected, "{what}");
            let later = delivered(&folder, NOW, 7);
            assert_eq!(self::known(&folder, &later), 7, "{what}");
            let problems = problems(&folder);
            assert_eq!(problems.len(), usize::from(is_damage), "{what}: {problems:?}");
            assert!(problems.iter().all(|text| text.contains("`dedup`")), "{what}: {problems:?}");
        }
    }
}

fn make_private(folder: &SpoolFolder) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

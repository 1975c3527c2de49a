//! Promise: the spool's folder shrinks with its backlog. Whatever was in it, once the last of it has left less than 2 MiB remain, with
//! the ledger and the digests of what left; and however often that happens, the ledger still adds up.
//!
//! `SALVER_TEST_DRAINED` sets how many records are drained, before a release 1000000, in batches of the usual size; what is
//! left does not depend on it from 65,536 on. How long it takes is told, and not judged.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, files, spool_folder};
use crate::support::scratch::{how_many, in_memory};
use salver::record::BatchOutcome;
use salver::record::Reason;
use salver::spool::{LedgerReason, Selector, SpoolFolder};

/// What may remain.
const SMALL: u64 = 2 * 1024 * 1024;

/// The events of a batch by the settings' default.
const BATCH: usize = 2_000;

fn bytes_on_disk(folder: &SpoolFolder) -> u64 {
    files(&folder.path).iter().map(|path| path.metadata().unwrap().len()).sum()
}

fn fill(folder: &SpoolFolder, records: usize) {
    let mut spool = folder.open(NOW).unwrap();
    for first in (0..records).step_by(BATCH) {
        let numbers = first..records.min(first + BATCH);
        spool.record_all("a", numbers.map(|n| draft(n as u64)).collect(), Reason::Changed).unwrap();
    }
    spool.close().unwrap();
}

/// Sends batches until nothing waits; tells how many that took.
fn drain(folder: &SpoolFolder, most: usize, fate: &BatchOutcome) -> usize {
    for batches in 0.. {
        let mut spool = folder.open(NOW).unwrap();
        let batch = spool.next_batch(most, &BTreeSet::new()).unwrap();
        if batch.is_empty() {
            spool.close().unwrap();
            return batches;
        }
        spool.begin(&batch).unwrap();
        spool.acknowledge(&batch, fate).unwrap();
        spool.close().unwrap();
    }
    unreachable!()
}

#[test]
fn a_large_backlog_leaves_little_when_it_is_delivered() {
    let records = how_many("SALVER_TEST_DRAINED", 90_000);
    let place = if records > 100_000 { tempfile::tempdir().unwrap() } else { in_memory() };
    let folder = spool_folder(&place.path().join("spool"));
    fill(&folder, records);
    let full = bytes_on_disk(&folder);
    let began = Instant::now();
    let batches = drain(&folder, BATCH, &BatchOutcome::Delivered);
    let bytes = bytes_on_disk(&folder);
    println!(
        "{records} records: {full} bytes, drained in {batches} batches and {:?}, {bytes} bytes",
        began.elapsed()
    );
    assert!(bytes < SMALL, "{bytes} of {full}");
    assert_eq!(folder.open(NOW).unwrap().counts().unwrap().queued, 0);
}

#[test]
fn thousands_of_dead_letters_leave_little_when_they_go() {
    for purged in [true, false] {
        let place = in_memory();
        let folder = spool_folder(&place.path().join("spool"));
        fill(&folder, 6_000);
        // A server has much to say.
        drain(&folder, 500, &BatchOutcome::DeadLettered { words: "400 no, ".repeat(60) });
        let mut spool = folder.open(NOW).unwrap();
        if purged {
            spool.purge(&Selector { dead: true, ..Selector::default() }).unwrap();
            spool.close().unwrap();
        } else {
            assert_eq!(spool.revive_dead(), 6_000);
            spool.close().unwrap();
            drain(&folder, BATCH, &BatchOutcome::Delivered);
        }
        let bytes = bytes_on_disk(&folder);
        assert!(bytes < SMALL, "{bytes}, purged: {purged}");
        assert_eq!(folder.open(NOW).unwrap().problems(), []);
    }
}

#[test]
fn of_years_of_small_deliveries_the_ledger_keeps_the_newest_and_the_sums_of_the_others() {
    const STEPS: u64 = 2_500;
    let place = in_memory();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    for step in 0..STEPS {
        // Some in between are erased.
        spool.record("a", draft(step), Reason::Changed).unwrap();
        let batch = spool.next_batch(1, &BTreeSet::new()).unwrap();
        if step % 250 == 0 {
            spool.purge(&Selector::of_instance("a")).unwrap();
        } else {
            spool.acknowledge(&batch[..1], &BatchOutcome::Delivered).unwrap();
        }
    }
    spool.close().unwrap();
    let spool = folder.open(NOW).unwrap();
    let ledger = spool.ledger();
    let left = |fate: LedgerReason| -> u64 {
        ledger.iter().filter(|entry| entry.reason == fate).map(|entry| entry.records).sum()
    };
    assert_eq!(
        (left(LedgerReason::Delivered), left(LedgerReason::Erased)),
        (STEPS - 10, 10),
        "nothing is forgotten"
    );
    let (sums, steps): (Vec<_>, Vec<_>) = ledger.iter().partition(|entry| entry.steps > 1);
    assert_eq!((sums.len(), steps.len()), (2, 1_000));
    assert_eq!(&ledger[..2], sums.into_iter().cloned().collect::<Vec<_>>(), "the sums come first");
    assert!(steps.windows(2).all(|pair| pair[0].newest_ms < pair[1].newest_ms), "the newest, in order");
    // What they take at most, built anew.
    spool.close().unwrap();
    let bytes = bytes_on_disk(&folder);
    println!("{bytes} bytes with a full ledger");
    assert!(bytes < SMALL, "{bytes}");
}

//! Promise: whatever is done to a spool, in whatever order, it holds what a plain list would hold.
//!
//! Random sequences of recording, delivering, purging, reopening and dying (dropping the spool without closing it) run against
//! the spool and against a list in memory. Seeds that ever failed are kept.

mod support;

use std::collections::BTreeSet;

use salver::record::Reason;
use salver::spool::{Queued, Selector, Settled, Spool};
use support::drafts::draft;
use support::folders::{NOW, spool_folder};

/// Seeds that once failed, and a few more.
const SEEDS: [u64; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const STEPS: usize = 60;

/// What is known of a record without a spool.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    uuid: String,
    instance: String,
    dead: bool,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn contents(spool: &mut Spool) -> Vec<Known> {
    let mut found = Vec::new();
    spool
        .each(0, |queued| {
            found.push(Known {
                uuid: queued.record.uuid,
                instance: queued.record.instance,
                dead: queued.dead.is_some(),
            });
            true
        })
        .unwrap();
    found
}

#[test]
fn random_actions_leave_the_spool_and_the_list_equal() {
    for seed in SEEDS {
        let place = tempfile::tempdir().unwrap();
        let folder = spool_folder(&place.path().join("spool"));
        let mut dice = Dice(seed);
        let mut list: Vec<Known> = Vec::new();
        let mut times = BTreeSet::new();
        let mut spool = folder.open(NOW).unwrap();
        for step in 0..STEPS {
            let at = format!("seed {seed}, step {step}");
            match dice.roll(10) {
                0..=4 => {
                    let instance = ["a", "b", "c"][dice.roll(3) as usize];
                    let record = spool.record(instance, draft(dice.roll(1000)), Reason::Changed).unwrap();
                    assert!(times.insert(record.timestamp_ms), "{at}: a time was used twice");
                    list.push(Known { uuid: record.uuid, instance: instance.into(), dead: false });
                }
                5 | 6 => deliver(&mut spool, &mut list, &mut dice, &at),
                7 => {
                    let instance = ["a", "b", "c"][dice.roll(3) as usize];
                    let before = list.len();
                    let selector = match dice.roll(3) {
                        0 => Selector { dead: true, ..Selector::default() },
                        _ => Selector::of_instance(instance),
                    };
                    list.retain(|known| if selector.dead { !known.dead } else { known.instance != instance });
                    let receipt = spool.purge(&selector).unwrap();
                    assert_eq!(receipt.records, (before - list.len()) as u64, "{at}");
                }
                8 => {
                    spool.close().unwrap();
                    spool = folder.open(NOW).unwrap();
                }
                _ => {
                    // Records are acknowledged when `record` returns; the rest is summary, which `close` makes durable.
                    if dice.roll(2) == 0 {
                        spool.close().unwrap();
                        spool = folder.open(NOW).unwrap();
                        let instance = "a";
                        let record = spool.record(instance, draft(7), Reason::Changed).unwrap();
                        times.insert(record.timestamp_ms);
                        list.push(Known { uuid: record.uuid, instance: instance.into(), dead: false });
                        drop(spool);
                        spool = folder.open(NOW).unwrap();
                    }
                }
            }
            assert_eq!(contents(&mut spool), list, "{at}");
            assert_eq!(
                spool.counts().unwrap().queued,
                list.iter().filter(|it| !it.dead).count() as u64,
                "{at}"
            );
            assert_eq!(spool.problems(), [], "{at}");
        }
    }
}

/// Takes a batch and lets it be delivered, kept, or refused.
fn deliver(spool: &mut Spool, list: &mut Vec<Known>, dice: &mut Dice, at: &str) {
    let skip: BTreeSet<String> = if dice.roll(3) == 0 { ["b".to_owned()].into() } else { BTreeSet::new() };
    let batch = spool.next_batch(1 + dice.roll(5) as usize, &skip).unwrap();
    let uuids = |batch: &[Queued]| batch.iter().map(|it| it.record.uuid.clone()).collect::<Vec<_>>();
    let expected: Vec<String> = list
        .iter()
        .filter(|it| !it.dead && !skip.contains(&it.instance))
        .map(|it| it.uuid.clone())
        .take(batch.len())
        .collect();
    assert_eq!(uuids(&batch), expected, "{at}: the oldest come first");
    if batch.is_empty() {
        return;
    }
    spool.begin(&batch).unwrap();
    match dice.roll(4) {
        0 => spool.give_up_batch(),
        1 => {
            let (first, uuid) = (batch[0].clone(), batch[0].record.uuid.clone());
            spool.settle(&[(first, Settled::Dead("400 no".into()))]).unwrap();
            list.iter_mut().filter(|it| it.uuid == uuid).for_each(|it| it.dead = true);
        }
        _ => {
            let gone = uuids(&batch);
            let settled: Vec<_> = batch.into_iter().map(|it| (it, Settled::Delivered)).collect();
            spool.settle(&settled).unwrap();
            list.retain(|it| !gone.contains(&it.uuid));
        }
    }
}

#[test]
fn a_queue_of_several_segments_is_read_delivered_and_deleted_in_order() {
    const RECORDS: usize = 4_200;
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    let uuids: Vec<String> = spool
        .record_all("a", (0..RECORDS as u64).map(draft).collect(), Reason::Changed)
        .unwrap()
        .into_iter()
        .map(|record| record.uuid)
        .collect();
    spool.close().unwrap();
    let segments = || {
        let entries = std::fs::read_dir(&folder.path).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("seg-"))
            .count()
    };
    assert_eq!(segments(), 2);
    let mut delivered = Vec::new();
    loop {
        let mut spool = folder.open(NOW).unwrap();
        let batch = spool.next_batch(1_000, &BTreeSet::new()).unwrap();
        if batch.is_empty() {
            break;
        }
        delivered.extend(batch.iter().map(|it| it.record.uuid.clone()));
        spool.begin(&batch).unwrap();
        spool.settle(&batch.into_iter().map(|it| (it, Settled::Delivered)).collect::<Vec<_>>()).unwrap();
        spool.close().unwrap();
    }
    assert_eq!(delivered, uuids);
    assert_eq!(segments(), 0, "a segment goes with its last record");
    let mut spool = folder.open(NOW).unwrap();
    let ledger: u64 = spool.ledger().unwrap().iter().map(|entry| entry.records).sum();
    assert_eq!(ledger, RECORDS as u64);
    let next = spool.record("a", draft(1), Reason::Changed).unwrap();
    assert!(spool.next_seq() > RECORDS as u64 && !uuids.contains(&next.uuid), "numbers are never used twice");
}

//! Promise: after a purge no uuid, id or value of the records it erased is in any file of the spool folder.

use std::collections::BTreeSet;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, copy, files_with, spool_folder, waiting_in};
use salver::record::BatchOutcome;
use salver::record::{Reason, Record};
use salver::spool::{Selector, SpoolFolder};

/// Records of two instances with ids of their own, interleaved, in a spool that is closed again.
fn filled(folder: &SpoolFolder, records: u64) -> (Vec<Record>, Vec<Record>) {
    let mut spool = folder.open(NOW).unwrap();
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for n in 0..records {
        let mut of_mine = draft(n);
        of_mine.id = "a".repeat(64);
        mine.push(spool.record("mine", of_mine, Reason::Changed).unwrap());
        let mut of_others = draft(n);
        of_others.id = "b".repeat(64);
        others.push(spool.record("others", of_others, Reason::Changed).unwrap());
    }
    spool.close().unwrap();
    (mine, others)
}

fn assert_gone(folder: &SpoolFolder, records: &[Record]) {
    for record in records {
        assert_eq!(files_with(&folder.path, record.uuid.as_bytes()), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn the_uuids_of_purged_records_are_in_no_file_and_the_others_are_still_there() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (mine, others) = filled(&folder, 60);
    let uuid = mine[7].uuid.as_bytes();
    assert!(!files_with(&folder.path, uuid).is_empty(), "the search finds what is there");

    let mut spool = folder.open(NOW).unwrap();
    let receipt = spool.purge(&Selector::of_instance("mine")).unwrap().receipt;
    spool.close().unwrap();
    assert_eq!(receipt.records, 60);
    assert_gone(&folder, &mine);

    let mut spool = folder.open(NOW).unwrap();
    let left = waiting_in(&mut spool).unwrap().into_iter().map(|queued| queued.record);
    assert_eq!(left.collect::<Vec<_>>(), others);
}

#[test]
fn records_that_were_delivered_before_are_erased_from_the_files_as_well() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (mine, _) = filled(&folder, 10);
    let mut spool = folder.open(NOW).unwrap();
    let skip: BTreeSet<String> = ["others".to_owned()].into();
    let batch = spool.next_batch(100, &skip).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    spool.close().unwrap();
    assert!(
        !files_with(&folder.path, mine[0].uuid.as_bytes()).is_empty(),
        "delivered records linger in their segment"
    );

    let mut spool = folder.open(NOW).unwrap();
    let receipt = spool.purge(&Selector { id: Some("a".repeat(64)), ..Selector::default() }).unwrap().receipt;
    spool.close().unwrap();
    assert_eq!(receipt.records, 0, "none of them was waiting any more");
    assert_gone(&folder, &mine);
}

#[test]
fn the_servers_words_about_an_erased_record_go_with_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (mine, _) = filled(&folder, 10);
    let words = |uuid: &str| format!("400 the event {uuid} is malformed");
    let mut spool = folder.open(NOW).unwrap();
    for _ in 0..2 {
        let batch = spool.next_batch(1, &BTreeSet::from(["others".to_owned()])).unwrap();
        spool.begin(&batch).unwrap();
        let words = words(&batch[0].record.uuid);
        spool.acknowledge(&batch, &BatchOutcome::DeadLettered { words }).unwrap();
    }
    spool.close().unwrap();
    // One of them is no longer a dead letter when it is erased.
    let mut spool = folder.open(NOW).unwrap();
    assert_eq!(spool.revive_dead(), 2);
    let batch = spool.next_batch(1, &BTreeSet::from(["others".to_owned()])).unwrap();
    spool.begin(&batch).unwrap();
    let uuid = batch[0].record.uuid.clone();
    spool.acknowledge(&batch[..1], &BatchOutcome::DeadLettered { words: words(&uuid) }).unwrap();
    spool.close().unwrap();
    assert!(!files_with(&folder.path, words(&uuid).as_bytes()).is_empty());

    let mut spool = folder.open(NOW).unwrap();
    assert_eq!(spool.purge(&Selector::of_instance("mine")).unwrap().receipt.records, 10);
    spool.close().unwrap();
    assert_gone(&folder, &mine);
    assert_eq!(files_with(&folder.path, b"is malformed"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_id_goes_with_its_instance_when_collecting_is_stopped() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    filled(&folder, 5);
    let id = "a".repeat(64);
    let mut spool = folder.open(NOW).unwrap();
    let mut purged = spool.purge(&Selector::of_instance("mine")).unwrap();
    spool.close().unwrap();
    assert!(!files_with(&folder.path, id.as_bytes()).is_empty(), "a collecting instance keeps its id");

    let mut spool = folder.open(NOW).unwrap();
    spool.stop_collecting("mine", &mut purged);
    let (receipt, search) = spool.close_and_search(purged).unwrap();
    assert!(search.files > 3 && search.left.is_empty(), "{search:?}");
    assert!(receipt.ids.contains_key(&id), "the receipt is the last that names it");
    assert_eq!(files_with(&folder.path, id.as_bytes()), Vec::<std::path::PathBuf>::new());
    let mut spool = folder.open(NOW).unwrap();
    assert!(spool.instance("mine").unwrap().paused);
    assert!(!spool.instance("others").unwrap().paused);
}

#[test]
fn a_purge_that_was_interrupted_is_finished_at_the_next_opening() {
    // The intent is durable before the first file changes; here the process dies right after, with the segments untouched.
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (mine, others) = filled(&folder, 20);
    let backup = place.path().join("segments-before");
    copy(&folder.path, &backup);
    let mut spool = folder.open(NOW).unwrap();
    spool.purge(&Selector::of_instance("mine")).unwrap();
    spool.close().unwrap();
    let after = salver_count(&folder);

    // Any mixture of old segment folders beside the new state: the old ones must not come back.
    for entry in std::fs::read_dir(&backup).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("seg-") {
            copy(&entry.path(), &folder.path.join(name));
        }
    }
    assert_eq!(salver_count(&folder), after);
    assert_eq!(after, others.len() as u64);
    assert_gone(&folder, &mine);
}

fn salver_count(folder: &SpoolFolder) -> u64 {
    let mut spool = folder.open(NOW).unwrap();
    let queued = spool.counts().unwrap().queued;
    spool.close().unwrap();
    queued
}

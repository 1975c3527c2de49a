//! Promise: damage never stops the spool and is never silent. What is whole is saved, what is gone is said.

use std::collections::BTreeSet;
use std::fs;

use crate::support::dice::Dice;
use crate::support::drafts::draft;
use crate::support::folders::{NOW, copy, files, spool_folder, uuids_in};
use salver::record::BatchOutcome;
use salver::record::Reason;
use salver::spool::SpoolFolder;

const RECORDS: u64 = 120;

/// A spool with records, the first ten of them delivered; gives the uuids of those that wait.
fn filled(folder: &SpoolFolder) -> (Vec<String>, Vec<String>) {
    let mut spool = folder.open(NOW).unwrap();
    let uuids: Vec<String> =
        (spool.record_all("a", (0..RECORDS).map(draft).collect(), Reason::Changed).unwrap())
            .into_iter()
            .map(|record| record.uuid)
            .collect();
    let batch = spool.next_batch(10, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    spool.close().unwrap();
    (uuids[..10].to_vec(), uuids[10..].to_vec())
}

fn waiting(folder: &SpoolFolder) -> (Vec<String>, Vec<String>) {
    let mut spool = folder.open(NOW).unwrap();
    let uuids = uuids_in(&mut spool).unwrap();
    let problems = spool.problems().iter().map(|problem| problem.text.clone()).collect();
    spool.close().unwrap();
    (uuids, problems)
}

/// The outcome of any damage: every record that waits is one that waited, in order, none that was delivered is back, and
/// whatever is missing is said. Tells how many are left.
fn assert_honest(folder: &SpoolFolder, delivered: &[String], queued: &[String], what: &str) -> usize {
    let (left, problems) = waiting(folder);
    assert!(left.iter().all(|uuid| !delivered.contains(uuid)), "{what}: a delivered record came back");
    let mut expected = queued.iter();
    assert!(left.iter().all(|uuid| expected.any(|it| it == uuid)), "{what}: strange or disordered records");
    if left.len() < queued.len() {
        assert!(
            !problems.is_empty(),
            "{what}: {} records are gone and nobody says so",
            queued.len() - left.len()
        );
    }
    let again = waiting(folder);
    assert_eq!(again.0, left, "{what}: the second opening differs");
    left.len()
}

#[test]
fn a_flipped_bit_anywhere_is_survived_and_nearly_all_records_are_saved() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (delivered, queued) = filled(&folder);
    let healthy = place.path().join("healthy");
    copy(&folder.path, &healthy);
    let log = folder.path.join("seg-00000001").join("db");
    let length = fs::metadata(&log).unwrap().len() as usize;
    let mut dice = Dice::new(99);
    for _ in 0..40 {
        // In the part of the file that has content.
        let at = dice.roll(length / 8);
        restore(&healthy, &folder);
        let mut bytes = fs::read(&log).unwrap();
        bytes[at] ^= 1 << dice.roll(8);
        fs::write(&log, bytes).unwrap();
        let left = assert_honest(&folder, &delivered, &queued, &format!("bit at {at}"));
        assert!(left as u64 + 1 >= queued.len() as u64, "bit at {at}: only {left} of {} saved", queued.len());
    }
}

#[test]
fn any_file_cut_short_zeroed_or_removed_ends_in_a_clear_outcome() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (delivered, queued) = filled(&folder);
    let healthy = place.path().join("healthy");
    copy(&folder.path, &healthy);
    let names: Vec<_> =
        files(&healthy).into_iter().map(|path| path.strip_prefix(&healthy).unwrap().to_owned()).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names.iter().filter(|name| !name.ends_with("SALVER-SPOOL")) {
        for damage in ["remove", "cut", "zero", "empty"] {
            restore(&healthy, &folder);
            let path = folder.path.join(name);
            let bytes = fs::read(&path).unwrap();
            match damage {
                "remove" => fs::remove_file(&path).unwrap(),
                "cut" => fs::write(&path, &bytes[..bytes.len() / 3]).unwrap(),
                "zero" => fs::write(&path, vec![0; bytes.len()]).unwrap(),
                _ => fs::write(&path, b"").unwrap(),
            }
            assert_honest(&folder, &delivered, &queued, &format!("{damage} {}", name.display()));
        }
    }
}

#[test]
fn a_lost_witness_and_a_lost_state_are_made_good_from_the_records() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (_, queued) = filled(&folder);
    fs::remove_file(folder.path.join("witness")).unwrap();
    assert_eq!(waiting(&folder).0, queued);
    fs::remove_dir_all(folder.path.join("state")).unwrap();
    let (left, problems) = waiting(&folder);
    assert_eq!(left, queued, "the witness knows what was delivered");
    assert!(!problems.is_empty());
    let spool = folder.open(NOW).unwrap();
    let instance = spool.instance("a").unwrap().unwrap();
    assert_eq!(
        instance.last_digest,
        Some(draft(RECORDS - 1).digest()),
        "nothing unchanged is recorded again"
    );
}

#[test]
fn ids_outlive_the_records_that_carried_them_and_the_summary() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    let id = spool.record("a", draft(1), Reason::Started).unwrap().draft.id;
    let batch = spool.next_batch(10, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    spool.close().unwrap();

    for lost in [["state", "absent"], ["state", "witness"]] {
        for part in lost.map(|part| folder.path.join(part)) {
            _ = if part.is_dir() { fs::remove_dir_all(part) } else { fs::remove_file(part) };
        }
        let mut spool = folder.open(NOW).unwrap();
        let (known, history) = spool.ids().unwrap().remove(0);
        assert_eq!((&known, history.delivered_ms.is_some()), (&id, true), "a deletion request must quote it");
        let pin = spool.instance("a").unwrap().unwrap().pin.unwrap();
        assert_eq!((&pin.id, pin.fixed), (&id, true), "the instance keeps it");
        spool.acknowledge_problems();
        spool.close().unwrap();
    }
}

#[test]
fn dead_letters_outlive_the_summary_and_are_not_sent_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (_, queued) = filled(&folder);
    let mut spool = folder.open(NOW).unwrap();
    let batch = spool.next_batch(3, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    let no = BatchOutcome::DeadLettered { words: "400 no".into() };
    spool.acknowledge(&batch, &no).unwrap();
    spool.close().unwrap();
    fs::remove_dir_all(folder.path.join("state")).unwrap();
    for opening in ["first", "second"] {
        let mut spool = folder.open(NOW).unwrap();
        let counts = spool.counts().unwrap();
        assert_eq!((counts.dead, counts.queued), (3, queued.len() as u64 - 3), "{opening} opening");
        let next = spool.next_batch(1, &BTreeSet::new()).unwrap().remove(0);
        assert_eq!(next.record.uuid, queued[3], "{opening} opening");
        assert!(spool.problems()[0].text.contains("words that dead letters"), "{:?}", spool.problems());
        spool.close().unwrap();
    }
    let mut spool = folder.open(NOW).unwrap();
    assert_eq!(spool.revive_dead().unwrap(), 3);
    spool.close().unwrap();
    let counts = folder.open(NOW).unwrap().counts().unwrap();
    assert_eq!((counts.dead, counts.queued), (0, queued.len() as u64));
}

#[test]
fn a_dead_letter_that_is_lost_with_its_segment_is_counted_no_more() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    filled(&folder);
    let mut spool = folder.open(NOW).unwrap();
    let batch = spool.next_batch(1, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::DeadLettered { words: "400 no".into() }).unwrap();
    spool.close().unwrap();
    fs::remove_dir_all(folder.path.join("seg-00000001")).unwrap();
    let mut spool = folder.open(NOW).unwrap();
    spool.record("a", draft(1), Reason::Changed).unwrap();
    let counts = spool.counts().unwrap();
    assert_eq!((counts.dead, counts.queued), (0, 1));
}

#[test]
fn a_segment_that_died_while_it_was_made_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (_, queued) = filled(&folder);
    let half_made = folder.path.join("seg-00000002");
    fs::create_dir(&half_made).unwrap();
    fs::write(half_made.join("conf"), "half").unwrap();
    assert_eq!(waiting(&folder), (queued, vec![]));
    let segments = fs::read_dir(&folder.path).unwrap().map(|entry| entry.unwrap().file_name());
    let segments: Vec<_> = segments.filter(|name| name.to_string_lossy().starts_with("seg-")).collect();
    assert_eq!(segments, ["seg-00000001"]);
}

#[test]
fn problems_stay_until_they_are_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    filled(&folder);
    fs::remove_dir_all(folder.path.join("seg-00000001")).unwrap();
    let (left, problems) = waiting(&folder);
    assert_eq!(left, Vec::<String>::new());
    assert!(problems[0].contains("110 records"), "{problems:?}");
    assert_eq!(waiting(&folder).1, problems);
    let mut spool = folder.open(NOW).unwrap();
    spool.acknowledge_problems();
    spool.close().unwrap();
    assert_eq!(waiting(&folder).1, Vec::<String>::new());
}

fn restore(healthy: &std::path::Path, folder: &SpoolFolder) {
    fs::remove_dir_all(&folder.path).unwrap();
    copy(healthy, &folder.path);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

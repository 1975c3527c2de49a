//! Promise: damage never stops the spool and is never silent. What is whole is saved, what is gone
//! is said.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use crate::support::dice::Dice;
use crate::support::drafts::draft;
use crate::support::folders::{NOW, copy, files, spool_folder, uuids_in};
use salver::record::BatchOutcome;
use salver::record::Reason;
use salver::spool::{Instance, Selector, SpoolError, SpoolFolder};

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

/// The outcome of any damage: every record that waits is one that waited, in order, none that was
/// delivered is back, and whatever is missing is said. Tells how many are left.
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

/// The slot of the manifest that was written last.
fn newest_slot(folder: &SpoolFolder) -> std::path::PathBuf {
    let before = folder.stamp().unwrap();
    let slots = ["manifest.0", "manifest.1"].map(|name| folder.path.join(name));
    let aside = folder.path.join("aside");
    let is_newest = |slot: &std::path::PathBuf| {
        fs::rename(slot, &aside).unwrap();
        let changed = folder.stamp().unwrap() != before;
        fs::rename(&aside, slot).unwrap();
        changed
    };
    slots.into_iter().find(is_newest).unwrap()
}

#[test]
fn a_damaged_newest_slot_costs_the_last_commit_and_is_said() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (_, queued) = filled(&folder);
    let mut spool = folder.open(NOW).unwrap();
    let batch = spool.next_batch(10, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    spool.close().unwrap();
    let healthy = place.path().join("healthy");
    copy(&folder.path, &healthy);
    for damage in ["flip", "cut", "empty", "remove"] {
        restore(&healthy, &folder);
        let slot = newest_slot(&folder);
        let mut bytes = fs::read(&slot).unwrap();
        match damage {
            "flip" => bytes[200] ^= 1,
            "cut" => bytes.truncate(100),
            _ => bytes.clear(),
        }
        if damage == "remove" {
            fs::remove_file(&slot).unwrap()
        } else {
            fs::write(&slot, bytes).unwrap()
        }
        let shown = shown(&folder);
        let (left, problems) = waiting(&folder);
        assert_eq!(
            left, queued,
            "{damage}: the batch that was acknowledged last is back, and nothing else changed"
        );
        assert_eq!(shown, queued, "{damage}: a reader shows the same");
        let is_said = problems.iter().any(|text| text.contains("one of the two copies"));
        assert_eq!(is_said, ["flip", "cut"].contains(&damage), "{damage}: {problems:?}");
        let mut spool = folder.open(NOW).unwrap();
        assert_eq!(spool.next_batch(20, &BTreeSet::new()).unwrap(), {
            let mut again = batch.clone();
            again.iter_mut().for_each(|queued| queued.attempts = 1);
            again
        });
    }
}

/// What a reader shows, which changes nothing.
fn shown(folder: &SpoolFolder) -> Vec<String> {
    let mut uuids = Vec::new();
    let _ = (folder.read(NOW).unwrap())
        .each(0, u64::MAX, |queued| {
            uuids.push(queued.record.uuid);
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    uuids
}

#[test]
fn a_lost_manifest_is_made_good_from_the_records_and_the_dedup_index() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (_, queued) = filled(&folder);
    let id = draft(1).id;
    for name in ["manifest.0", "manifest.1"] {
        fs::remove_file(folder.path.join(name)).unwrap();
    }
    let error = folder.read(NOW).err().unwrap().to_string();
    assert!(error.contains("saves the records that are whole"), "{error}");
    let (left, problems) = waiting(&folder);
    assert_eq!(left, queued, "the dedup index knows what was delivered");
    assert!(problems[0].contains("pauses"), "{problems:?}");
    let mut spool = folder.open(NOW).unwrap();
    let instance = spool.instance("a").unwrap();
    let digest = draft(RECORDS - 1).digest();
    assert_eq!(instance.last_digest, Some(digest), "nothing unchanged is recorded again");
    assert_eq!(instance.pin.map(|pin| (pin.id, pin.fixed)), Some((id.clone(), true)), "it keeps its id");
    assert!(spool.ids().contains_key(&id), "a deletion request must quote it");
}

#[test]
fn a_pause_and_a_purge_outlive_either_slot() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    filled(&folder);
    for slot in ["manifest.0", "manifest.1"] {
        let mut spool = folder.open(NOW).unwrap();
        let erased = spool.record("b", draft(1), Reason::Changed).unwrap().uuid;
        let paused = Instance { paused: true, ..spool.instance("a").unwrap() };
        spool.put_instance("a", paused);
        spool.close().unwrap();
        let healthy = place.path().join("healthy");
        _ = fs::remove_dir_all(&healthy);
        copy(&folder.path, &healthy);
        fs::write(folder.path.join(slot), b"damaged").unwrap();
        assert!(folder.read(NOW).unwrap().instance("a").unwrap().paused, "{slot}");
        restore(&healthy, &folder);

        let mut spool = folder.open(NOW).unwrap();
        spool.purge(&Selector::of_instance("b")).unwrap();
        let resumed = Instance { paused: false, ..spool.instance("a").unwrap() };
        spool.put_instance("a", resumed);
        spool.close().unwrap();
        fs::write(folder.path.join(slot), b"damaged").unwrap();
        assert!(!shown(&folder).contains(&erased), "{slot}");
        assert!(!folder.read(NOW).unwrap().instance("a").unwrap().paused, "{slot}");
        waiting(&folder);
    }
}

#[test]
fn a_marker_that_is_damaged_is_written_anew_where_the_spool_is_ours() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let (_, queued) = filled(&folder);
    let marker = folder.path.join("SALVER-SPOOL");
    let whole = fs::read(&marker).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&marker, bytes).unwrap();
        assert_eq!(shown(&folder), queued, "byte {at}");
        assert_eq!(waiting(&folder), (queued.clone(), vec![]), "byte {at}");
        assert_eq!(fs::read(&marker).unwrap(), whole, "byte {at}");
    }
    // Without a manifest the records tell.
    fs::write(&marker, "damaged").unwrap();
    fs::remove_file(folder.path.join("manifest.0")).unwrap();
    fs::remove_file(folder.path.join("manifest.1")).unwrap();
    assert_eq!(waiting(&folder).0, queued);
    // And without either the folder may be anybody's.
    let other = spool_folder(&place.path().join("other"));
    fs::create_dir(&other.path).unwrap();
    fs::write(other.path.join("SALVER-SPOOL"), "somebody's notes").unwrap();
    assert!(matches!(other.open(NOW).err(), Some(SpoolError::Foreign { .. } | SpoolError::Exposed(_))));
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
fn an_instance_whose_newest_record_is_lost_is_recorded_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    filled(&folder);
    let mut spool = folder.open(NOW).unwrap();
    spool.record("b", draft(1), Reason::Changed).unwrap();
    let batch = spool.next_batch(1000, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    spool.record("a", draft(2), Reason::Changed).unwrap();
    spool.close().unwrap();
    for segment in ["seg-00000001", "seg-00000002"] {
        _ = fs::remove_dir_all(folder.path.join(segment));
    }
    let mut spool = folder.open(NOW).unwrap();
    let mut knows = |name| spool.instance(name).unwrap().last_digest.is_some();
    assert!(!knows("a"), "what it last recorded is lost");
    assert!(knows("b"), "what it last recorded was delivered");
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

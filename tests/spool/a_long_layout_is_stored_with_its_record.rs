//! Promise 1: everything that a record needs is on stable storage with it, however long its layout
//! and its values are. sled writes what is too long for its log into files of its own, which
//! nothing syncs.

use std::ops::ControlFlow;
use std::sync::Arc;

use salver::record::{Draft, Reason, Slot, Value};

use crate::support::drafts::draft;
use crate::support::folders::{NOW, files, files_with, spool_folder};

/// A draft of a service with as many switches, each with a long name and a long value.
fn long(switches: usize) -> Draft {
    let mut draft = draft(1);
    let slot = |number| Slot {
        property: Some(format!("feature_with_a_long_name_{number}")),
        nested: Some(format!("feature.withALongName{number}")),
        missing: Some(Value::Bool(false)),
    };
    Arc::make_mut(&mut draft.layout).slots = (0..switches).map(slot).collect();
    draft.values = (0..switches).map(|number| Value::Text(format!("a long value {number}"))).collect();
    draft
}

#[test]
fn a_record_with_a_long_layout_and_long_values_comes_back_and_lies_in_the_log() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    let written: Vec<_> = [1, 900, 2, 901, 900]
        .map(|switches| spool.record("a", long(switches), Reason::Changed).unwrap())
        .into_iter()
        .collect();
    spool.close().unwrap();
    let mut found = Vec::new();
    let _ = (folder.read(NOW).unwrap())
        .each(0, u64::MAX, |queued| {
            found.push(queued.record);
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    assert_eq!(found, written);
    let blobs: Vec<_> =
        files(&folder.path).into_iter().filter(|file| file.to_string_lossy().contains("blobs")).collect();
    assert_eq!(blobs, Vec::<std::path::PathBuf>::new());
    assert!(
        written.iter().all(|it| !files_with(&folder.path, it.uuid.as_bytes()).is_empty()),
        "grep finds it"
    );
}

#[test]
fn a_record_that_is_too_large_is_refused_in_words_and_costs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    let kept = spool.record("a", draft(1), Reason::Changed).unwrap();
    let error = spool.record("a", long(60_000), Reason::Changed).unwrap_err().to_string();
    assert!(error.contains("too large") && error.contains("catalogue"), "{error}");
    let after = spool.record("a", draft(2), Reason::Changed).unwrap();
    spool.close().unwrap();
    let mut spool = folder.open(NOW).unwrap();
    let uuids = crate::support::folders::uuids_in(&mut spool).unwrap();
    assert_eq!(uuids, [kept.uuid, after.uuid]);
    assert_eq!(spool.problems(), []);
}

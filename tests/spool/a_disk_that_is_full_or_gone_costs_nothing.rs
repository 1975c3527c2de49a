//! Promises 1, 6 and 10 where the disk does not play along: full, gone, or not to be written. Commands end with a clear error, what was
//! recorded stays and can be read, delivered and purged, and a service goes on and records when it can again.
//!
//! The full disk is a real one of a few megabytes: a tmpfs in a mount namespace of a child, reached through `/proc`, so that nothing
//! is mounted on the machine that runs the tests. That takes Linux, root and util-linux; without them the test says so.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use salver::record::Reason;
use salver::spool::SpoolFolder;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, spool_folder, uuids_in};
use crate::support::posthog::PostHog;
use crate::support::service::{Service, said};
use crate::support::site::{SOS, Site, flip, record_some, reports};
use crate::support::small_disk::SmallDisk;
use crate::support::{dump, err, expect};
use serde_json::json;

/// The uuids that wait in a spool.
fn waiting(folder: &SpoolFolder) -> Vec<String> {
    let mut spool = folder.open(NOW + 2 * 3_600_000).unwrap();
    let uuids = uuids_in(&mut spool).unwrap();
    assert_eq!(spool.problems(), []);
    spool.close().unwrap();
    uuids
}

#[test]
fn on_a_full_disk_recording_fails_clearly_and_goes_on_when_there_is_room_again() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let posthog = PostHog::start();
    let site = disk.site(&posthog);
    record_some(&site, 6);
    let before = dump(&disk.path().join("spool"));
    disk.fill_by_recording(&site);
    disk.free();
    let kept = dump(&disk.path().join("spool"));
    assert_eq!(kept[..before.len()], before, "what was recorded stays");
    expect(site.salver().args(["record", "--force"]), 0);
    assert_eq!(dump(&disk.path().join("spool")).len(), kept.len() + 1);
    assert_eq!(site.status()["problems"], json!([]), "a full disk is no damage");
}

#[test]
fn a_service_goes_on_while_the_disk_is_full_and_records_what_it_missed_when_there_is_room() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let posthog = PostHog::start();
    let site = disk.site(&posthog);
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    disk.fill_by_recording(&site);
    let config = flip(SOS, "heartbeat");
    service.wait_for_words_after("free some space", || site.replace("config/sos.yaml", &config));
    disk.free();
    service.wait_for_records(2);
    service.stop();
    assert!(reports(dump(&disk.path().join("spool")).last().unwrap(), &config));
}

#[test]
fn a_service_that_starts_on_a_full_disk_records_the_last_state_once_when_there_is_room() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let posthog = PostHog::start();
    let site = disk.site(&posthog);
    let recorded = record_some(&site, 2);
    disk.fill();
    let mut config = flip(&recorded, "heartbeat");
    site.replace("config/sos.yaml", &config);
    let mut service = Service::start(site.salver().args(["-vv", "run"]));
    service.wait_for("the first error", |it| said(&it.stderr(), "free some space") > 0);
    for block in ["prometheus", "userEvents"] {
        config = flip(&config, block);
        site.replace("config/sos.yaml", &config);
    }
    let problem = site.status()["problems"][0]["text"].as_str().unwrap().to_owned();
    assert!(problem.contains("tries again by itself"), "{problem}");
    disk.free();
    service.wait_for_records(1);
    service.wait_for_an_idle_look_after(|| ());
    service.stop();
    let records = dump(&disk.path().join("spool"));
    assert_eq!(records.len(), 3, "the states between were never told to be recorded");
    assert!(reports(&records[2], &config));
    assert_eq!(site.status()["problems"], json!([]));
}

#[test]
fn what_has_expired_makes_room_on_a_full_disk() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let mut folder = spool_folder(&disk.path().join("spool"));
    folder.limits.retention = Duration::from_secs(3600);
    let mut spool = folder.open(NOW).unwrap();
    spool.record_all("a", (0..2000).map(draft).collect(), Reason::Changed).unwrap();
    spool.close().unwrap();
    disk.fill();
    let mut spool = folder.open(NOW + 2 * 3_600_000).unwrap();
    let record = spool.record("a", draft(0), Reason::Changed).unwrap();
    spool.close().unwrap();
    assert_eq!(waiting(&folder), [record.uuid]);
}

#[test]
fn numbers_of_records_that_could_not_be_written_are_not_used_again() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let folder = spool_folder(&disk.path().join("spool"));
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        disk.free();
        let mut spool = folder.open(NOW + round).unwrap();
        acknowledged.push(spool.record("a", draft(0), Reason::Changed).unwrap().uuid);
        disk.fill();
        let mut failed = 0;
        while failed < 3 {
            let before = spool.next_seq();
            match spool.record_all("a", (0..100).map(draft).collect(), Reason::Changed) {
                Ok(records) => acknowledged.extend(records.into_iter().map(|record| record.uuid)),
                Err(error) => {
                    assert!(error.is_full() || failed > 0, "the first error names the cause: {error}");
                    failed += 1;
                    assert!(spool.next_seq() > before, "the numbers of what may be on disk are passed over");
                }
            }
        }
        disk.free();
        // The database refuses everything after a failed write, until it is opened anew.
        _ = spool.record("a", draft(0), Reason::Changed).map(|record| acknowledged.push(record.uuid));
        drop(spool);
        let found = waiting(&folder);
        let unique: BTreeSet<&String> = found.iter().collect();
        assert_eq!(unique.len(), found.len(), "none is there twice");
        assert!(acknowledged.iter().all(|uuid| unique.contains(uuid)), "an acknowledged record is lost");
    }
}

#[test]
fn a_folder_that_vanishes_under_a_service_is_an_error_and_not_the_end() {
    let site = Site::of_sos(SOS);
    site.settings("watch: {settle: 10ms, poll: 1s}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n");
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    // A file in its place, so that no new folder can be made there.
    fs::rename(site.spool(), site.path("away")).unwrap();
    fs::write(site.spool(), "").unwrap();
    let config = flip(SOS, "heartbeat");
    service.wait_for_words_after("it is a file", || site.replace("config/sos.yaml", &config));
    let output = expect(site.salver().arg("record"), 6);
    assert!(err(&output).contains("it is a file") && !err(&output).contains("panicked"), "{}", err(&output));
    fs::remove_file(site.spool()).unwrap();
    fs::rename(site.path("away"), site.spool()).unwrap();
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.dump().len(), 2);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it_and_costs_nothing() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let posthog = PostHog::start();
    let site = disk.site(&posthog);
    record_some(&site, 3);
    let before = dump(&disk.path().join("spool"));
    // Not by its rights, which root passes over.
    disk.remount("ro");
    let output = expect(site.salver().args(["record", "--force"]), 1);
    let words = err(&output);
    assert!(words.contains("Read-only file system") && words.contains("can be written"), "{words}");
    assert!(words.contains(&disk.path().join("spool").display().to_string()), "{words}");
    disk.remount("rw");
    assert_eq!(dump(&disk.path().join("spool")), before);
}

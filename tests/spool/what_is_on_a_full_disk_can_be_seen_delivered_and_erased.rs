//! Promises 2, 5 and 6 on a disk without room: what was recorded can be seen, delivered and erased
//! there, `status` says what is wrong, and once there is room again everything is as it was.
//!
//! The disk is one of the test's own (support/small_disk.rs).

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, copy, files_with, spool_folder, waiting_in};
use crate::support::posthog::PostHog;
use crate::support::service::Service;
use crate::support::site::{Site, record_some};
use crate::support::small_disk::SmallDisk;
use crate::support::{dump, err, expect, out, salver_in};
use salver::record::Reason;
use salver::spool::Selector;
use serde_json::{Value as Json, json};

/// Free bytes: none, and some at which one step of a command still finds room and the next does
/// not.
const LEVELS: [u64; 6] = [0, 1, 4096, 12_288, 65_536, 204_800];

/// A disk with a spool of six records, their site, and the records.
struct Scene {
    disk: SmallDisk,
    posthog: PostHog,
    site: Site,
    records: Vec<Json>,
    /// The spool as it is before a command.
    kept: tempfile::TempDir,
}

impl Scene {
    fn new() -> Option<Scene> {
        let disk = SmallDisk::new("8m")?;
        let posthog = PostHog::start();
        let site = disk.site(&posthog);
        record_some(&site, 6);
        let kept = tempfile::tempdir().unwrap();
        copy(&disk.path().join("spool"), kept.path());
        let records = dump(&disk.path().join("spool"));
        assert_eq!(records.len(), 6);
        Some(Scene { disk, posthog, site, records, kept })
    }

    fn spool(&self) -> PathBuf {
        self.disk.path().join("spool")
    }

    /// Puts the spool back as it was, with so many bytes free beside it.
    fn reset(&self, free: u64) {
        std::fs::remove_dir_all(self.spool()).unwrap();
        self.disk.free();
        copy(self.kept.path(), &self.spool());
        expect(Command::new("chmod").args(["-R", "go-rwx"]).arg(self.spool()), 0);
        self.disk.fill_but(free);
    }

    fn uuids(&self) -> Vec<String> {
        self.records.iter().map(uuid).collect()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.site.salver().args(arguments).output().unwrap();
        assert!(!err(&output).contains("panicked"), "{arguments:?}: {}", err(&output));
        output
    }

    fn run_well(&self, free: u64, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}, {free} free: {}", err(&output));
        output
    }

    /// That there is nothing wrong with the spool once there is room, and it holds these records in
    /// the end.
    fn assert_holds(&self, what: &str, records: &[Json]) {
        self.disk.free();
        let found = dump(&self.spool());
        assert_eq!(found[..records.len().min(found.len())], *records, "{what}");
        assert_eq!(self.site.status()["problems"], json!([]), "{what}");
        expect(self.site.salver().args(["record", "--force"]), 0);
        assert_eq!(dump(&self.spool()).len(), found.len() + 1, "{what}");
    }
}

fn uuid(record: &Json) -> String {
    record["spool"]["uuid"].as_str().unwrap().to_owned()
}

#[test]
fn however_full_it_is_what_was_recorded_is_shown_and_status_names_the_cause() {
    let Some(scene) = Scene::new() else { return };
    for free in LEVELS {
        scene.reset(free);
        for _ in 0..2 {
            assert_eq!(dump(&scene.spool()).iter().map(uuid).collect::<Vec<_>>(), scene.uuids(), "{free}");
        }
        let status: Json =
            serde_json::from_slice(&scene.run_well(free, &["status", "--format", "json"]).stdout).unwrap();
        assert_eq!(status["spool"]["records"], 6, "{free}");
        let problem = status["problems"][0]["text"].as_str().unwrap();
        let words = ["the disk of the spool is full", "bytes are free", "free some space"];
        assert!(words.iter().all(|it| problem.contains(it)), "{free}: {problem}");
        assert!(out(&scene.run_well(free, &["status"])).contains(words[0]), "{free}");
        assert_eq!(scene.run(&["status", "--check"]).status.code(), Some(1), "{free}");
        scene.assert_holds(&format!("{free}, after looking"), &scene.records);
    }
}

#[test]
fn however_full_it_is_a_record_is_written_or_refused_clearly_and_the_reserve_stays() {
    let Some(scene) = Scene::new() else { return };
    let reserve = scene.kept.path().join("reserve").metadata().unwrap().len();
    for free in LEVELS {
        scene.reset(free);
        let mut written = scene.records.len();
        for _ in 0..3 {
            let output = scene.run(&["record", "--force"]);
            match output.status.code() {
                Some(0) => written += 1,
                Some(1) => assert!(err(&output).contains("free some space"), "{}", err(&output)),
                code => panic!("{code:?}: {}", err(&output)),
            }
        }
        assert_eq!(scene.spool().join("reserve").metadata().unwrap().len(), reserve, "{free}");
        let found = dump(&scene.spool()).len();
        assert!(found >= written, "{free}: {found} of {written} records");
        scene.assert_holds(&format!("{free}, after recording"), &scene.records);
    }
}

#[test]
fn however_full_it_is_what_was_recorded_is_delivered_once() {
    let Some(scene) = Scene::new() else { return };
    for (round, free) in LEVELS.into_iter().enumerate() {
        scene.reset(free);
        scene.run_well(free, &["flush"]);
        let arrived = scene.posthog.uuids();
        assert_eq!(arrived[round * 6..], scene.uuids(), "{free}");
        scene.run_well(free, &["flush"]);
        assert_eq!(scene.posthog.requests(), round + 1, "{free}: what was acknowledged is not sent again");
        scene.assert_holds(&format!("{free}, after delivering"), &[]);
    }
}

#[test]
fn however_full_it_is_what_was_recorded_is_erased() {
    let Some(scene) = Scene::new() else { return };
    for free in LEVELS {
        scene.reset(free);
        let receipt =
            out(&scene.run_well(free, &["purge", "--instance", "sos", "--yes", "--stop-collecting"]));
        assert!(receipt.starts_with("6 records erased"), "{free}: {receipt}");
        let ids =
            scene.records.iter().map(|record| record["data"]["system"]["id"].as_str().unwrap().to_owned());
        for erased in scene.uuids().into_iter().chain(ids) {
            assert_eq!(files_with(&scene.spool(), erased.as_bytes()), Vec::<PathBuf>::new(), "{free}");
        }
        scene.disk.free();
        expect(scene.site.salver().args(["resume", "sos"]), 0);
        scene.disk.fill();
        scene.assert_holds(&format!("{free}, after erasing"), &[]);
    }
}

#[test]
fn full_segments_are_rewritten_within_the_reserve() {
    let Some(disk) = SmallDisk::new("64m") else { return };
    let folder = spool_folder(&disk.path().join("spool"));
    let mut kept = Vec::new();
    let mut erased = Vec::new();
    for round in 0..6 {
        let mut spool = folder.open(NOW + round).unwrap();
        let of = |number: i64| (0..900).map(|n| draft((n + number * 900) as u64)).collect();
        kept.extend(spool.record_all("kept", of(round * 2), Reason::Changed).unwrap());
        erased.extend(spool.record_all("erased", of(round * 2 + 1), Reason::Changed).unwrap());
        spool.close().unwrap();
    }
    disk.fill();
    let mut spool = folder.open_to_release(NOW + 10).unwrap();
    let receipt = spool.purge(&Selector::of_instance("erased")).unwrap().receipt;
    spool.close().unwrap();
    assert_eq!(receipt.records, erased.len() as u64);
    disk.free();
    let mut spool = folder.open(NOW + 10).unwrap();
    let found = waiting_in(&mut spool).unwrap().into_iter().map(|queued| queued.record).collect::<Vec<_>>();
    assert_eq!(spool.problems(), []);
    spool.close().unwrap();
    assert_eq!(found, kept);
    for record in [&erased[0], &erased[2000], &erased[5399]] {
        assert_eq!(files_with(&folder.path, record.uuid.as_bytes()), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_reserve_takes_no_more_than_half_of_what_is_free() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let folder = spool_folder(&disk.path().join("spool"));
    let reserve = || folder.path.join("reserve").metadata().map_or(0, |file| file.len());
    for free in [300_000, 900_000, 1_800_000] {
        disk.fill_but(free);
        let mut spool = folder.open(NOW).unwrap();
        spool.record("a", draft(0), Reason::Changed).unwrap();
        spool.close().unwrap();
        assert!(reserve() <= free / 2, "{free} free: {}", reserve());
    }
    disk.free();
    folder.open(NOW).unwrap().close().unwrap();
    assert!(reserve() >= 384 * 1024, "with ample room it has its size: {}", reserve());
}

#[test]
fn a_command_that_is_killed_on_a_full_disk_loses_nothing() {
    let Some(scene) = Scene::new() else { return };
    let all: BTreeSet<String> = scene.uuids().into_iter().collect();
    for (number, arguments) in
        [vec!["purge", "--instance", "sos", "--yes"], vec!["flush"]].iter().cycle().take(12).enumerate()
    {
        scene.reset(LEVELS[number / 2 % LEVELS.len()]);
        let arrived = scene.posthog.uuids().len();
        let child = Service::start(scene.site.salver().args(arguments));
        // Not seeded: no seed would bring the same moment of another process back.
        thread::sleep(Duration::from_micros(fastrand::u64(..60_000)));
        child.kill();
        let shown: BTreeSet<String> = dump(&scene.spool()).iter().map(uuid).collect();
        scene.disk.free();
        // The next process that writes completes a purge.
        spool_folder(&scene.spool()).open(NOW).unwrap().close().unwrap();
        let left: BTreeSet<String> = dump(&scene.spool()).iter().map(uuid).collect();
        assert!(left.is_subset(&shown), "{arguments:?}: a full disk shows what there is");
        match arguments[0] {
            "purge" => assert!(left.is_empty() || left == all, "{arguments:?}: {left:?}"),
            _ => {
                expect(scene.site.salver().arg("flush"), 0);
                let arrived: BTreeSet<String> =
                    scene.posthog.uuids().split_off(arrived).into_iter().collect();
                assert_eq!(arrived, all, "{arguments:?}");
            }
        }
        assert_eq!(scene.site.status()["problems"], json!([]), "{arguments:?}");
        _ = expect(salver_in(&scene.spool()).args(["purge", "--all", "--yes"]), 0);
        for uuid in &all {
            assert_eq!(files_with(&scene.spool(), uuid.as_bytes()), Vec::<PathBuf>::new(), "{arguments:?}");
        }
    }
}

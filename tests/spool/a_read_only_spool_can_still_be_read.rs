//! Promise: a spool that cannot be written to can still be read. `dump`, `status` and `id --history` show what the frames, the
//! witness and the identities tell, write nothing anywhere, and say what they cannot know; every other command says why it
//! fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::folders::copy;
use crate::support::modes::chmod;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::read_only::{Way, allow, contents, ways};
use crate::support::site::Site;
use crate::support::two_instances::{flushed, of, record, recorded, site, site_of};
use crate::support::{err, expect, out};
use serde_json::{Value as Json, json};

/// A copy of a spool that nothing may write to, and a place for temporary files that stays empty.
struct Kept {
    site: Site,
    way: Way,
}

impl Kept {
    fn of(spool: &Path, way: Way) -> Kept {
        let site = Site::new();
        copy(spool, &site.spool());
        chmod(&site.spool(), 0o700);
        fs::create_dir(site.path("tmp")).unwrap();
        // So that another account can come this far.
        chmod(&site.path("."), 0o755);
        chmod(&site.path("tmp"), 0o777);
        Kept { site, way }
    }

    fn spool(&self) -> PathBuf {
        self.site.spool()
    }

    fn salver(&self) -> Command {
        let mut command = self.way.salver(&self.spool());
        for variable in ["TMPDIR", "TMP", "TEMP"] {
            command.env(variable, self.site.path("tmp"));
        }
        command
    }

    /// What a command says that succeeds and changes nothing.
    fn said(&self, arguments: &[&str]) -> (String, String) {
        let mut command = self.salver();
        let before = contents(&self.spool());
        let output = expect(command.args(arguments), 0);
        assert!(contents(&self.spool()) == before, "{arguments:?} changed the folder");
        assert_eq!(fs::read_dir(self.site.path("tmp")).unwrap().count(), 0, "{arguments:?} left something");
        (out(&output), err(&output))
    }

    /// The uuids that `dump` shows.
    fn uuids(&self) -> Vec<String> {
        let (shown, _) = self.said(&["dump", "--format", "ndjson"]);
        uuids(&shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        allow(&self.spool());
    }
}

fn uuids(records: &[Json]) -> Vec<String> {
    of(records, "uuid").iter().map(|uuid| uuid.as_str().unwrap().to_owned()).collect()
}

/// A site with a segment of which three records were delivered, and two and three newer ones wait.
fn half_delivered() -> (Site, PostHog) {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    recorded(&site);
    flushed(&site, 0, &["--limit", "3"]);
    record(&site, 2);
    assert!(site.dump().len() > 2);
    (site, posthog)
}

#[test]
fn dump_gives_the_same_bytes_in_every_form() {
    let (site, _posthog) = half_delivered();
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        let forms = ["table", "json", "ndjson", "csv"].map(|format| vec!["--format", format]);
        let more = [
            "--as event --format csv",
            "--as event --format json",
            "--state all",
            "--instance sos",
            "--limit 1",
        ];
        let more = more.map(|arguments| arguments.split(' ').collect());
        for arguments in forms.into_iter().chain(more) {
            let arguments = [vec!["dump"], arguments].concat();
            let before = out(&expect(site.salver().args(&arguments), 0));
            let (shown, told) = kept.said(&arguments);
            assert_eq!(shown, before, "{way:?} {arguments:?}");
            assert_eq!(told.lines().count(), 1, "{told}");
            let words = ["the spool is read-only", "as its witness knows it"];
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
    }
}

#[test]
fn status_counts_the_same_and_says_what_it_does_not_know() {
    let (site, _posthog) = half_delivered();
    expect(site.salver().args(["pause", "butler"]), 0);
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        let before = site.status();
        let status: Json = serde_json::from_str(&kept.said(&["status", "--format", "json"]).0).unwrap();
        for key in ["records", "dead", "bytes", "oldest", "newest"] {
            assert_eq!(status["spool"][key], before["spool"][key], "{way:?} {key}");
        }
        assert_eq!(status["flush"]["lastOutcome"], Json::Null);
        let problem = status["problems"][0]["text"].as_str().unwrap();
        assert!(problem.contains("the spool is read-only"), "{problem}");
        let instance = |status: &Json, at: usize, key: &str| status["instances"][at][key].clone();
        for at in [0, 1] {
            assert_eq!(instance(&status, at, "name"), instance(&before, at, "name"));
            assert_eq!(instance(&status, at, "id"), instance(&before, at, "id"));
        }
        assert_eq!(
            (instance(&status, 0, "collecting"), instance(&status, 1, "collecting")),
            (json!(false), Json::Null)
        );
        assert!(kept.said(&["status"]).0.contains("not known while the spool cannot be written to"));
        // A spool that takes no record is nothing to call healthy.
        expect(kept.salver().args(["status", "--check"]), 1);
    }
}

#[test]
fn every_id_can_be_quoted() {
    let (site, _posthog) = half_delivered();
    let id = site.status()["instances"][0]["id"].as_str().unwrap().to_owned();
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        let (shown, _) = kept.said(&["id", "--history"]);
        assert!(shown.contains(&id), "{way:?} {shown}");
    }
}

#[test]
fn dead_letters_are_told_from_the_others_by_the_witness() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let poisoned = uuids(&recorded(&site)).remove(1);
    posthog.answer_next(Scripted::Poison(poisoned.clone()));
    _ = site.salver().arg("flush").output().unwrap();
    record(&site, 1);
    let records = site.dump();
    let (dead, waiting): (Vec<Json>, Vec<Json>) =
        records.iter().cloned().partition(|it| it["spool"]["state"] == "dead");
    assert_eq!(uuids(&dead), [poisoned]);
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        let before = site.status();
        assert_eq!(kept.uuids(), uuids(&waiting), "{way:?}");
        let (shown, told) = kept.said(&["dump", "--format", "ndjson", "--state", "dead"]);
        let shown: Json = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["spool"]["uuid"], dead[0]["spool"]["uuid"]);
        assert_eq!((&shown["spool"]["words"], &shown["spool"]["deadSince"]), (&Json::Null, &Json::Null));
        assert!(told.contains("why it was refused"), "{told}");
        let all = kept.said(&["dump", "--state", "all", "--format", "ndjson"]).0;
        assert_eq!(all.lines().count(), records.len());
        let status: Json = serde_json::from_str(&kept.said(&["status", "--format", "json"]).0).unwrap();
        for key in ["records", "dead", "bytes", "oldest", "newest"] {
            assert_eq!(status["spool"][key], before["spool"][key], "{way:?} {key}");
        }

        fs::remove_file(kept.spool().join("witness")).unwrap();
        let output = expect(kept.salver().args(["dump", "--state", "dead"]), 1);
        assert!(out(&output).is_empty() && err(&output).contains("--state all"), "{}", err(&output));
        let status: Json = serde_json::from_str(&kept.said(&["status", "--format", "json"]).0).unwrap();
        assert_eq!(status["spool"]["dead"], Json::Null);
    }
}

#[test]
fn every_command_that_writes_says_why_it_cannot() {
    let (site, _posthog) = half_delivered();
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        let settings = fs::read_to_string(site.path("salver.yaml")).unwrap();
        kept.site.write("salver.yaml", &settings);
        for name in ["config/butler.yaml", "config/sos.yaml"] {
            kept.site.write(name, &fs::read_to_string(site.path(name)).unwrap());
        }
        let before = contents(&kept.spool());
        for command in [
            &["record"][..],
            &["run"],
            &["flush"],
            &["purge", "--all", "--yes"],
            &["purge", "--all", "--dry-run"],
            &["pause", "sos"],
            &["resume", "sos"],
            &["id", "sos"],
            &["status", "--acknowledge"],
        ] {
            let mut salver = kept.salver();
            salver.arg("--config").arg(kept.site.path("salver.yaml")).args(command);
            let output = expect(&mut salver, 1);
            let told = err(&output).to_lowercase();
            let causes = ["read-only file system", "permission denied", "access is denied", "access denied"];
            assert!(causes.iter().any(|cause| told.contains(cause)), "{way:?} {command:?}: {told}");
            assert!(told.contains("spool"), "{way:?} {command:?} does not say where: {told}");
        }
        assert!(contents(&kept.spool()) == before, "{way:?}: the folder was changed");
    }
}

#[test]
fn without_a_witness_every_whole_record_is_shown() {
    let (site, _posthog) = half_delivered();
    let waiting = site.uuids();
    for way in ways() {
        for torn in [false, true] {
            let kept = Kept::of(&site.spool(), way);
            let witness = kept.spool().join("witness");
            match torn {
                true => fs::write(&witness, &fs::read(&witness).unwrap()[..40]).unwrap(),
                false => fs::remove_file(&witness).unwrap(),
            }
            let shown = kept.uuids();
            assert!(shown.ends_with(&waiting) && shown.len() == waiting.len() + 3, "{way:?}: {shown:?}");
            let told = kept.said(&["dump"]).1;
            assert!(told.contains("delivered already may be among"), "{told}");
            let status: Json = serde_json::from_str(&kept.said(&["status", "--format", "json"]).0).unwrap();
            assert_eq!(status["spool"]["records"], shown.len());
            assert!(status["problems"].to_string().contains("witness"), "{}", status["problems"]);
        }
    }
}

#[test]
fn of_a_damaged_segment_the_whole_records_are_shown_and_the_rest_is_said() {
    let (site, _posthog) = half_delivered();
    let waiting = site.uuids();
    let all: BTreeSet<&String> = waiting.iter().collect();
    for way in ways() {
        for damage in ["flip", "zero", "cut", "remove"] {
            let kept = Kept::of(&site.spool(), way);
            let segment = kept.spool().join("seg-00000001");
            let log = segment.join("db");
            let mut bytes = fs::read(&log).unwrap();
            match damage {
                // In each copy of the oldest record that waits.
                "flip" => {
                    let at: Vec<usize> = places_of(&bytes, waiting[0].as_bytes());
                    assert!(!at.is_empty());
                    at.into_iter().for_each(|at| bytes[at] ^= 1);
                    fs::write(&log, bytes).unwrap();
                }
                "zero" => fs::write(&log, vec![0; bytes.len()]).unwrap(),
                "cut" => fs::write(&log, &bytes[..100]).unwrap(),
                _ => fs::remove_dir_all(&segment).unwrap(),
            }
            let shown = kept.uuids();
            assert!(
                shown.len() < waiting.len() && shown.iter().all(|uuid| all.contains(uuid)),
                "{way:?} {damage}"
            );
            if damage == "flip" {
                assert_eq!(shown, waiting[1..], "{way:?}");
            }
            let told = kept.said(&["dump"]).1;
            let gone = waiting.len() - shown.len();
            let said = told.contains(&format!("{gone} of the {} records", waiting.len()))
                || told.contains(&format!("{gone} records are gone"));
            assert!(said, "{way:?} {damage}: {told}");
            kept.said(&["status"]);
        }
    }
}

fn places_of(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let at = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
    at.map(|(at, _)| at).collect()
}

#[test]
fn records_that_are_newer_than_the_witness_are_shown_too() {
    let site = site();
    recorded(&site);
    let old = fs::read(site.spool().join("witness")).unwrap();
    record(&site, 2);
    let waiting = site.uuids();
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        // As if the last writers had died before they could write it.
        fs::write(kept.spool().join("witness"), &old).unwrap();
        assert_eq!(kept.uuids(), waiting, "{way:?}");
        let status: Json = serde_json::from_str(&kept.said(&["status", "--format", "json"]).0).unwrap();
        assert_eq!(status["spool"]["records"], waiting.len());
    }
}

#[test]
fn a_folder_that_is_no_spool_or_a_newer_one_is_not_taken_for_one() {
    let (site, _posthog) = half_delivered();
    for way in ways() {
        let marker = fs::read_to_string(site.spool().join("SALVER-SPOOL")).unwrap();
        for (text, word) in
            [(marker.replace("format 1", "format 9"), "format 9"), ("mine".into(), "not a spool")]
        {
            let kept = Kept::of(&site.spool(), way);
            fs::write(kept.spool().join("SALVER-SPOOL"), text).unwrap();
            for command in ["dump", "status"] {
                let output = expect(kept.salver().arg(command), 6);
                assert!(err(&output).contains(word), "{way:?}: {}", err(&output));
            }
        }
    }
}

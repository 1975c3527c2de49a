//! Promise: a spool that cannot be written to can be read as any other. `dump`, `status`, `id`, `doctor` and `purge --dry-run` show
//! the same as ever and write nothing anywhere; every command that has to write says why it fails.

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

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

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
            assert_eq!(told, "", "{way:?} {arguments:?}");
        }
    }
}

#[test]
fn status_shows_the_same_and_that_nothing_can_be_written() {
    let (site, _posthog) = half_delivered();
    expect(site.salver().args(["pause", "butler"]), 0);
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        let mut before = site.status();
        let mut status: Json = serde_json::from_str(&kept.said(&["status", "--format", "json"]).0).unwrap();
        let problems = status["problems"].take();
        assert!(problems[0]["text"].as_str().unwrap().contains("cannot be written to"), "{problems}");
        assert_eq!(before["problems"].take(), json!([]));
        before["spool"]["path"] = status["spool"]["path"].clone();
        // The settings are not there: a copy is read without them.
        for key in ["mode", "host"] {
            before["flush"][key] = status["flush"][key].clone();
        }
        assert_eq!(status, before, "{way:?}");
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
fn dead_letters_are_shown_with_their_reasons() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let poisoned = uuids(&recorded(&site)).remove(1);
    posthog.answer_next(Scripted::Poison(poisoned.clone()));
    _ = site.salver().arg("flush").output().unwrap();
    record(&site, 1);
    let arguments = ["dump", "--format", "ndjson", "--state", "dead"];
    let dead = out(&expect(site.salver().args(arguments), 0));
    assert!(dead.contains(&poisoned) && dead.contains("\"words\""), "{dead}");
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        assert_eq!(kept.said(&arguments).0, dead, "{way:?}");
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
            &["pause", "sos"],
            &["resume", "sos"],
            &["id", "sos", "--adopt", ID],
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
        for command in [&["purge", "--all", "--dry-run"][..], &["id", "sos"], &["flush", "--dry-run"]] {
            let mut salver = kept.salver();
            expect(salver.arg("--config").arg(kept.site.path("salver.yaml")).args(command), 0);
        }
        let mut doctor = kept.salver();
        let doctor = doctor.arg("--config").arg(kept.site.path("salver.yaml")).arg("doctor").output();
        assert!(out(&doctor.unwrap()).contains("not written to"), "{way:?}");
        assert!(contents(&kept.spool()) == before, "{way:?}: the folder was changed");
    }
}

#[test]
fn a_copy_without_its_manifest_is_an_error_in_words() {
    let (site, _posthog) = half_delivered();
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        for name in ["manifest.0", "manifest.1"] {
            fs::write(kept.spool().join(name), "damaged").unwrap();
        }
        for command in ["dump", "status"] {
            let told = err(&expect(kept.salver().arg(command), 6));
            assert!(told.contains("manifest.0") && told.contains("salver record"), "{way:?}: {told}");
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
            let said = format!("{gone} of {} records cannot be shown", waiting.len());
            assert!(told.contains(&said), "{way:?} {damage}: {told}");
            kept.said(&["status"]);
        }
    }
}

fn places_of(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let at = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
    at.map(|(at, _)| at).collect()
}

#[test]
fn records_that_the_manifest_does_not_vouch_for_are_shown_once_they_are_written_anew() {
    let site = site();
    recorded(&site);
    let old = ["manifest.0", "manifest.1"].map(|name| fs::read(site.spool().join(name)).unwrap());
    let before = site.uuids();
    record(&site, 2);
    let after = site.uuids();
    for way in ways() {
        let kept = Kept::of(&site.spool(), way);
        // As if the last writers had died before they could commit: their sync may have failed as well.
        for (name, bytes) in ["manifest.0", "manifest.1"].iter().zip(&old) {
            fs::write(kept.spool().join(name), bytes).unwrap();
        }
        assert_eq!(kept.uuids(), before, "{way:?}");
        drop(kept);
    }
    for (name, bytes) in ["manifest.0", "manifest.1"].iter().zip(&old) {
        fs::write(site.spool().join(name), bytes).unwrap();
    }
    expect(site.salver().args(["pause", "sos"]), 0);
    assert_eq!(site.uuids(), after);
}

#[test]
fn a_spool_of_another_format_is_not_taken_for_one_of_this() {
    let (site, _posthog) = half_delivered();
    for way in ways() {
        for (text, word) in [(marker_of(9), "format 9"), (marker_of(1), "format 1")] {
            let kept = Kept::of(&site.spool(), way);
            fs::write(kept.spool().join("SALVER-SPOOL"), text).unwrap();
            for command in ["dump", "status"] {
                let output = expect(kept.salver().arg(command), 6);
                assert!(err(&output).contains(word), "{way:?}: {}", err(&output));
            }
        }
    }
}

/// The marker that a salver of another format writes. The first had no checksum.
fn marker_of(format: u32) -> String {
    let body =
        format!("This folder is a spool of salver. Do not change files in it by hand.\nformat {format}\n");
    let check = format!("check {:08x}\n", crc32fast::hash(body.as_bytes()));
    if format == 1 { body } else { body + &check }
}

//! Promise 7, for files that cannot be read: an error names the file, the line and the column, and nothing of the text. A
//! parser's own words quote what they stumble over, so this is where a password would end up in a log.

use std::fs;

use crate::support::canary::Canaries;
use crate::support::canary::captured::Captured;
use crate::support::canary::fleet::{Fleet, loud};
use crate::support::canary::planter::{Planting, plant};
use crate::support::canary::printed::observed;
use crate::support::canary::search::Search;
use crate::support::service::{Service, said};
use crate::support::site::{SOS, Site};
use crate::support::{err, fixture, salver_in};
use fastrand::Rng;
use salver::record::catalogue::Catalogue;

/// Documents that cannot be read, each with a canary where the parser stumbles.
const BROKEN: [&[u8]; 16] = [
    b"Butler-SOS:\n    password: 'canary\n",
    b"Butler-SOS:\n    password: \"canary\\q\"\n",
    b"Butler-SOS:\n\tpassword: canary\n",
    b"Butler-SOS: {password: canary",
    b"Butler-SOS: [canary}\n",
    b"Butler-SOS:\n    canary-key: 1\n    canary-key: 2\n",
    b"Butler-SOS: *canary\n",
    b"Butler-SOS:\n  a: canary\n b: canary\n",
    b"Butler-SOS: {a: canary}\n---\nButler-SOS: {a: canary}\n",
    b"canary-service: {anonTelemetry: true}\n",
    b"Butler-SOS: {password: canary\xff}\n",
    b"%canary\nButler-SOS: canary: canary\n",
    b"Butler-SOS: !canary!canary canary\n",
    b"Butler-SOS: !!int canary\n",
    b"Butler-SOS: {anonTelemetry: !!bool canary}\n",
    b"Butler-SOS: canary\n",
];

/// What a text editor, a disk or a transfer may put in the place of a byte.
const CORRUPT: &[u8] = b"\t'\"{}[]*&!%@`:#,|>-?\\\n \0\x07\xff\xc3";

const PLANTINGS: [Planting; 4] = [Planting::Texts, Planting::Everything, Planting::Marks, Planting::Renamed];

/// Planted fixtures of both services.
fn planted(canaries: &mut Canaries) -> Vec<String> {
    let mut texts = Vec::new();
    for name in ["butler/13.0.0", "butler-sos/15.0.0"] {
        let text = fs::read_to_string(fixture(&format!("{name}/production.yaml"))).unwrap();
        texts.extend(PLANTINGS.map(|planting| plant(name, &text, planting, canaries)));
    }
    texts
}

/// The text cut off at some byte, or with some bytes replaced, or with a line that stands twice.
fn damaged(text: &str, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    match rng.u8(..3) {
        0 => bytes.truncate(rng.usize(..bytes.len())),
        1 => {
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = CORRUPT[rng.usize(..CORRUPT.len())];
            }
        }
        _ => {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let twice = rng.usize(..lines.len());
            lines.insert(twice, lines[twice]);
            bytes = lines.concat().into_bytes();
        }
    }
    bytes
}

#[test]
fn no_error_about_a_damaged_file_holds_a_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("production.yaml");
    let (catalogue, mut canaries, mut captured) =
        (Catalogue::load(&[]).unwrap(), Canaries::default(), Captured::default());
    let mut unreadable = 0;
    for (seed, text) in planted(&mut canaries).iter().enumerate() {
        let mut rng = Rng::with_seed(seed as u64);
        for _ in 0..60 {
            fs::write(&file, damaged(text, &mut rng)).unwrap();
            let observed = observed(&mut captured, &catalogue, std::slice::from_ref(&file));
            unreadable += usize::from(observed.is_err());
        }
    }
    assert!(unreadable > 150, "only {unreadable} of the damaged files could not be read");
    captured.assert_silent(&Search::new(&canaries));
    assert!(captured.holds("column"), "where the file is wrong is said nevertheless");
}

#[test]
fn no_command_says_anything_of_a_damaged_file() {
    let mut fleet = Fleet::new();
    let mut rng = Rng::with_seed(7);
    let texts = planted(&mut fleet.canaries);
    for (number, text) in texts.iter().cycle().take(3 * texts.len()).enumerate() {
        let name = format!("damaged-{number}");
        fleet.add(&name, &[SOS, text], "");
        fs::write(&fleet.instances[number].1[1], damaged(text, &mut rng)).unwrap();
    }
    fleet.add("sound", &[SOS], "");
    fleet.open();
    let mut captured = Captured::default();
    let output = captured.run("record", fleet.loud().arg("record"));
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let mut service = Service::start(fleet.loud().arg("run"));
    service.wait_for("a look at the last instance", |it| it.idle_looks() > 0);
    let held = err(&output).lines().filter(|line| line.starts_with("salver: ")).count();
    service.wait_for("the others to be held", |it| said(&it.stderr(), "held: ") == held);
    let ended = service.stop();
    captured.add("run", ended.stdout.join("\n"));
    captured.add("run, stderr", ended.stderr.join("\n"));
    for (name, _) in &fleet.instances {
        captured.run("preview", fleet.loud().args(["preview", name]));
    }
    for command in ["status", "id", "dump", "flush"] {
        captured.run(command, fleet.loud().arg(command));
    }
    captured.run("status as json", fleet.loud().args(["status", "--format", "json"]));
    captured.add_spool("in the end", &fleet.site.spool());
    captured.assert_silent(&Search::new(&fleet.canaries));
}

#[test]
fn whatever_the_parser_stumbles_over_is_not_quoted() {
    let mut fleet = Fleet::new();
    fleet.add("sos", &[SOS], "");
    fleet.open();
    let file = &fleet.instances[0].1[0];
    let mut captured = Captured::default();
    captured.run("record", fleet.loud().arg("record"));
    let mut service = Service::start(fleet.loud().arg("run"));
    service.wait_for("a first look", |it| it.idle_looks() > 0);
    for (number, broken) in BROKEN.into_iter().enumerate() {
        service.wait_for_words_after("held: ", || fs::write(file, broken).unwrap());
        let name = |command: &str| format!("{command} of document {number}");
        let recorded = captured.run(&name("record"), fleet.loud().args(["record", "sos"]));
        assert_eq!(recorded.status.code(), Some(1), "document {number}: {}", err(&recorded));
        captured.run(&name("preview"), fleet.loud().args(["preview", "sos", "--explain"]));
        captured.run(&name("status"), fleet.loud().args(["status", "--format", "json"]));
        captured.run(&name("try-out"), loud(salver_in(&fleet.site.path("try-out"))).arg("record").arg(file));
        let catalogue = Catalogue::load(&[]).unwrap();
        observed(&mut captured, &catalogue, std::slice::from_ref(file)).unwrap_err();
        service.wait_for_an_idle_look_after(|| fs::write(file, SOS).unwrap());
    }
    let ended = service.stop();
    captured.add("run", ended.stdout.join("\n"));
    captured.add("run, stderr", ended.stderr.join("\n"));
    captured.add_spool("in the end", &fleet.site.spool());
    captured.assert_silent(&Search::new(&Canaries::default()));
    assert!(captured.holds("line 2, column"), "where the file is wrong is said nevertheless");
}

#[test]
fn a_wrong_settings_file_is_not_quoted() {
    let site = Site::of_sos(SOS);
    let wrong = [
        "posthog: {apiKey: phx_canary}\n",
        "posthog: {apiKey: 'phc_canary canary'}\n",
        "posthog: {host: 'https://canary:canary@posthog.example'}\n",
        "posthog: {host: canary.example}\n",
        "posthog: {proxy: 'http://canary:canary canary@proxy'}\n",
        "posthog: {apiKey: 'phc_canary}\n",
        "posthog:\n  apiKey: phc_canary\n  apiKey: phc_canary\n",
        "flush: {every: canary}\n",
        "posthog: [phc_canary]\n",
    ];
    for text in wrong {
        site.settings(text);
        let mut captured = Captured::default();
        let output = captured.run("status", loud(site.salver()).arg("status"));
        assert_eq!(output.status.code(), Some(2), "{text}: {}", err(&output));
        captured.assert_silent(&Search::new(&Canaries::default()));
    }
}

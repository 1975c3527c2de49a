//! Promise: scripts may rely on the command line: on the exit codes, on data alone on stdout, and
//! on the shapes of the JSON.
//!
//! What a change here breaks is somebody's script, so the shapes are written out in full.

use std::io::pipe;
use std::process::{Command, Stdio};

use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Service, until};
use crate::support::site::{SOS, features, flip};
use crate::support::two_instances::{dumped, flushed, forward_to, keys, of, recorded, site, site_of};
use crate::support::{err, expect, json, out, salver, salver_in};
use serde_json::{Value as Json, json};

const COMMANDS: [&str; 11] =
    ["run", "record", "preview", "dump", "flush", "status", "purge", "pause", "resume", "id", "doctor"];

// The command line itself -------------------------------------------------------------------------

#[test]
fn every_command_explains_itself() {
    let all = out(&expect(salver().arg("--help"), 0));
    for command in COMMANDS {
        assert!(all.contains(&format!("  {command}")), "{all}");
        let one = out(&expect(salver().args([command, "--help"]), 0));
        assert!(one.contains(&format!("Usage: salver {command}")) || cfg!(windows), "{one}");
        for option in ["--config", "--spool", "--quiet", "--verbose", "--color"] {
            assert!(one.contains(option), "{command}: {one}");
        }
    }
    let version = out(&expect(salver().arg("--version"), 0));
    assert_eq!(version.trim(), format!("salver {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_environment_names_settings_and_spool_and_the_command_line_wins() {
    let site = site();
    expect(salver().env("SALVER_CONFIG", site.path("salver.yaml")).args(["record", "sos"]), 0);
    assert_eq!(site.dump().len(), 1);
    let other = site.path("other");
    let by = |command: &mut Command| {
        command.env("SALVER_CONFIG", "nowhere.yaml").env("SALVER_SPOOL", "nowhere");
        command.arg("--config").arg(site.path("salver.yaml")).arg("--spool").arg(&other).arg("record");
        expect(command, 0);
    };
    by(&mut salver());
    assert_eq!(crate::support::dump(&other).len(), 2);
}

#[test]
fn data_goes_to_stdout_and_everything_else_to_stderr() {
    let site = site();
    let first = expect(site.salver().args(["record", "sos"]), 0);
    assert_eq!(keys(&json(&first)), ["ts", "data"]);
    assert!(err(&first).contains("sos: recorded"), "{}", err(&first));
    let second = expect(site.salver().args(["record", "sos"]), 0);
    assert_eq!((out(&second).as_str(), err(&second).as_str()), ("", "sos: nothing changed\n"));
    for quiet in ["-q", "--quiet"] {
        let silent = expect(site.salver().args([quiet, "record", "sos"]), 0);
        assert_eq!((out(&silent).as_str(), err(&silent).as_str()), ("", ""));
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_every_command_quietly() {
    let site = site();
    recorded(&site);
    for command in [
        &["dump"][..],
        &["dump", "--format", "json"],
        &["dump", "--format", "ndjson"],
        &["dump", "--format", "csv"],
        &["dump", "--format", "csv", "--as", "event"],
        &["preview", "sos"],
        &["preview", "sos", "--as", "event"],
        &["preview", "sos", "--as", "request"],
        &["preview", "sos", "--explain"],
        &["status"],
        &["status", "--format", "json"],
        &["flush", "--dry-run"],
        &["purge", "--all", "--dry-run"],
        &["id"],
        &["id", "--history"],
        &["record", "sos", "--force"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = expect(site.salver().arg("-q").args(command).stdout(Stdio::from(writer)), 0);
        assert_eq!(err(&output), "", "{command:?}");
    }
}

#[test]
fn a_closed_stderr_stops_no_command() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    for (command, code) in [
        (&["record", "sos", "--force"][..], 0),
        (&["preview", "sos"], 0),
        (&["id"], 0),
        (&["flush"], 0),
        (&["pause", "sos"], 0),
        (&["record", "sos"], 3),
        (&["resume", "sos"], 0),
        (&["preview", "nobody"], 2),
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = site.salver().args(command).stderr(Stdio::from(writer)).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{command:?}");
    }
    assert_eq!(posthog.events().len(), 1);
}

// record, preview ---------------------------------------------------------------------------------

#[test]
fn a_record_says_why_it_was_written() {
    let site = site();
    recorded(&site);
    let records = site.dump();
    assert_eq!(of(&records, "reason"), ["started", "started", "changed", "changed", "manual"]);
    assert_eq!(of(&records, "seq"), [1, 2, 3, 4, 5]);
    assert_eq!(records[0]["data"], records[4]["data"], "forced, and nothing had changed");
    assert_eq!(features(&records[1])["heartbeat"], false);
    assert_eq!(features(&records[2])["heartbeat"], true);
}

#[test]
fn an_instance_without_a_name_is_called_by_its_service_and_a_digest_of_its_path() {
    let site = site();
    let spool = site.path("other");
    expect(salver_in(&spool).arg("record").arg(site.sos()), 0);
    let name = crate::support::dump(&spool)[0]["spool"]["instance"].as_str().unwrap().to_owned();
    let digest = name.strip_prefix("butler-sos-").unwrap();
    assert!(digest.len() == 8 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    // The same path written otherwise is the same instance.
    let mut again = salver_in(&spool);
    let output = expect(again.current_dir(site.path("config")).args(["record", "./sos.yaml"]), 0);
    assert!(err(&output).contains(&format!("{name}: nothing changed")), "{}", err(&output));
}

#[test]
fn do_not_track_collects_and_sends_nothing_and_erases_nothing() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    recorded(&site);
    site.write("config/sos.yaml", &flip(SOS, "prometheus"));
    for value in ["1", "true", "yes", "please"] {
        for command in ["record", "flush"] {
            let output = expect(site.salver().env("DO_NOT_TRACK", value).arg(command), 3);
            assert!(err(&output).contains("DO_NOT_TRACK"), "{}", err(&output));
        }
        expect(site.salver().env("DO_NOT_TRACK", value).args(["preview", "sos"]), 3);
    }
    assert_eq!((site.dump().len(), posthog.requests()), (5, 0));
    for value in ["", "0"] {
        expect(site.salver().env("DO_NOT_TRACK", value).arg("record"), 0);
    }
    assert_eq!(site.dump().len(), 6);
}

#[test]
fn what_preview_shows_is_what_is_recorded_and_sent() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let preview = |shape: &str, more: &[&str]| {
        json(&expect(site.salver().args(["preview", "sos", "--as", shape]).args(more), 0))
    };
    let (record, event, request) = (preview("record", &[]), preview("event", &[]), preview("request", &[]));
    assert_eq!(request["api_key"], "***");
    assert_eq!(preview("request", &["--reveal"])["api_key"], "phc_not_a_real_key");
    assert!(!site.spool().exists(), "preview writes nothing");

    expect(site.salver().args(["record", "sos"]), 0);
    assert_eq!(site.dump()[0]["data"], record["data"]);
    let dumped = &dumped(&site, &["--as", "event"])[0];
    flushed(&site, 0, &[]);
    assert_eq!(&posthog.events()[0], dumped);
    assert_eq!(keys(dumped), ["event", "distinct_id", "uuid", "timestamp", "properties"]);
    // All but what is fixed when a record is written.
    let without_time = |event: &Json| {
        let mut properties = event["properties"].clone();
        for fixed in ["salver_reason", "salver_recordedAt"] {
            properties.as_object_mut().unwrap().remove(fixed).unwrap();
        }
        (event["event"].clone(), event["distinct_id"].clone(), properties)
    };
    assert_eq!(without_time(&event), without_time(dumped));
    assert_eq!(without_time(&request["batch"][0]), without_time(dumped));
}

#[test]
fn explain_names_the_config_path_that_decided_each_key() {
    let site = site();
    let keys = json(&expect(site.salver().args(["preview", "sos", "--explain"]), 0));
    let expected = json!({ "decidedBy": "Butler-SOS.mqttConfig.enable", "value": false });
    assert_eq!(keys["feature_mqtt"], expected);
    assert_eq!(keys["enabledFeatures.feature.mqtt"], expected);
    let undecided = json!({ "decidedBy": null, "value": false, "lookedAt": ["Butler-SOS.newRelic.enable"] });
    assert_eq!(keys["feature_newRelic"], undecided);
    assert_eq!(
        keys["serviceVersion"],
        json!({ "value": "15.0.0", "from": "the settings or the command line" })
    );
    let event = json(&expect(site.salver().args(["preview", "sos", "--as", "event"]), 0));
    for key in event["properties"].as_object().unwrap().keys().filter(|key| *key != "telemetry_json") {
        assert!(keys[key].is_object(), "{key} is not explained");
    }
}

// flush, status -----------------------------------------------------------------------------------

#[test]
fn flush_says_what_it_did_and_how_it_ended() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let records = recorded(&site);
    let expected = |sent: u64, batches: u64, wire: u64, dead: u64, remaining: u64, outcome: &str| {
        json!({ "sent": sent, "batches": batches, "wireBytes": wire, "deadLettered": dead, "remaining": remaining, "outcome": outcome,
        "why": null, "nextAttempt": null, "held": [], "ahead": 0, "dead": 0 })
    };

    let dry = out(&expect(site.salver().args(["flush", "--dry-run"]), 0));
    assert_eq!(dry.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Json>(&dry).unwrap()["batch"].as_array().unwrap().len(), 5);
    assert_eq!((posthog.requests(), site.dump().len()), (0, 5));

    let report = flushed(&site, 0, &["--limit", "2"]);
    assert_eq!(keys(&report)[..6], ["sent", "batches", "wireBytes", "deadLettered", "remaining", "outcome"]);
    assert_eq!(report, expected(2, 1, posthog.wire_bytes(), 0, 3, "limit"));
    let before = posthog.wire_bytes();
    assert_eq!(flushed(&site, 0, &[]), expected(3, 1, posthog.wire_bytes() - before, 0, 0, "drained"));
    assert_eq!(flushed(&site, 0, &[]), expected(0, 0, 0, 0, 0, "empty"));
    let uuids: Vec<Json> = posthog.uuids().into_iter().map(Json::from).collect();
    assert_eq!(uuids, of(&records, "uuid"));
}

#[test]
fn a_record_that_is_refused_alone_becomes_a_dead_letter_and_can_be_tried_again() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let records = recorded(&site);
    let third = records[2]["spool"]["uuid"].as_str().unwrap();
    posthog.answer_next(Scripted::Poison(third.into()));
    let report = flushed(&site, 0, &[]);
    assert_eq!(
        (&report["sent"], &report["deadLettered"], &report["remaining"]),
        (&json!(4), &json!(1), &json!(0))
    );

    assert_eq!(dumped(&site, &[]), [Json::Null; 0]);
    assert_eq!(dumped(&site, &["--state", "queued"]), [Json::Null; 0]);
    for state in ["dead", "all"] {
        let dead = &dumped(&site, &["--state", state])[0];
        assert_eq!((&dead["spool"]["uuid"], &dead["spool"]["state"]), (&json!(third), &json!("dead")));
        assert!(dead["spool"]["attempts"].as_u64().unwrap() > 0);
    }
    let status = site.status();
    assert_eq!((&status["spool"]["records"], &status["spool"]["dead"]), (&json!(0), &json!(1)));

    let again = PostHog::start();
    forward_to(&site, &again);
    assert_eq!(flushed(&site, 0, &[])["outcome"], "empty");
    assert_eq!(flushed(&site, 0, &["--retry-dead"])["sent"], 1);
    assert_eq!(again.uuids(), [third]);
}

// run ---------------------------------------------------------------------------------------------

#[test]
fn run_prints_the_id_of_every_instance_and_leaves_the_records_in_the_spool() {
    let site = site();
    let ids = out(&expect(site.salver().arg("id"), 0));
    let mut service = Service::start(site.salver().arg("run"));
    service.wait_for_records(2);
    let ended = service.stop();
    assert_eq!(ended.code, if cfg!(windows) { ended.code } else { Some(0) });
    assert_eq!(ended.stdout.len(), 2, "{:?}", ended.stdout);
    for (line, known) in ended.stdout.iter().zip(ids.lines()) {
        let id = known.split(' ').nth(3).unwrap();
        assert!(line.starts_with(&format!("Instance ID : {id}  (")), "{line}");
    }
}

#[test]
fn run_goes_on_recording_when_nobody_reads_what_it_prints() {
    let site = site();
    let spool = site.path("try-out");
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut run = salver_in(&spool);
    let mut child = run
        .args(["run", "--watch"])
        .arg(site.sos())
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let recorded = |count| {
        until("a record", || {
            spool.join("SALVER-SPOOL").exists() && crate::support::dump(&spool).len() == count
        })
    };
    recorded(1);
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    recorded(2);
    child.kill().unwrap();
    child.wait().unwrap();
}

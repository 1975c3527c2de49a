//! Promise: scripts may rely on the command line: on the exit codes, on data alone on stdout, and on the shapes of the JSON.
//!
//! What a change here breaks is somebody's script, so the shapes are written out in full.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::pipe;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use support::posthog::{PostHog, Scripted};
use support::service::{Service, until};
use support::site::{BUTLER, SOS, Site, features, flip};
use support::{err, expect, json, out, salver, salver_in};

const COMMANDS: [&str; 10] =
    ["run", "record", "preview", "dump", "flush", "status", "purge", "pause", "resume", "id"];

/// A site with one instance of each service, which forwards nowhere.
fn site() -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    settings(&site, "{}");
    site
}

/// One that forwards to this server.
fn site_of(posthog: &PostHog) -> Site {
    let site = site();
    forward_to(&site, posthog);
    site
}

fn forward_to(site: &Site, posthog: &PostHog) {
    settings(site, &format!("{{host: '{}', apiKey: phc_not_a_real_key}}", posthog.url()));
}

fn settings(site: &Site, posthog: &str) {
    let text = format!(
        "spool: {{directory: spool, wait: 100ms}}\nwatch: {{settle: 10ms}}\nflush: {{patience: 1s}}\n\
         posthog: {posthog}\ninstances:\n  \
         - {{name: butler, configFile: config/butler.yaml, serviceVersion: 15.1.0}}\n  \
         - {{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}\n"
    );
    site.write("salver.yaml", &text);
}

/// Five records of two instances: butler, sos, sos, sos, butler.
fn recorded(site: &Site) -> Vec<Json> {
    let text = &mut SOS.to_owned();
    expect(site.salver().arg("record"), 0);
    for block in ["heartbeat", "mqttConfig"] {
        *text = flip(text, block);
        site.write("config/sos.yaml", text);
        expect(site.salver().arg("record"), 0);
    }
    expect(site.salver().args(["record", "butler", "--force"]), 0);
    let records = site.dump();
    assert_eq!(of(&records, "instance"), ["butler", "sos", "sos", "sos", "butler"]);
    records
}

/// One key of what the spool says of each record.
fn of(records: &[Json], key: &str) -> Vec<Json> {
    records.iter().map(|record| record["spool"][key].clone()).collect()
}

fn keys(json: &Json) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What a dump with these arguments gives.
fn dumped(site: &Site, arguments: &[&str]) -> Vec<Json> {
    let output = expect(site.salver().args(["dump", "--format", "ndjson"]).args(arguments), 0);
    out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn flushed(site: &Site, code: i32, arguments: &[&str]) -> Json {
    json(&expect(site.salver().args(["flush", "--format", "json"]).args(arguments), code))
}

// The command line itself ---------------------------------------------------------------------------------------------

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
fn what_is_no_command_option_or_value_ends_with_2() {
    for wrong in [
        &["fetch"][..],
        &[],
        &["dump", "--colour"],
        &["dump", "--format", "xml"],
        &["dump", "--since", "yesterday"],
        &["dump", "--limit", "many"],
        &["purge"],
        &["pause"],
        &["preview"],
        &["run", "--flush", "later"],
        &["preview", "x.yaml", "--service-version", "newest"],
    ] {
        let output = expect(salver().args(wrong), 2);
        assert!(out(&output).is_empty() && !err(&output).is_empty(), "{wrong:?}");
    }
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
    assert_eq!(support::dump(&other).len(), 2);
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

// record, preview -----------------------------------------------------------------------------------------------------

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
    let name = support::dump(&spool)[0]["spool"]["instance"].as_str().unwrap().to_owned();
    let digest = name.strip_prefix("butler-sos-").unwrap();
    assert!(digest.len() == 8 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    // The same path written otherwise is the same instance.
    let mut again = salver_in(&spool);
    let output = expect(again.current_dir(site.path("config")).args(["record", "./sos.yaml"]), 0);
    assert!(err(&output).contains(&format!("{name}: nothing changed")), "{}", err(&output));
}

#[test]
fn record_ends_with_3_only_if_every_instance_is_off() {
    let site = site();
    site.write("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().arg("record"), 0);
    expect(site.salver().args(["record", "sos"]), 3);
    expect(site.salver().args(["record", "butler"]), 0);
    expect(site.salver().args(["preview", "sos"]), 3);
    assert_eq!(of(&site.dump(), "instance"), ["butler"]);
    fs::remove_file(site.path("config/butler.yaml")).unwrap();
    expect(site.salver().arg("record"), 1);
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
    assert_eq!(keys["feature_newRelic"], json!({ "decidedBy": null, "value": false }));
}

// dump ----------------------------------------------------------------------------------------------------------------

#[test]
fn each_line_of_ndjson_is_one_record_with_what_the_spool_knows_of_it() {
    let site = site();
    recorded(&site);
    for (at, record) in dumped(&site, &[]).iter().enumerate() {
        assert_eq!(keys(record), ["ts", "data", "spool"]);
        assert_eq!(keys(&record["data"]), ["service", "serviceVersion", "system", "enabledFeatures"]);
        assert_eq!(keys(&record["spool"]), ["seq", "uuid", "instance", "reason", "state", "attempts"]);
        assert_eq!(record["spool"]["seq"], at + 1);
        assert_eq!(record["spool"]["state"], "queued");
        assert_eq!(record["spool"]["attempts"], 0);
        let time = record["ts"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        let uuid = uuid::Uuid::parse_str(record["spool"]["uuid"].as_str().unwrap()).unwrap();
        assert_eq!(uuid.get_version_num(), 7);
    }
}

#[test]
fn json_csv_and_table_hold_the_same_records() {
    let site = site();
    let records = recorded(&site);
    let dump = |format: &str| out(&expect(site.salver().args(["dump", "--format", format]), 0));
    assert_eq!(serde_json::from_str::<Vec<Json>>(&dump("json")).unwrap(), records);

    let text = dump("csv");
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
    let head = "seq,ts,uuid,id,instance,service,serviceVersion,reason,state,attempts,data";
    assert_eq!(text.lines().next(), Some(head));
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(&records) {
        assert_eq!(serde_json::from_str::<Json>(&row["data"]).unwrap(), record["data"]);
        assert_eq!(row["uuid"], record["spool"]["uuid"].as_str().unwrap());
        assert_eq!(row["id"], record["data"]["system"]["id"].as_str().unwrap());
        assert_eq!(row["ts"], record["ts"].as_str().unwrap());
    }

    let table = dump("table");
    assert_eq!(table.lines().count(), 1 + records.len());
    for (line, record) in table.lines().skip(1).zip(&records) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let expected = ["seq", "instance", "reason", "state"].map(|key| record["spool"][key].to_string());
        let expected = expected.map(|text| text.trim_matches('"').to_owned());
        assert_eq!([cells[0], cells[2], cells[5], cells[6]], expected.each_ref().map(String::as_str));
    }
}

#[test]
fn filters_choose_by_instance_service_time_and_number() {
    let site = site();
    let records = recorded(&site);
    let seqs = |arguments: &[&str]| of(&dumped(&site, arguments), "seq");
    assert_eq!(seqs(&["--instance", "sos"]), [2, 3, 4]);
    assert_eq!(seqs(&["--service", "butler"]), [1, 5]);
    assert_eq!(seqs(&["--service", "butler-sos", "--limit", "2"]), [2, 3]);
    assert_eq!(seqs(&["--limit", "0"]), [0; 0]);
    assert_eq!(seqs(&["--instance", "nobody"]), [0; 0]);
    // From a time on, and up to but without it.
    let third = records[2]["ts"].as_str().unwrap();
    assert_eq!(seqs(&["--since", third]), [3, 4, 5]);
    assert_eq!(seqs(&["--until", third]), [1, 2]);
    let fifth = records[4]["ts"].as_str().unwrap();
    assert_eq!(seqs(&["--since", third, "--until", fifth, "--instance", "sos"]), [3, 4]);
    // Without an offset it is UTC.
    assert_eq!(seqs(&["--since", third.trim_end_matches('Z')]), [3, 4, 5]);
    assert_eq!(seqs(&["--since", "1h"]).len(), 5);
    assert_eq!(seqs(&["--until", "1h"]), [0; 0]);
    assert_eq!(seqs(&["--until", "2000-01-01"]), [0; 0]);
}

#[test]
fn dump_writes_into_a_file_and_empties_none_that_it_cannot_fill() {
    let site = site();
    let records = recorded(&site);
    let file = site.path("records.json");
    let output = expect(site.salver().args(["dump", "--format", "json"]).arg(&file), 0);
    assert_eq!(out(&output), "");
    let written = fs::read(&file).unwrap();
    assert_eq!(serde_json::from_slice::<Vec<Json>>(&written).unwrap(), records);

    expect(salver_in(&site.path("nowhere")).arg("dump").arg(&file), 1);
    assert_eq!(fs::read(&file).unwrap(), written);
    let output = expect(site.salver().arg("dump").arg(site.path("nowhere/records.json")), 1);
    assert!(err(&output).contains("records.json"), "{}", err(&output));
}

// flush, status -------------------------------------------------------------------------------------------------------

#[test]
fn flush_without_host_or_key_ends_with_2_and_names_the_setting() {
    let site = site();
    expect(site.salver().arg("record"), 0);
    for (posthog, missing) in [
        ("{}", "posthog.host is not set"),
        ("{apiKey: phc_test}", "posthog.host is not set"),
        ("{host: 'https://posthog.example.com'}", "posthog.apiKey is not set"),
    ] {
        settings(&site, posthog);
        let output = expect(site.salver().arg("flush"), 2);
        assert!(err(&output).contains(missing), "{}", err(&output));
    }
    assert_eq!(site.dump().len(), 2);
}

#[test]
fn flush_says_what_it_did_and_how_it_ended() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let records = recorded(&site);
    let expected = |sent: u64, batches: u64, wire: u64, dead: u64, remaining: u64, outcome: &str| json!({ "sent": sent, "batches": batches, "wireBytes": wire, "deadLettered": dead, "remaining": remaining, "outcome": outcome });

    let dry = out(&expect(site.salver().args(["flush", "--dry-run"]), 0));
    assert_eq!(dry.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Json>(&dry).unwrap()["batch"].as_array().unwrap().len(), 5);
    assert_eq!((posthog.requests(), site.dump().len()), (0, 5));

    let report = flushed(&site, 0, &["--limit", "2"]);
    assert_eq!(keys(&report), ["sent", "batches", "wireBytes", "deadLettered", "remaining", "outcome"]);
    assert_eq!(report, expected(2, 1, posthog.wire_bytes(), 0, 3, "limit"));
    let before = posthog.wire_bytes();
    assert_eq!(flushed(&site, 0, &[]), expected(3, 1, posthog.wire_bytes() - before, 0, 0, "drained"));
    assert_eq!(flushed(&site, 0, &[]), expected(0, 0, 0, 0, 0, "empty"));
    let uuids: Vec<Json> = posthog.uuids().into_iter().map(Json::from).collect();
    assert_eq!(uuids, of(&records, "uuid"));
}

#[test]
fn an_upstream_that_does_not_take_records_ends_with_4_and_keeps_them() {
    let site = site();
    recorded(&site);
    for (status, outcome) in [(401, "refused"), (302, "refused"), (429, "throttled"), (503, "unreachable")] {
        let posthog = PostHog::start();
        forward_to(&site, &posthog);
        // More often than it asks within its patience.
        (0..50).for_each(|_| posthog.answer_next(Scripted::Status(status, "no")));
        let report = flushed(&site, 4, &[]);
        assert_eq!((&report["outcome"], &report["remaining"]), (&json!(outcome), &json!(5)), "{status}");
        assert!(posthog.requests() > 0);
        assert_eq!(site.status()["flush"]["lastOutcome"], outcome);
    }
    // The last one is gone now, so nobody listens there.
    let report = flushed(&site, 4, &[]);
    assert_eq!((&report["outcome"], &report["remaining"]), (&json!("unreachable"), &json!(5)));
    assert_eq!(site.dump().len(), 5);
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

#[test]
fn status_says_everything_in_one_json_object() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let records = recorded(&site);
    let status = site.status();
    assert_eq!(keys(&status), ["version", "spool", "instances", "flush", "problems"]);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let spool = &status["spool"];
    assert_eq!(keys(spool), ["path", "records", "dead", "bytes", "oldest", "newest"]);
    assert_eq!(Path::new(spool["path"].as_str().unwrap()), site.spool());
    assert_eq!((&spool["records"], &spool["dead"]), (&json!(5), &json!(0)));
    assert!(spool["bytes"].as_u64().unwrap() > 0);
    assert_eq!((&spool["oldest"], &spool["newest"]), (&records[0]["ts"], &records[4]["ts"]));

    let instances = status["instances"].as_array().unwrap();
    assert_eq!(
        instances.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["butler", "sos"]
    );
    for (instance, last, file) in
        [(&instances[0], &records[4], "config/butler.yaml"), (&instances[1], &records[3], "config/sos.yaml")]
    {
        let all =
            ["name", "service", "serviceVersion", "configFile", "collecting", "why", "id", "lastRecord"];
        assert_eq!(keys(instance), all);
        assert_eq!(instance["service"], last["data"]["service"]);
        assert_eq!(instance["serviceVersion"], last["data"]["serviceVersion"]);
        assert_eq!(instance["id"], last["data"]["system"]["id"]);
        assert_eq!(instance["lastRecord"], last["ts"]);
        assert_eq!((&instance["collecting"], &instance["why"]), (&json!(true), &json!("consent is given")));
        assert_eq!(
            fs::canonicalize(instance["configFile"].as_str().unwrap()).unwrap(),
            canonical(&site.path(file))
        );
    }

    let flush = &status["flush"];
    assert_eq!(keys(flush), ["mode", "host", "lastAttempt", "lastSuccess", "lastOutcome", "nextAttempt"]);
    let never = json!({
        "mode": "manual", "host": posthog.url(), "lastAttempt": null, "lastSuccess": null, "lastOutcome": null, "nextAttempt": null,
    });
    assert_eq!(flush, &never);
    flushed(&site, 0, &[]);
    let status = site.status();
    assert_eq!(status["flush"]["lastOutcome"], "drained");
    assert!(status["flush"]["lastSuccess"].is_string() && status["flush"]["lastAttempt"].is_string());
    assert_eq!((&status["spool"]["records"], &status["spool"]["oldest"]), (&json!(0), &Json::Null));
    assert!(!status.to_string().contains("phc_"), "the key is nobody's business");
    assert!(out(&expect(site.salver().arg("status"), 0)).contains("drained"));
}

fn canonical(path: &Path) -> std::path::PathBuf {
    fs::canonicalize(path).unwrap()
}

#[test]
fn status_check_fails_while_there_is_a_problem_that_nobody_has_seen() {
    let site = site();
    recorded(&site);
    expect(site.salver().args(["status", "--check"]), 0);
    for entry in fs::read_dir(site.spool()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("seg-") {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let status = json(&expect(site.salver().args(["status", "--check", "--format", "json"]), 1));
    let problem = &status["problems"][0];
    assert_eq!(keys(problem), ["at", "text"]);
    assert!(problem["text"].as_str().unwrap().contains("5 records are gone"), "{problem}");
    expect(site.salver().args(["status", "--acknowledge"]), 0);
    expect(site.salver().args(["status", "--check"]), 0);
}

#[test]
fn a_spool_that_stays_busy_ends_every_command_with_5_and_the_next_step() {
    let site = site();
    let records = recorded(&site);
    let lock = File::options().read(true).write(true).open(site.spool().join("lock")).unwrap();
    until("the lock", || lock.try_lock().is_ok());
    site.write("config/sos.yaml", &flip(SOS, "prometheus"));
    for command in
        [&["record", "sos"][..], &["dump"], &["status"], &["purge", "--all", "--yes"], &["pause", "--all"]]
    {
        let output = expect(site.salver().args(command), 5);
        let said = err(&output);
        let spool = site.spool();
        assert!(
            said.contains(spool.to_str().unwrap()) && said.contains("busy") && said.contains("try again"),
            "{said}"
        );
    }
    drop(lock);
    assert_eq!(site.dump(), records);
}

// purge, pause, id ----------------------------------------------------------------------------------------------------

#[test]
fn purge_erases_what_meets_all_the_selectors_and_nothing_else() {
    let site = site();
    let records = recorded(&site);
    let [second, fourth] = [1, 3].map(|at| records[at]["ts"].as_str().unwrap());
    let would_erase = |selectors: &[&str]| {
        let dry = out(&expect(site.salver().args(["purge", "--dry-run"]).args(selectors), 0));
        dry.split_once(" records would be erased")
            .unwrap_or_else(|| panic!("{dry}"))
            .0
            .parse::<u64>()
            .unwrap()
    };
    let id = records[1]["data"]["system"]["id"].as_str().unwrap();
    for (selectors, count) in [
        (&["--all"][..], 5),
        (&["--instance", "sos"], 3),
        (&["--service", "butler"], 2),
        (&["--id", &id.to_uppercase()], 3),
        (&["--before", "1h"], 0),
        (&["--before", second], 1),
        (&["--dead"], 0),
        (&["--all", "--instance", "butler"], 2),
        (&["--service", "butler", "--instance", "sos"], 0),
        (&["--instance", "sos", "--before", fourth], 2),
    ] {
        assert_eq!(would_erase(selectors), count, "{selectors:?}");
    }
    let output = expect(site.salver().args(["purge", "--all"]).stdin(Stdio::null()), 2);
    assert!(err(&output).contains("--yes"), "{}", err(&output));
    assert_eq!(site.dump(), records, "neither a dry run nor a purge without --yes erases anything");

    let purge = |selectors: &[&str]| out(&expect(site.salver().args(["purge", "--yes"]).args(selectors), 0));
    assert!(purge(&["--service", "butler", "--instance", "sos"]).starts_with("0 records erased"));
    assert_eq!(site.dump(), records);
    let receipt = purge(&["--instance", "sos", "--before", fourth]);
    assert_eq!(of(&site.dump(), "seq"), [1, 4, 5]);
    for line in [
        "2 records erased, 0 of them dead letters",
        "instance sos: 2 records",
        &format!("id {id}: 2 records"),
    ] {
        assert!(receipt.contains(line), "{receipt}");
    }
    assert!(
        receipt.contains(second) && receipt.contains("no record with it was ever delivered"),
        "{receipt}"
    );
    assert!(!receipt.contains("butler"), "{receipt}");
    purge(&["--service", "butler"]);
    assert_eq!(of(&site.dump(), "seq"), [4]);
    purge(&["--all"]);
    assert_eq!(site.dump(), [Json::Null; 0]);
}

#[test]
fn purge_by_id_and_of_dead_letters_says_what_was_delivered_before() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    expect(site.salver().args(["id", "butler", "--adopt", &"a".repeat(64)]), 0);
    let records = recorded(&site);
    let last = records[4]["spool"]["uuid"].as_str().unwrap();
    posthog.answer_next(Scripted::Poison(last.into()));
    assert_eq!(flushed(&site, 0, &[])["deadLettered"], 1);

    let receipt = out(&expect(site.salver().args(["purge", "--dead", "--yes"]), 0));
    assert!(receipt.contains("1 records erased, 1 of them dead letters"), "{receipt}");
    assert!(receipt.contains(&"a".repeat(64)) && receipt.contains("were delivered before"), "{receipt}");
    assert!(receipt.contains("vendor"), "{receipt}");

    expect(site.salver().args(["record", "--force"]), 0);
    let receipt = out(&expect(site.salver().args(["purge", "--id", &"A".repeat(64), "--yes"]), 0));
    assert!(receipt.starts_with("1 records erased"), "{receipt}");
    assert_eq!(of(&site.dump(), "instance"), ["sos"]);
}

#[test]
fn purge_can_stop_collecting_as_well_and_forgets_the_id() {
    let site = site();
    let records = recorded(&site);
    let id = records[1]["data"]["system"]["id"].as_str().unwrap();
    let purge = ["purge", "--instance", "sos", "--stop-collecting", "--yes"];
    let receipt = out(&expect(site.salver().args(purge), 0));
    assert!(receipt.contains(id) && receipt.contains("instance sos no longer collects"), "{receipt}");
    expect(site.salver().args(["record", "sos", "--force"]), 3);
    let sos = &site.status()["instances"][1];
    assert_eq!((&sos["collecting"], &sos["id"]), (&json!(false), &Json::Null));
    assert!(!site.raw_spool().contains(id), "the receipt is the last that names it");
    expect(site.salver().args(["resume", "sos"]), 0);
    expect(site.salver().args(["record", "sos"]), 0);
}

#[test]
fn pause_stops_collecting_and_resume_starts_it_but_neither_overrides_consent() {
    let site = site();
    let records = recorded(&site);
    expect(site.salver().args(["pause", "sos"]), 0);
    site.write("config/sos.yaml", &flip(SOS, "prometheus"));
    let output = expect(site.salver().args(["record", "sos", "--force"]), 3);
    assert!(err(&output).contains("paused by hand"), "{}", err(&output));
    assert_eq!(site.dump(), records, "what waits stays");
    let sos = &site.status()["instances"][1];
    assert_eq!(sos["collecting"], false);
    assert!(sos["why"].as_str().unwrap().contains("paused by hand"), "{sos}");
    expect(site.salver().args(["record", "butler", "--force"]), 0);

    expect(site.salver().args(["resume", "sos"]), 0);
    expect(site.salver().args(["record", "sos"]), 0);
    assert_eq!(of(&site.dump(), "reason").last().unwrap(), "changed");

    expect(site.salver().args(["pause", "--all"]), 0);
    expect(site.salver().args(["record", "--force"]), 3);
    expect(site.salver().args(["resume", "--all"]), 0);
    site.write("config/butler.yaml", &BUTLER.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().args(["record", "butler", "--force"]), 3);

    let output = expect(site.salver().args(["pause", "nobody"]), 2);
    assert!(err(&output).contains("known are butler, sos"), "{}", err(&output));
    expect(site.salver().args(["pause", "sos", "--all"]), 2);
}

#[test]
fn id_prints_the_id_that_records_carry_and_keeps_every_one_ever_used() {
    let site = site();
    let text = out(&expect(site.salver().arg("id"), 0));
    let ids: Vec<&str> = text
        .lines()
        .zip(["butler", "sos"])
        .map(|(line, name)| {
            line.strip_prefix("Instance ID : ").unwrap().strip_suffix(&format!("  ({name})")).unwrap()
        })
        .collect();
    assert!(
        ids.iter().all(|id| id.len() == 64 && id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')))
    );
    let records = recorded(&site);
    assert_eq!(records[0]["data"]["system"]["id"], ids[0]);
    assert_eq!(records[1]["data"]["system"]["id"], ids[1]);

    let adopted = "0123456789abcdef".repeat(4);
    let output = expect(site.salver().args(["id", "sos", "--adopt", &adopted.to_uppercase()]), 0);
    assert!(out(&output).contains(&format!("Instance ID : {adopted}  (sos)")), "{}", out(&output));
    expect(site.salver().args(["record", "sos"]), 0);
    let last = site.dump().pop().unwrap();
    assert_eq!(
        (&last["data"]["system"]["id"], &last["spool"]["reason"]),
        (&json!(adopted), &json!("changed"))
    );
    let history = out(&expect(site.salver().args(["id", "--history"]), 0));
    for id in [ids[0], ids[1], &adopted] {
        assert!(history.contains(id), "{history}");
    }
    for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(63)] {
        expect(site.salver().args(["id", "sos", "--adopt", wrong]), 2);
    }
    expect(site.salver().args(["id", "--adopt", &adopted]), 2);
}

// run -----------------------------------------------------------------------------------------------------------------

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
fn run_in_a_try_out_prints_the_records_and_what_to_do_next() {
    let site = site();
    let spool = site.path("try-out");
    let mut service = Service::start(salver_in(&spool).args(["run", "--watch"]).arg(site.sos()));
    service.wait_for("the record", |service| service.stdout().len() == 2);
    let ended = service.stop();
    assert_eq!(ended.records().len(), 1);
    assert_eq!(keys(&ended.records()[0]), ["ts", "data"]);
    let said = ended.stderr.join("\n");
    assert!(
        said.contains(spool.to_str().unwrap()) && said.contains("dump") && said.contains("flush"),
        "{said}"
    );
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
        until("a record", || spool.join("SALVER-SPOOL").exists() && support::dump(&spool).len() == count)
    };
    recorded(1);
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    recorded(2);
    child.kill().unwrap();
    child.wait().unwrap();
}

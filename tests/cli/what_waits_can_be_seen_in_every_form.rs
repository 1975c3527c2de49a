//! Promise: an admin can see what waits, who collects and why, and what is wrong, in forms for eyes
//! and for scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::posthog::PostHog;
use crate::support::two_instances::{dumped, flushed, keys, of, recorded, site, site_of};
use crate::support::{err, expect, json, out, salver_in};
use serde_json::{Value as Json, json};

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

#[test]
fn status_says_everything_in_one_json_object() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let records = recorded(&site);
    let status = site.status();
    // Scripts rely on the first five; whatever comes later stands behind them.
    assert_eq!(keys(&status), ["version", "spool", "instances", "flush", "problems", "limits", "left"]);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let spool = &status["spool"];
    assert_eq!(keys(spool), ["path", "records", "dead", "bytes", "oldest", "newest", "ahead"]);
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
    assert_eq!(
        keys(flush),
        ["mode", "host", "lastAttempt", "lastSuccess", "lastOutcome", "nextAttempt", "why", "onTheWire"]
    );
    let never = json!({
        "mode": "manual", "host": posthog.url(), "lastAttempt": null, "lastSuccess": null, "lastOutcome": null, "nextAttempt": null, "why": null, "onTheWire": 0,
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
    assert!(problem["text"].as_str().unwrap().contains("5 of 5 records cannot be shown"), "{problem}");
    expect(site.salver().args(["status", "--acknowledge"]), 0);
    expect(site.salver().args(["status", "--check"]), 0);
}

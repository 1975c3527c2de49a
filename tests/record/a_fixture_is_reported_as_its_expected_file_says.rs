//! Promise: from the config file alone salver writes the record that the tool itself would have sent.
//!
//! Compared here with the fixtures of this repository: config files of our own, with the values that a tool of that
//! version reports for them. Files beside this one compare with real config files, and with all 27 generations of the tools.

use std::fs;
use std::path::PathBuf;

use crate::support::fixture;
use crate::support::reported::{compare, preview, reported};
use serde_json::json;

#[test]
fn every_fixture_is_reported_as_its_expected_file_says() {
    let files: Vec<PathBuf> =
        ["butler", "butler-sos"].iter().flat_map(|service| files_named("production.yaml", service)).collect();
    assert!(files.len() >= 8, "{files:?}");
    let mut differences = Vec::new();
    for file in files {
        let event = preview(&file, &["--as", "event"]);
        let text = fs::read_to_string(file.with_file_name("production.expected.json")).unwrap();
        let is = reported(&event["properties"]);
        compare(&file.display().to_string(), &is, &serde_json::from_str(&text).unwrap(), &mut differences);
        for secret in ["not-a-real", "example.com", "Lindqvist", "lindqvist"] {
            assert!(!event.to_string().contains(secret), "{secret} of {} leaves", file.display());
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_version_is_reported_as_a_whole_number_or_a_semantic_version_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("production.yaml");
    for (written, reported) in [
        ("3", json!(3)),
        ("2.7.1", json!("2.7.1")),
        ("'1.8.10'", json!("1.8.10")),
        ("2.5", json!("unknown")),
        ("hunter2", json!("unknown")),
        ("true", json!("unknown")),
        ("[3]", json!("unknown")),
        ("", json!("unknown")),
    ] {
        let text = format!("Butler-SOS:\n  anonTelemetry: true\n  influxdbConfig:\n    version: {written}\n");
        fs::write(&file, text).unwrap();
        let event = preview(&file, &["--service-version", "15.0.0", "--as", "event"]);
        assert_eq!(event["properties"]["feature_influxdb_version"], reported, "{written}");
    }
}

/// The files of this name below a folder of the fixtures.
fn files_named(name: &str, service: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(fixture(service)).unwrap();
    folders.map(|folder| folder.unwrap().path().join(name)).filter(|file| file.is_file()).collect()
}

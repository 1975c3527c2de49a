//! Promise: from the config file alone salver writes the record that the tool itself would have sent.
//!
//! Compared here with the corpus (where it is present): real templates, edited variants of them, and the bodies that real
//! releases gave for each, down to the order of the keys. Where salver differs on purpose is written out in
//! `support/deviations.rs`: a value that is not of its rule's type counts as if its key were missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::deviations::Mending;
use crate::support::reported::{compare, flat, flattened, preview, reported};
use crate::support::{corpus, err, expect, out, salver_in};
use semver::Version;
use serde_json::{Value as Json, json};

#[test]
fn every_real_config_file_is_reported_as_the_real_tool_reported_it() {
    let Some(corpus) = corpus() else { return };
    let mut cases = cases(&corpus);
    cases.retain(|case| case.kind != "consent");
    let expected = cases.iter().filter(|case| case.expected.is_some()).count();
    assert!(expected > 60, "only {expected} cases of the corpus have an expected body");
    // Two hundred processes: side by side they take half the time.
    let differences: Vec<String> = std::thread::scope(|scope| {
        let quarters = cases.chunks(cases.len().div_ceil(4));
        let running: Vec<_> = quarters
            .map(|quarter| scope.spawn(|| quarter.iter().flat_map(Case::differences).collect()))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|_| vec!["panicked".into()]))
            .collect()
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_real_config_file_that_withholds_consent_gives_nothing_and_exit_code_3() {
    let Some(corpus) = corpus() else { return };
    let cases = cases(&corpus);
    let consent: Vec<&Case> = cases.iter().filter(|case| case.kind == "consent").collect();
    assert!(consent.len() > 15, "only {} cases", consent.len());
    let folder = tempfile::tempdir().unwrap();
    let (settings, spool) = (folder.path().join("salver.yaml"), folder.path().join("spool"));
    let instances: Vec<Json> = consent
        .iter()
        .map(|case| json!({ "configFile": case.file, "serviceVersion": case.version }))
        .collect();
    let text = json!({ "watch": { "settle": "10ms" }, "instances": instances }).to_string();
    fs::write(&settings, text).unwrap();
    for case in &consent {
        let mut preview = salver_in(&spool);
        preview.arg("preview").arg(&case.file).args(["--service-version", &case.version, "--as", "event"]);
        let output = expect(&mut preview, 3);
        assert_eq!(out(&output), "", "{}", case.name());
        assert!(err(&output).contains("anonTelemetry"), "{}: {}", case.name(), err(&output));
    }
    let output = expect(salver_in(&spool).arg("--config").arg(&settings).arg("record"), 3);
    assert_eq!(out(&output), "");
    assert_eq!(err(&output).matches("not collected").count(), consent.len(), "{}", err(&output));
    assert!(!spool.exists(), "a spool was made although nothing is collected");
}

/// One config file of the corpus.
struct Case {
    service: String,
    version: String,
    variant: String,
    kind: String,
    file: PathBuf,
    /// The body that the tool gave; `None` where it sent nothing.
    expected: Option<Json>,
}

impl Case {
    fn name(&self) -> String {
        format!("{} {} {}", self.service, self.version, self.variant)
    }

    /// Earlier releases posted the nested form to a collector of their own.
    fn sends_to_posthog(&self) -> bool {
        let first = if self.service == "butler" { Version::new(9, 1, 0) } else { Version::new(9, 5, 0) };
        Version::parse(&self.version).unwrap() >= first
    }

    fn preview(&self, shape: &str) -> Json {
        let given = ["--service-version", &self.version, "--node-version", "v20.20.2", "--as", shape];
        preview(&self.file, &given)
    }

    /// What salver should report: what the tool did, without what is no switch.
    fn should(&self, tool: &Json) -> Json {
        if self.kind != "odd" {
            return tool.clone();
        }
        let text = fs::read_to_string(&self.file).unwrap();
        let options = serde_saphyr::options! { strict_booleans: true };
        let config: Json = serde_saphyr::from_str_with_options(&text, options).unwrap();
        let (service, version, posthog) = (&self.service, &self.version, self.sends_to_posthog());
        Mending { service, version, posthog, config: &config }.without_odd_values(tool)
    }

    /// Where salver's preview and the tool's body differ.
    fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let event = &self.preview("event")["properties"];
        // Where the tool threw it sent nothing; salver reports.
        let Some(tool) = &self.expected else { return differences };
        let tool = self.should(tool);
        let (flat, nested) = if self.sends_to_posthog() {
            (flat(&tool["properties"]), &tool["properties"]["telemetry_json"])
        } else {
            let record = &self.preview("record")["data"];
            compare(
                &format!("{} as record", self.name()),
                &record["enabledFeatures"],
                &tool["enabledFeatures"],
                &mut differences,
            );
            (flattened(&tool["enabledFeatures"]), &tool)
        };
        let mut should = json!({ "service": self.service, "serviceVersion": self.version });
        let properties = should.as_object_mut().unwrap();
        properties.extend(flat);
        properties.insert("telemetry_json".into(), json!({ "enabledFeatures": nested["enabledFeatures"] }));
        compare(&self.name(), &reported(event), &should, &mut differences);
        if !event["telemetry_json"]["system"]
            .as_object()
            .unwrap()
            .keys()
            .eq(nested["system"].as_object().unwrap().keys())
        {
            differences.push(format!("{}: other keys in system", self.name()));
        }
        differences
    }
}

fn cases(corpus: &Path) -> Vec<Case> {
    // Settings are resolved against their own folder, which on Windows may be on another drive.
    let corpus = std::path::absolute(corpus).unwrap();
    let index = fs::read_to_string(corpus.join("index.json")).unwrap();
    let index: Vec<BTreeMap<String, Option<String>>> = serde_json::from_str(&index).unwrap();
    let case = |entry: &BTreeMap<String, Option<String>>| {
        let text = |key: &str| entry[key].clone().unwrap();
        let folder = corpus.join(text("service")).join(text("version"));
        let expected = folder.join(format!("{}.expected.json", text("variant")));
        let expected: Json = serde_json::from_slice(&fs::read(expected).unwrap()).unwrap();
        Case {
            file: folder.join(format!("{}.yaml", text("variant"))),
            service: text("service"),
            version: text("version"),
            variant: text("variant"),
            kind: text("kind"),
            expected: Some(expected).filter(|body| !body.is_null()),
        }
    };
    index.iter().map(case).collect()
}

//! Promise: from the config file alone salver writes the record that the tool itself would have sent, for any config file
//! and any release.
//!
//! Thousands of generated documents, for the releases of all 27 generations, between them and beyond them. What each must
//! report is foretold by a second evaluation of the derivation map (`support/derivation_map.rs`), which knows nothing of salver's
//! catalogue. Whole messages are compared: keys, values, and the order of the keys. A failure prints the seed that makes
//! the same document again.

use std::fs;
use std::path::Path;

use crate::support::derivation_map::{Foretold, Generations};
use crate::support::dice::Dice;
use crate::support::drafts::a_host;
use crate::support::endpoints::{sorted, sorted_flat};
use crate::support::generated::{Generator, too_old, versions};
use crate::support::reported::{compare, preview};
use crate::support::{dump, expect, salver_in};
use salver::forward::wire;
use salver::record::catalogue::Catalogue;
use salver::record::observe::{State, observe};
use salver::record::subject::Subject;
use salver::record::{Draft, Reason, Record, host, message};
use semver::Version;
use serde_json::{Map, Value as Json, json};

/// Documents for each generation.
const DOCUMENTS: u64 = 80;

const NODE: &str = "v20.20.2";

#[test]
fn any_config_of_any_release_is_reported_as_the_map_foretells() {
    let Some(generations) = Generations::read() else { return };
    let try_every_second = |first| {
        let tallies = (first..generations.0.len()).step_by(2).map(|at| try_generation(&generations, at));
        tallies.reduce(Tally::and).unwrap()
    };
    let tally = std::thread::scope(|scope| {
        let odd = scope.spawn(|| try_every_second(1));
        try_every_second(0).and(odd.join().unwrap())
    });
    let Tally { wrong, reporting, withheld } = tally;
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(reporting > 1_700 && withheld > 100, "{reporting} reported, {withheld} withheld");
}

/// What came of some documents.
#[derive(Default)]
struct Tally {
    wrong: Vec<String>,
    reporting: usize,
    withheld: usize,
}

impl Tally {
    fn and(mut self, other: Tally) -> Tally {
        self.wrong.extend(other.wrong);
        self.reporting += other.reporting;
        self.withheld += other.withheld;
        self
    }
}

fn try_generation(generations: &Generations, at: usize) -> Tally {
    let catalogue = Catalogue::load(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let generation = &generations.0[at];
    let generator = Generator::new(generations, &generation.service);
    let versions = versions(generations, at);
    let mut tally = Tally::default();
    for run in 0..DOCUMENTS {
        let seed = at as u64 * DOCUMENTS + run;
        let mut dice = Dice::new(seed);
        let version = dice.pick(&versions).clone();
        let config = generator.any(&mut dice);
        let foretold = generations.foretell(&generation.service, &version, &config);
        let file = write(folder.path(), "production.yaml", &config);
        let case = format!("seed {seed}, generation {}, {} {version}:", generation.first, generation.service);
        match (look(&catalogue, &file, &version), foretold) {
            (Some(is), Some(foretold)) => {
                let should = whole(&generation.service, &version, &foretold, &a_host());
                compare_messages(&case, &is, &should, &mut tally.wrong);
                tally.reporting += 1;
            }
            (None, None) => tally.withheld += 1,
            (Some(_), None) => tally.wrong.push(format!("{case} is collected")),
            (None, Some(_)) => tally.wrong.push(format!("{case} is not collected")),
        }
    }
    tally
}

#[test]
fn a_release_older_than_the_first_with_telemetry_reports_nothing_whatever_the_config() {
    let Some(generations) = Generations::read() else { return };
    let catalogue = Catalogue::load(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for service in ["butler", "butler-sos"] {
        let generator = Generator::new(&generations, service);
        for (seed, version) in too_old(&generations, service).into_iter().enumerate() {
            let config = generator.consenting(&mut Dice::new(seed as u64));
            let file = write(folder.path(), "production.yaml", &config);
            assert!(generations.of(service, &version).is_none(), "{service} {version}");
            assert!(look(&catalogue, &file, &version).is_none(), "{service} {version}");
        }
    }
}

#[test]
fn what_the_program_previews_and_records_is_what_the_map_foretells() {
    let Some(generations) = Generations::read() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut wrong, mut instances, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for (at, generation) in generations.0.iter().enumerate() {
        let mut dice = Dice::new(at as u64);
        let version = dice.pick(&versions(&generations, at)).clone();
        let config = Generator::new(&generations, &generation.service).consenting(&mut dice);
        let file = write(folder.path(), &format!("{at}.yaml"), &config);
        let foretold = generations.foretell(&generation.service, &version, &config).unwrap();
        let should = whole(&generation.service, &version, &foretold, &host::facts());
        let given = ["--service-version", &version.to_string(), "--node-version", NODE, "--as", "event"];
        let event = preview(Path::new(&file), &given);
        let case = format!(
            "sample of seed {at}, generation {}, {} {version}:",
            generation.first, generation.service
        );
        compare_events(&case, &without_id(event), &should, &mut wrong);
        instances.push(json!({
            "name": format!("i{at}"), "configFile": file, "serviceVersion": version.to_string(), "nodeVersion": NODE,
        }));
        messages.push((case, should["data"].clone()));
    }
    let (settings, spool) = (folder.path().join("salver.yaml"), folder.path().join("spool"));
    fs::write(&settings, json!({ "watch": { "settle": "10ms" }, "instances": instances }).to_string())
        .unwrap();
    expect(salver_in(&spool).arg("--config").arg(&settings).arg("record"), 0);
    let records = dump(&spool);
    assert_eq!(records.len(), messages.len());
    for (record, (case, should)) in records.iter().zip(&messages) {
        let mut data = record["data"].clone();
        data["system"]["id"] = json!("");
        compare_data(case, &data, should, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes the document; JSON is YAML.
fn write(folder: &Path, name: &str, config: &Json) -> String {
    let file = folder.join(name);
    fs::write(&file, config.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// What salver would record for a file, as message and as event; `None` if it collects nothing.
fn look(catalogue: &Catalogue, file: &str, version: &Version) -> Option<Json> {
    let subject = Subject {
        files: vec![file.into()],
        service: None,
        service_version: Some(version.clone()),
        node_version: Some(NODE.into()),
    };
    let State::Reportable(report) = observe(catalogue, &subject).unwrap().state else { return None };
    let draft = Draft {
        layout: report.derived.layout,
        values: report.derived.values,
        id: String::new(),
        service_version: version.to_string(),
        system: a_host(),
        node_version: report.node_version,
    };
    let record = Record {
        uuid: String::new(),
        timestamp_ms: 0,
        instance: String::new(),
        reason: Reason::Started,
        agent_version: String::new(),
        draft,
    };
    Some(json!({ "data": message::data(&record.draft), "event": wire::event(&record, false) }))
}

/// The whole message and the whole event that follow from what is foretold.
fn whole(service: &str, version: &Version, foretold: &Foretold, host: &host::System) -> Json {
    let mut system = Map::new();
    system.insert("id".into(), json!(""));
    for (key, value) in serde_json::to_value(host).unwrap().as_object().unwrap() {
        if foretold.docker_flag || key != "isRunningInDocker" {
            system.insert(key.clone(), value.clone());
        }
    }
    system.insert("nodeVersion".into(), json!(NODE));
    let features = &foretold.nested;
    let data = json!({
        "service": service, "serviceVersion": version.to_string(), "system": system, "enabledFeatures": features,
    });
    let mut properties = Map::new();
    properties.insert("service".into(), json!(service));
    properties.insert("serviceVersion".into(), json!(version.to_string()));
    properties.extend(system.iter().map(|(key, value)| (format!("system_{key}"), value.clone())));
    properties.extend(foretold.flat.clone());
    properties.insert("telemetry_json".into(), json!({ "system": system, "enabledFeatures": features }));
    json!({ "data": data, "event": { "event": "telemetry sent", "properties": properties } })
}

fn compare_messages(case: &str, is: &Json, should: &Json, wrong: &mut Vec<String>) {
    compare_data(case, &is["data"], &should["data"], wrong);
    compare_events(case, &is["event"], should, wrong);
}

fn compare_data(case: &str, is: &Json, should: &Json, wrong: &mut Vec<String>) {
    let in_order = |data: &Json| {
        let mut data = data.clone();
        data["enabledFeatures"] = sorted(&data["enabledFeatures"]);
        data
    };
    compare_texts(&format!("{case} data"), &in_order(is), &in_order(should), wrong);
}

/// Compares an event with what is foretold. salver's own properties stand behind those of the tool; nothing else does.
fn compare_events(case: &str, is: &Json, should: &Json, wrong: &mut Vec<String>) {
    assert_eq!(is["event"], should["event"]["event"]);
    let (mut is, mut should) = (is["properties"].clone(), should["event"]["properties"].clone());
    let own = is.as_object_mut().unwrap();
    for name in OWN {
        assert!(own.shift_remove(name).is_some(), "{case} {name} is missing");
    }
    for properties in [&mut is, &mut should] {
        let features = &mut properties["telemetry_json"]["enabledFeatures"];
        *features = sorted(features);
        *properties = sorted_flat(properties.as_object().unwrap()).into();
    }
    compare_texts(&format!("{case} event"), &is, &should, wrong);
}

/// Equal texts are equal in all: keys, values and order. Only where they differ is it worth saying where.
fn compare_texts(case: &str, is: &Json, should: &Json, wrong: &mut Vec<String>) {
    let (text, expected) = (is.to_string(), should.to_string());
    if text != expected {
        let before = wrong.len();
        compare(case, is, should, wrong);
        assert!(wrong.len() > before, "{case} {text} should be {expected}");
    }
}

/// What salver adds to the event of the tool.
const OWN: [&str; 7] = [
    "$lib",
    "$lib_version",
    "$geoip_disable",
    "$ip",
    "salver_reason",
    "salver_recordedAt",
    "salver_agentVersion",
];

/// The event with an empty id, which depends on the machine.
fn without_id(mut event: Json) -> Json {
    for pointer in ["/properties/system_id", "/properties/telemetry_json/system/id"] {
        let id = event.pointer_mut(pointer).unwrap();
        assert_eq!(id.as_str().unwrap().len(), 64);
        *id = json!("");
    }
    event
}

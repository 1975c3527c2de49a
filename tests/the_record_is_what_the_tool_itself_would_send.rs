//! Promise: from the config file alone salver writes the record that the tool itself would have sent.
//!
//! Three sources say what that is. The fixtures of this repository: config files of our own with the values that a tool
//! of that version reports. The corpus (where it is present): real templates, edited variants of them, and the bodies that
//! real releases gave for each. And the derivation map (where it is present): for each of the 27 generations of the two
//! tools, what is reported when every key is missing, when every switch is off, and what each single switch changes.
//!
//! Where salver differs on purpose, the difference is written out here and nowhere else: a value that is not of its rule's
//! type counts as if its key were missing.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use salver::record::catalogue::{Catalogue, Service};
use salver::record::{Draft, derive, document, message};
use semver::Version;
use serde_json::{Map, Value as Json, json};
use support::drafts::a_host;
use support::{corpus, err, expect, fixture, json, out, salver_in};

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

#[test]
fn every_generation_reports_its_defaults_when_every_key_is_missing() {
    each_generation(|generation, version, differences| {
        let config = generation.config();
        let should = generation.when_all_missing();
        generation.check(version, &config, should, "all missing", differences);
    });
}

#[test]
fn every_generation_reports_every_switch_that_is_off() {
    each_generation(|generation, version, differences| {
        let should = generation.when_all_false();
        generation.check(version, &generation.all_false(), should, "all false", differences);
    });
}

#[test]
fn every_generation_reports_every_single_switch_that_is_turned_on() {
    let mut switches = 0;
    each_generation(|generation, version, differences| {
        for (path, changes) in generation.map["changesByPath"].as_object().unwrap() {
            if generation.is_rest_block(path) {
                continue;
            }
            let mut config = generation.all_false();
            put(&mut config, path, turned_on(path));
            if path.ends_with(".webhooks") {
                // The map's lists were probed with the switch above them on.
                put(&mut config, "Butler.webhookNotification.enable", json!(true));
            }
            let mut should = generation.when_all_false();
            if !path.ends_with("influxdbConfig.version") {
                changes.as_array().unwrap().iter().for_each(|change| should.apply(change.as_str().unwrap()));
            }
            generation.check(version, &config, should, path, differences);
            switches += 1;
        }
    });
    assert!(switches == 0 || switches > 800, "only {switches} switches were tried");
}

#[test]
fn a_switch_in_the_place_of_the_block_of_rest_endpoints_says_nothing_of_them() {
    each_generation(|generation, version, differences| {
        let Some(block) = generation.paths().into_iter().find(|path| generation.is_rest_block(path)) else {
            return;
        };
        let mut config = generation.all_false();
        put(&mut config, &block, json!(true));
        let mut should = generation.when_all_false();
        let missing = generation.when_all_missing();
        should.nested.retain(|key, _| missing.nested.contains_key(key));
        for (name, value) in should.flat.iter_mut().filter(|(name, _)| name.starts_with("feature_api")) {
            *value = missing.flat[name].clone();
        }
        generation.check(version, &config, should, &block, differences);
    });
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

// Real processes ------------------------------------------------------------------------------------------------------

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

    /// Where salver's preview and the tool's body differ.
    fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let event = &self.preview("event")["properties"];
        // Where the tool threw it sent nothing; salver reports.
        let Some(tool) = &self.expected else { return differences };
        let tool = if self.kind == "odd" { without_odd_values(self, tool) } else { tool.clone() };
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
        let mut should = flat;
        should.insert("service".into(), json!(self.service));
        should.insert("serviceVersion".into(), json!(self.version));
        let features = &nested["enabledFeatures"];
        should.insert("telemetry_json".into(), json!({ "enabledFeatures": features }));
        compare(&self.name(), &reported(event), &Json::Object(should), &mut differences);
        if keys(&event["telemetry_json"]["system"]) != keys(&nested["system"]) {
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

fn preview(file: &Path, more: &[&str]) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let output = expect(salver_in(&spool).arg("preview").arg(file).args(more), 0);
    assert!(!spool.exists(), "preview writes nothing");
    json(&output)
}

/// The files of this name below a folder of the fixtures.
fn files_named(name: &str, service: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(fixture(service)).unwrap();
    folders.map(|folder| folder.unwrap().path().join(name)).filter(|file| file.is_file()).collect()
}

/// The properties that come from the config file.
fn reported(properties: &Json) -> Json {
    let mut reported = flat(properties);
    for key in ["service", "serviceVersion"] {
        reported.insert(key.into(), properties[key].clone());
    }
    let features = &properties["telemetry_json"]["enabledFeatures"];
    reported.insert("telemetry_json".into(), json!({ "enabledFeatures": features }));
    Json::Object(reported)
}

fn flat(properties: &Json) -> Map<String, Json> {
    let wanted = |name: &str| name.starts_with("feature_") || name.starts_with("api_");
    let all = properties.as_object().unwrap().clone();
    all.into_iter().filter(|(name, _)| wanted(name)).collect()
}

/// salver's own rule for releases that had no flat form.
fn flattened(features: &Json) -> Map<String, Json> {
    let leaves = leaves(features).into_iter().filter(|(_, value)| !value.is_null());
    leaves.map(|(path, value)| (path.replace('.', "_"), value)).collect()
}

/// Dotted path and value of everything that is not an object.
fn leaves(json: &Json) -> BTreeMap<String, Json> {
    fn walk(path: &str, json: &Json, found: &mut BTreeMap<String, Json>) {
        match json {
            Json::Object(map) => {
                let below =
                    |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                map.iter().for_each(|(key, value)| walk(&below(key), value, found));
            }
            value => _ = found.insert(path.to_owned(), value.clone()),
        }
    }
    let mut found = BTreeMap::new();
    walk("", json, &mut found);
    found
}

fn keys(json: &Json) -> Vec<String> {
    let mut keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

/// Says where two values differ, key by key. The order of keys does not count.
fn compare(case: &str, is: &Json, should: &Json, differences: &mut Vec<String>) {
    match (is, should) {
        (Json::Object(a), Json::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                compare(&format!("{case} {key}"), &is[key], &should[key], differences);
                if a.contains_key(key) != b.contains_key(key) {
                    differences.push(format!("{case} {key}: only one of them has it"));
                }
            }
        }
        _ if is == should => {}
        _ => differences.push(format!("{case}: is {is}, should be {should}")),
    }
}

// Where salver lets less through than the tool ------------------------------------------------------------------------

/// The tool's body with the value of a missing key in every place where the tool passed on what is no switch.
fn without_odd_values(case: &Case, tool: &Json) -> Json {
    let config: Json = {
        let text = fs::read_to_string(&case.file).unwrap();
        let options = serde_saphyr::options! { strict_booleans: true };
        serde_saphyr::from_str_with_options(&text, options).unwrap()
    };
    let mut body = tool.clone();
    if case.sends_to_posthog() {
        let properties = body["properties"].as_object_mut().unwrap();
        for (name, value) in properties.iter_mut().filter(|(name, _)| name.starts_with("feature_")) {
            mend(case, &config, name, value);
        }
        mend_all(case, &config, &mut body["properties"]["telemetry_json"]["enabledFeatures"]["feature"]);
    } else {
        mend_all(case, &config, &mut body["enabledFeatures"]["feature"]);
        if body["enabledFeatures"].get("api").is_some() {
            keep_switches(&mut body["enabledFeatures"]["api"]);
        }
    }
    body
}

fn mend_all(case: &Case, config: &Json, features: &mut Json) {
    for (name, value) in features.as_object_mut().unwrap() {
        match name.as_str() {
            "apiEnbledEndpoints" | "apiEnabledEndpoints" => keep_switches(value),
            "scriptLogStoreOnDisk" | "qseow" | "qsCloud" | "qlikSenseCloud" => mend_all(case, config, value),
            name => mend(case, config, name, value),
        }
    }
}

fn mend(case: &Case, config: &Json, name: &str, value: &mut Json) {
    let missing = if name.ends_with("RuleCount") {
        json!(0)
    } else if name.ends_with("influxdb_version") || name.ends_with("influxdbVersion") {
        json!("unknown")
    } else if case.service == "butler" && case.sends_to_posthog() && !name.contains("webhook") {
        json!("null")
    } else {
        json!(false)
    };
    let counts = value.is_number() && !missing.is_boolean() && missing != "null";
    // These two the tool turns into a boolean whatever they are.
    if let Some(event) = name.rsplit("newRelicNotification").next().filter(|rest| *rest != name)
        && case.sends_to_posthog()
    {
        let event = if event.ends_with("Failure") { "reloadTaskFailure" } else { "reloadTaskAborted" };
        let path = |kind| format!("/Butler/incidentTool/newRelic/{event}/destination/{kind}/enable");
        *value = either(config, &[path("event"), path("log")]).unwrap_or(missing);
    } else if case.version.starts_with("5.6.") && name.ends_with("mqtt") {
        let path = |key| format!("/Butler-SOS/mqttConfig/{key}");
        *value = either(config, &[path("enable"), path("enableMQTT")]).unwrap_or(missing);
    } else if !value.is_boolean() && !counts {
        *value = missing;
    }
}

/// True if one of the switches is on, false if one is off, nothing if neither is a switch.
fn either(config: &Json, paths: &[String]) -> Option<Json> {
    let switches: Vec<bool> = paths.iter().filter_map(|path| config.pointer(path)?.as_bool()).collect();
    (!switches.is_empty()).then(|| json!(switches.contains(&true)))
}

/// What is left of a block of REST endpoints: its switches, and the two blocks in it.
fn keep_switches(block: &mut Json) {
    let Json::Object(map) = block else {
        *block = json!({});
        return;
    };
    map.retain(|name, value| match name.as_str() {
        "newRelic" | "scheduler" => value.is_object() || value.is_null(),
        _ => value.is_boolean(),
    });
    for name in ["newRelic", "scheduler"] {
        if let Some(Json::Object(inner)) = map.get_mut(name) {
            inner.retain(|_, value| value.is_boolean());
        }
    }
}

// Every generation, in this process -----------------------------------------------------------------------------------

/// One generation of the derivation map.
struct Generation<'a> {
    map: &'a Json,
    service: &'a Service,
    /// The generation whose missing values stand in where the tool throws: Butler SOS 13.0.0.
    stand_in: &'a Json,
}

/// What is reported: the flat properties by name, and the nested features by dotted path.
struct Reported {
    flat: BTreeMap<String, Json>,
    nested: BTreeMap<String, Json>,
}

impl Reported {
    /// Changes one key as the map writes it: `properties.feature_x false->true`.
    fn apply(&mut self, change: &str) {
        let (key, values) = change.split_once(' ').unwrap();
        let (from, to) = values.split_once("->").unwrap();
        let (from, to): (Json, Json) =
            (serde_json::from_str(from).unwrap(), serde_json::from_str(to).unwrap());
        let set = |value: &mut Json| {
            assert_eq!(*value, from, "{change}");
            *value = to.clone();
        };
        if let Some(path) = key.strip_prefix(NESTED).or_else(|| key.strip_prefix("enabledFeatures.")) {
            self.nested.get_mut(path).map(set).unwrap();
        }
        let name = match key.strip_prefix("enabledFeatures.") {
            Some(path) => path.replace('.', "_"),
            None => key.trim_start_matches("properties.").to_owned(),
        };
        self.flat.get_mut(&name).map(set);
    }
}

const NESTED: &str = "properties.telemetry_json.enabledFeatures.";

impl Generation<'_> {
    fn first(&self) -> &str {
        self.map["firstVersion"].as_str().unwrap()
    }

    fn paths(&self) -> Vec<String> {
        self.map["changesByPath"].as_object().unwrap().keys().cloned().collect()
    }

    /// The path of the block of REST endpoints itself, which the older releases hand on whole.
    fn is_rest_block(&self, path: &str) -> bool {
        path.ends_with(".restServerEndpointsEnable")
    }

    /// A config file in which every key is missing.
    fn config(&self) -> Json {
        json!({ self.service.top_level_key.as_str(): { "anonTelemetry": true } })
    }

    /// A config file in which every switch is off.
    fn all_false(&self) -> Json {
        let mut config = self.config();
        for path in self.paths().iter().filter(|path| !self.is_rest_block(path)) {
            put(&mut config, path, json!(false));
        }
        config
    }

    fn when_all_false(&self) -> Reported {
        let mut all = self.read(&self.map["whenAllFalse"]);
        // A version that is a boolean is none.
        all.flat.entry("feature_influxdb_version".into()).and_modify(|value| *value = json!("unknown"));
        all.nested.entry("feature.influxdbVersion".into()).and_modify(|value| *value = json!("unknown"));
        all
    }

    fn when_all_missing(&self) -> Reported {
        if self.map["whenAllMissing"].is_object() {
            return self.read(&self.map["whenAllMissing"]);
        }
        let known = self.read(&self.stand_in["whenAllMissing"]);
        let mut all = self.read(&self.map["whenAllFalse"]);
        // What was gone by 13.0.0 (the log database) is a switch like the others there.
        for (name, value) in &mut all.flat {
            *value = known.flat.get(name).cloned().unwrap_or(json!(false));
        }
        for (path, value) in &mut all.nested {
            *value = known.nested.get(path).cloned().unwrap_or(json!(false));
        }
        all
    }

    fn read(&self, body: &Json) -> Reported {
        let mut reported = Reported { flat: BTreeMap::new(), nested: BTreeMap::new() };
        for (key, value) in body.as_object().unwrap() {
            if let Some(path) = key.strip_prefix("enabledFeatures.") {
                reported.flat.insert(path.replace('.', "_"), value.clone());
                reported.nested.insert(path.to_owned(), value.clone());
            } else if let Some(path) = key.strip_prefix(NESTED) {
                reported.nested.insert(path.to_owned(), value.clone());
            } else if key.starts_with("properties.feature_") {
                reported.flat.insert(key["properties.".len()..].to_owned(), value.clone());
            }
        }
        reported
    }

    fn check(&self, version: &Version, config: &Json, should: Reported, what: &str, wrong: &mut Vec<String>) {
        // JSON is YAML.
        let document = document::parse(&config.to_string()).unwrap();
        let block = document.at(&self.service.top_level_key).unwrap();
        let derived = derive::derive(self.service, version, block);
        let draft = Draft {
            layout: derived.layout,
            values: derived.values,
            id: String::new(),
            service_version: version.to_string(),
            system: a_host(),
            node_version: "unknown".into(),
        };
        let flat: BTreeMap<String, Json> =
            message::properties(&draft).map(|(name, value)| (name.to_owned(), value)).collect();
        let nested = leaves(&without_empty(message::enabled_features(&draft)));
        if flat != should.flat {
            wrong.push(format!(
                "{} {version} {what}: {flat:?} should be {:?}",
                self.service.name, should.flat
            ));
        }
        if nested != should.nested {
            let should = should.nested;
            wrong.push(format!("{} {version} {what}: {nested:?} should be {should:?}", self.service.name));
        }
    }
}

/// Calls `check` for the first and the last release of each generation.
fn each_generation(mut check: impl FnMut(&Generation, &Version, &mut Vec<String>)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/facts/derivation-map.json");
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not there, so the generations are not tested", path.display());
        return;
    };
    let maps: Vec<Json> = serde_json::from_str(&text).unwrap();
    assert_eq!(maps.len(), 27);
    let catalogue = Catalogue::load(&[]).unwrap();
    let stand_in =
        maps.iter().find(|map| map["service"] == "butler-sos" && map["firstVersion"] == "13.0.0").unwrap();
    let mut differences = Vec::new();
    for map in &maps {
        let service = catalogue.service(map["service"].as_str().unwrap()).unwrap();
        let generation = Generation { map, service, stand_in };
        let last = match map["lastVersion"].as_str().unwrap() {
            "newest" => service.newest.clone(),
            version => Version::parse(version).unwrap(),
        };
        for version in [Version::parse(generation.first()).unwrap(), last] {
            check(&generation, &version, &mut differences);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a switch is when it is on.
fn turned_on(path: &str) -> Json {
    match path.rsplit('.').next() {
        Some("webhooks") => json!([{ "webhookURL": "http://tickets.example.com" }]),
        Some("rules") => json!([{ "action": "drop" }, { "action": "drop" }]),
        _ => json!(true),
    }
}

fn put(config: &mut Json, path: &str, value: Json) {
    let mut place = config;
    for key in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[key];
    }
    *place = value;
}

/// An empty block has no leaf, so the map does not show it.
fn without_empty(json: Json) -> Json {
    match json {
        Json::Object(map) => {
            let map = map.into_iter().map(|(key, value)| (key, without_empty(value)));
            Json::Object(map.filter(|(_, value)| *value != json!({})).collect())
        }
        other => other,
    }
}

//! Promise: from the config file alone salver writes the record that the tool itself would have sent.
//!
//! Compared here with the derivation map (where it is present) word for word: for each of the 27 generations of the two
//! tools, what is reported when every key is missing, when every switch is off, and what each single switch changes.

use crate::support::derivation_map::{Generation, Generations, NESTED};
use crate::support::drafts::a_host;
use crate::support::endpoints;
use crate::support::generated::put;
use crate::support::reported::{compare, leaves};
use salver::record::catalogue::{Catalogue, Service};
use salver::record::message::{self, EnabledFeatures};
use salver::record::{Draft, derive, document};
use semver::Version;
use serde_json::{Map, Value as Json, json};

#[test]
fn every_generation_reports_its_defaults_when_every_key_is_missing() {
    each_generation(|subject, differences| {
        subject.check(&subject.config(), subject.when_all_missing(), "all missing", differences);
    });
}

#[test]
fn every_generation_reports_every_switch_that_is_off() {
    each_generation(|subject, differences| {
        subject.check(&subject.all_false(), subject.when_all_false(), "all false", differences);
    });
}

#[test]
fn every_generation_reports_every_single_switch_that_is_turned_on() {
    let mut switches = 0;
    each_generation(|subject, differences| {
        for (path, changes) in subject.generation.map["changesByPath"].as_object().unwrap() {
            if path == endpoints::PATH {
                continue;
            }
            let mut config = subject.all_false();
            put(&mut config, path, turned_on(path));
            if path.ends_with(".webhooks") {
                // The map's lists were probed with the switch above them on.
                put(&mut config, "Butler.webhookNotification.enable", json!(true));
            }
            let mut should = subject.when_all_false();
            if !path.ends_with("influxdbConfig.version") {
                changes.as_array().unwrap().iter().for_each(|change| should.apply(change.as_str().unwrap()));
            }
            subject.check(&config, should, path, differences);
            switches += 1;
        }
    });
    assert!(switches == 0 || switches > 800, "only {switches} switches were tried");
}

#[test]
fn a_switch_in_the_place_of_the_block_of_rest_endpoints_says_nothing_of_them() {
    each_generation(|subject, differences| {
        if !subject.generation.paths().iter().any(|path| path == endpoints::PATH) {
            return;
        }
        let mut config = subject.all_false();
        put(&mut config, endpoints::PATH, json!(true));
        let mut should = subject.when_all_false();
        let missing = subject.when_all_missing();
        should.nested.retain(|key, _| missing.nested.contains_key(key));
        for (name, value) in should.flat.iter_mut().filter(|(name, _)| name.starts_with("feature_api")) {
            *value = missing.flat[name].clone();
        }
        subject.check(&config, should, endpoints::PATH, differences);
    });
}

/// A release of a generation, with the service that salver's catalogue has for it.
struct Subject<'a> {
    generation: &'a Generation,
    version: Version,
    service: &'a Service,
    /// The missing values that stand in where the tool throws: those of Butler SOS 13.0.0.
    stand_in: &'a Json,
}

/// What is reported: the flat properties by name, and the nested features by dotted path.
struct Reported {
    flat: Map<String, Json>,
    nested: Map<String, Json>,
}

impl Reported {
    /// Reads a body of the map.
    fn read(body: &Json) -> Self {
        let mut reported = Reported { flat: Map::new(), nested: Map::new() };
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

    /// As one value, in which the endpoints stand in alphabetical order: the map lists them in that of its probes.
    fn into_json(self) -> Json {
        let (mut endpoints, others): (Vec<_>, Vec<_>) =
            self.nested.into_iter().partition(|(path, _)| endpoints::block_of(path).is_some());
        endpoints.sort_by(|(a, _), (b, _)| a.cmp(b));
        let nested: Map<String, Json> = others.into_iter().chain(endpoints).collect();
        json!({ "flat": self.flat, "nested": nested })
    }
}

impl Subject<'_> {
    /// A config file in which every key is missing.
    fn config(&self) -> Json {
        json!({ self.service.top_level_key.as_str(): { "anonTelemetry": true } })
    }

    /// A config file in which every switch is off.
    fn all_false(&self) -> Json {
        let mut config = self.config();
        for path in self.generation.paths().iter().filter(|path| *path != endpoints::PATH) {
            put(&mut config, path, json!(false));
        }
        config
    }

    fn when_all_false(&self) -> Reported {
        let mut all = Reported::read(&self.generation.map["whenAllFalse"]);
        // A version that is a boolean is none.
        for (map, key) in
            [(&mut all.flat, "feature_influxdb_version"), (&mut all.nested, "feature.influxdbVersion")]
        {
            if let Some(value) = map.get_mut(key) {
                *value = json!("unknown");
            }
        }
        all
    }

    fn when_all_missing(&self) -> Reported {
        let map = &self.generation.map;
        if map["whenAllMissing"].is_object() {
            return Reported::read(&map["whenAllMissing"]);
        }
        let known = Reported::read(self.stand_in);
        let mut all = Reported::read(&map["whenAllFalse"]);
        // What was gone by 13.0.0 (the log database) is a switch like the others there.
        for (all, known) in [(&mut all.flat, &known.flat), (&mut all.nested, &known.nested)] {
            for (key, value) in all {
                *value = known.get(key).cloned().unwrap_or(json!(false));
            }
        }
        all
    }

    fn check(&self, config: &Json, should: Reported, what: &str, wrong: &mut Vec<String>) {
        // JSON is YAML.
        let document = document::parse(&config.to_string()).unwrap();
        let block = document.at(&self.service.top_level_key).unwrap();
        let derived = derive::derive(self.service, &self.version, block);
        let draft = Draft {
            layout: derived.layout,
            values: derived.values,
            id: String::new(),
            service_version: self.version.to_string(),
            system: a_host(),
            node_version: "unknown".into(),
        };
        let flat = message::properties(&draft).map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let is = Reported { flat, nested: leaves(&json!(EnabledFeatures::of(&draft))) };
        let case = format!("{} {} {what}", self.service.name, self.version);
        compare(&case, &is.into_json(), &should.into_json(), wrong);
    }
}

/// Calls `check` for the first and the last release of each generation.
fn each_generation(mut check: impl FnMut(&Subject, &mut Vec<String>)) {
    let Some(generations) = Generations::read() else { return };
    let catalogue = Catalogue::load(&[]).unwrap();
    let stand_in = &generations.of("butler-sos", &Version::new(13, 0, 0)).unwrap().map["whenAllMissing"];
    let mut differences = Vec::new();
    for generation in &generations.0 {
        let service = catalogue.service(&generation.service).unwrap();
        let last = generation.last.clone().unwrap_or_else(|| service.newest.clone());
        for version in [generation.first.clone(), last] {
            check(&Subject { generation, version, service, stand_in }, &mut differences);
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

//! Promise 7: only what the catalogue names can leave. Every scalar of a config file, every key, comment, anchor and tag is
//! made a canary of its own, everything is done that salver can do with the file, and whatever it says, keeps or sends is
//! searched for each of them. That the search finds what is there is the promise of `a_leak_put_in_by_hand_is_found.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::canary::captured::Captured;
use crate::support::canary::fleet::{Fleet, KEY, loud};
use crate::support::canary::planter::{Planting, plant};
use crate::support::canary::printed::{observed, reports};
use crate::support::canary::search::Search;
use crate::support::canary::{Canaries, Canary, STEM, tree};
use crate::support::service::Service;
use crate::support::{corpus, fixture, salver_in};
use salver::record::catalogue::Catalogue;
use salver::record::{Value, derive, document};
use serde_json::Value as Json;

/// The config files of this repository.
const FIXTURES: [(&str, &str); 8] = [
    ("butler-sos", "15.0.0"),
    ("butler-sos", "13.0.0"),
    ("butler-sos", "10.2.0"),
    ("butler-sos", "5.6.0"),
    ("butler", "15.1.0"),
    ("butler", "13.0.0"),
    ("butler", "9.3.0"),
    ("butler", "5.1.0"),
];

fn catalogue() -> Catalogue {
    Catalogue::load(&[]).unwrap()
}

fn text_of(service: &str, version: &str) -> String {
    fs::read_to_string(fixture(&format!("{service}/{version}/production.yaml"))).unwrap()
}

/// Adds an instance of an installed tool, with a file planted in this way.
fn add_planted(fleet: &mut Fleet, (service, version): (&str, &str), text: &str, planting: Planting) {
    let name = format!("{service}-{version}-{planting:?}");
    let planted = plant(&name, text, planting, &mut fleet.canaries);
    fleet.add(&name, &[&planted], "");
    fleet.install(&name, service, version);
}

/// Tours the fleet and what could be printed of its files; panics if a canary got out, or if there was nothing to get out.
fn assert_nothing_leaves(fleet: &Fleet, reporting: usize) {
    let mut captured = fleet.exercise();
    let catalogue = catalogue();
    let read =
        fleet.instances.iter().filter(|(_, files)| reports(&observed(&mut captured, &catalogue, files)));
    let read = read.count();
    assert_eq!(read, reporting);
    // One record each when it was first seen (one was erased and came again), one each by force, and one more of the first.
    assert_eq!(fleet.posthog.events().len(), 2 * reporting + 1);
    println!("{} canaries in {} files", fleet.canaries.all().len(), fleet.instances.len());
    captured.assert_silent(&Search::new(&fleet.canaries));
    assert_only_requests_hold_the_key(&captured);
}

fn assert_only_requests_hold_the_key(captured: &Captured) {
    let mut keys = Canaries::default();
    keys.declare(KEY);
    let findings = captured.search(&Search::new(&keys));
    assert_eq!(Vec::from_iter(findings.channels_with(KEY)), ["request bodies"], "{findings}");
}

#[test]
fn no_other_value_of_a_real_config_file_is_said_kept_or_sent() {
    let mut fleet = Fleet::new();
    for (service, version) in FIXTURES {
        for planting in Planting::ALL {
            add_planted(&mut fleet, (service, version), &text_of(service, version), planting);
        }
    }
    assert!(fleet.canaries.all().len() >= 2_000);
    fleet.open();
    assert_nothing_leaves(&fleet, FIXTURES.len() * (Planting::ALL.len() - 1));
}

/// The templates are long, so each is planted in two of the ways, and all ways take turns.
#[test]
fn no_other_value_of_a_template_is_said_kept_or_sent() {
    let Some(corpus) = corpus() else { return };
    let mut fleet = Fleet::new();
    let mut turn = 0;
    let mut withdrawn = 0;
    for service in ["butler-sos", "butler"] {
        for (version, template) in templates(&corpus.join(service)) {
            for planting in [turn, turn + 4].map(|turn| Planting::ALL[turn % Planting::ALL.len()]) {
                let text = fs::read_to_string(&template).unwrap();
                add_planted(&mut fleet, (service, &version), &text, planting);
                withdrawn += usize::from(planting == Planting::Withdrawn);
            }
            turn += 1;
        }
    }
    fleet.open();
    assert_nothing_leaves(&fleet, fleet.instances.len() - withdrawn);
}

/// The templates of a service, each with its version.
fn templates(folder: &Path) -> Vec<(String, PathBuf)> {
    let versions = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = versions.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
    let mut found: Vec<_> = named.map(|(version, path)| (version, path.join("template.yaml"))).collect();
    found.retain(|(_, template)| template.is_file());
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn no_value_at_a_place_of_the_catalogue_leaves_unless_it_is_of_the_right_type() {
    let mut fleet = Fleet::new();
    for seed in 0..24 {
        let generated = tree::grow(seed, &catalogue(), &mut fleet.canaries);
        let version = format!("serviceVersion: {}", generated.version);
        fleet.add(&format!("seed-{seed}"), &[&generated.text], &version);
    }
    assert!(fleet.canaries.all().len() >= 2_000);
    fleet.open();
    assert_nothing_leaves(&fleet, fleet.instances.len());
}

#[test]
fn nothing_that_could_be_printed_of_a_generated_file_holds_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("generated.yaml");
    let (catalogue, mut canaries, mut captured) = (catalogue(), Canaries::default(), Captured::default());
    for seed in 1_000..1_100 {
        let generated = tree::grow(seed, &catalogue, &mut canaries);
        fs::write(&file, &generated.text).unwrap();
        let observed = observed(&mut captured, &catalogue, std::slice::from_ref(&file));
        assert!(reports(&observed), "seed {seed}: {observed:?}");
    }
    captured.assert_silent(&Search::new(&canaries));
}

#[test]
fn several_files_laid_over_each_other_keep_their_values_to_themselves() {
    let mut fleet = Fleet::new();
    let two = [FIXTURES[0], FIXTURES[4]];
    for (service, version) in two {
        let text = text_of(service, version);
        let layers = [Planting::Keys, Planting::Structures, Planting::Texts, Planting::Everything];
        let name = format!("{service}-{version}");
        let planted: Vec<String> = layers
            .map(|planting| {
                plant(&format!("{name}, layer {planting:?}"), &text, planting, &mut fleet.canaries)
            })
            .into();
        let planted: Vec<&str> = planted.iter().map(String::as_str).collect();
        fleet.add(&name, &planted, &format!("serviceVersion: {version}"));
    }
    fleet.open();
    assert_nothing_leaves(&fleet, two.len());
}

/// Without settings an instance has no name, and what is recorded goes to stdout as well.
#[test]
fn a_try_out_says_nothing_else_either() {
    let mut fleet = Fleet::new();
    let mut captured = Captured::default();
    for planting in [Planting::Texts, Planting::Everything] {
        add_planted(&mut fleet, FIXTURES[0], &text_of("butler-sos", "15.0.0"), planting);
    }
    let files: Vec<_> = fleet.instances.iter().flat_map(|(_, files)| files).collect();
    let spool = fleet.site.path("try-out");
    captured.run("record FILE", loud(salver_in(&spool)).arg("record").args(&files));
    captured.run("preview FILE", loud(salver_in(&spool)).arg("preview").arg(files[0]));
    let mut command = loud(salver_in(&fleet.site.path("watched")));
    let mut service = Service::start(command.arg("run").arg("--watch").arg(files[0]));
    service.wait_for_records(1);
    let ended = service.stop();
    assert_eq!(ended.records().len(), 1);
    captured.add("run --watch FILE", ended.stdout.join("\n"));
    captured.add("run --watch FILE, stderr", ended.stderr.join("\n"));
    captured.add_spool("of the try-out", &spool);
    captured.assert_silent(&Search::new(&fleet.canaries));
}

/// So that the tests above search for what is there: a planted file has a canary in every place, and still reports.
#[test]
fn every_scalar_and_every_key_of_a_planted_file_is_a_canary() {
    let templates =
        corpus().map(|corpus| ["butler", "butler-sos"].map(|service| templates(&corpus.join(service))));
    let templates = templates.into_iter().flatten().flatten().map(|(_, template)| template);
    let fixtures =
        FIXTURES.map(|(service, version)| fixture(&format!("{service}/{version}/production.yaml")));
    for file in fixtures.into_iter().chain(templates) {
        let text = fs::read_to_string(&file).unwrap();
        let parsed = |planting| -> Json {
            let planted = plant("a file", &text, planting, &mut Canaries::default());
            assert!(planted.lines().all(|line| line.contains(STEM)), "a canary in every line:\n{planted}");
            serde_saphyr::from_str(&planted)
                .unwrap_or_else(|error| panic!("{planting:?}: {error}\n{planted}"))
        };
        let is_canary = |scalar: &Json| scalar.as_str().is_some_and(|text| text.contains(STEM));
        let texts = parsed(Planting::Everything);
        assert_eq!(scalars(&texts).into_iter().filter(|it| !is_canary(it)).count(), 1, "{file:?}");
        assert!(scalars(&parsed(Planting::Withdrawn)).into_iter().all(is_canary), "{file:?}");
        let numbers = parsed(Planting::Numbers);
        let is_number = |scalar: &&Json| scalar.as_f64().is_some_and(|number| number.abs() > 7e14);
        assert_eq!(scalars(&numbers).into_iter().filter(|it| !is_number(it)).count(), 1, "{file:?}");
        let known = |key: &&String| !key.contains(STEM);
        assert_eq!(keys(&parsed(Planting::Renamed)).into_iter().filter(known).count(), 2, "{file:?}");
        assert!(
            maps(&parsed(Planting::Keys)).into_iter().all(|map| map.iter().any(|key| key.contains(STEM)))
        );
    }
}

#[test]
fn every_canary_that_is_counted_stands_in_its_file() {
    for (service, version) in FIXTURES {
        for planting in Planting::ALL {
            let mut canaries = Canaries::default();
            let planted = plant("a file", &text_of(service, version), planting, &mut canaries);
            let stands_there = |canary: &Canary| {
                let hex = canary.number.map(|number| format!("{number:#x}"));
                planted.contains(&canary.text) || hex.is_some_and(|hex| planted.contains(&hex))
            };
            assert!(canaries.all().iter().all(stands_there), "{planting:?}:\n{planted}");
        }
    }
}

/// Canaries beside the switches change nothing of what is reported, and those in their places count as missing.
#[test]
fn a_planted_file_is_read_as_it_was() {
    let catalogue = catalogue();
    for (service, version) in FIXTURES {
        let text = text_of(service, version);
        let (service, version) = (catalogue.service(service).unwrap(), version.parse().unwrap());
        let values = |text: &str| {
            let document = document::parse(text).unwrap();
            derive::derive(service, &version, document.at(&service.top_level_key).unwrap()).values
        };
        let planted = |planting| values(&plant("a file", &text, planting, &mut Canaries::default()));
        let original = values(&text);
        assert!(original.contains(&Value::Bool(true)));
        for planting in [Planting::Texts, Planting::Keys, Planting::Marks] {
            assert_eq!(planted(planting), original, "{version}, {planting:?}");
        }
        for planting in [Planting::Everything, Planting::Numbers, Planting::Versions, Planting::Renamed] {
            let values = planted(planting);
            let is_value = |value: &Value| matches!(value, Value::Bool(true) | Value::Text(_));
            assert!(!values.iter().any(is_value), "{version}, {planting:?}: {values:?}");
        }
    }
}

fn scalars(json: &Json) -> Vec<&Json> {
    match json {
        Json::Array(list) => list.iter().flat_map(scalars).collect(),
        Json::Object(map) => map.values().flat_map(scalars).collect(),
        scalar => vec![scalar],
    }
}

/// The keys of each map.
fn maps(json: &Json) -> Vec<Vec<&String>> {
    match json {
        Json::Array(list) => list.iter().flat_map(maps).collect(),
        Json::Object(map) => [map.keys().collect()].into_iter().chain(map.values().flat_map(maps)).collect(),
        _ => Vec::new(),
    }
}

fn keys(json: &Json) -> Vec<&String> {
    maps(json).concat()
}

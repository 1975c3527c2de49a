//! A second opinion on what a config document reports, from the derivation map alone.
//!
//! It knows nothing of salver's catalogue. For each output key it asks the map which config paths change it and how, and
//! adds the value rules that are stated in words: what is not a boolean counts as missing, lists are counted, hooks count
//! while their switch is on, of two alternatives a true one wins (the map shows that: it turns one path on while the other is
//! `false`). Two things the map does not show are written out as constants below.

use std::cmp::Ordering;
use std::fs;

use semver::Version;
use serde_json::{Map, Value as Json, json};

use super::endpoints::{self, Endpoints};
use super::needs::{Need, path_in};
use super::reported::flattened;

/// What stands before the nested features in the keys of releases that send to PostHog.
pub const NESTED: &str = "properties.telemetry_json.enabledFeatures.";

/// The switch above the lists of web hooks.
const HOOKS: &str = "Butler.webhookNotification.enable";

/// First release that says whether it runs in Docker, and first release in which `systemInfo.enable: false` withholds consent.
fn since(service: &str) -> (Version, Version) {
    match service {
        "butler" => (Version::new(11, 0, 0), Version::new(14, 0, 0)),
        _ => (Version::new(10, 2, 0), Version::new(12, 0, 0)),
    }
}

/// All generations of both tools, from the oldest to the newest.
pub struct Generations(pub Vec<Generation>);

/// The releases of one tool that report the same way.
pub struct Generation {
    /// The tool.
    pub service: String,
    /// The key at the top of its config file.
    pub top: String,
    /// Its first release.
    pub first: Version,
    /// Its last release, or `None` for the newest generation.
    pub last: Option<Version>,
    /// What the map says of it.
    pub map: Json,
    flat: Vec<Output>,
    nested: Vec<Output>,
    endpoints: Endpoints,
}

/// One key of the message.
struct Output {
    name: String,
    rule: Rule,
    /// The config paths, with the top-level key.
    paths: Vec<String>,
    missing: Json,
}

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Switch,
    OnlyTrue,
    Count,
    Version,
    Hooks,
    Block,
}

/// What a document reports.
pub struct Foretold {
    /// The flat features.
    pub flat: Map<String, Json>,
    /// The features in their nested form.
    pub nested: Json,
    /// Whether the system block has `isRunningInDocker`.
    pub docker_flag: bool,
}

impl Generations {
    /// Reads the map. It is not part of this repository.
    pub fn read() -> Option<Self> {
        let text = fs::read_to_string(path_in("SALVER_TEST_MAP", Need::DerivationMap)?).unwrap();
        let maps: Vec<Json> = serde_json::from_str(&text).unwrap();
        assert_eq!(maps.len(), 27);
        let endpoints = endpoints::names(&maps);
        // Where the tool throws when a key is missing, the values of this generation stand in.
        let stand_in = maps.iter().find(|m| m["service"] == "butler-sos" && m["firstVersion"] == "13.0.0");
        let stand_in = stand_in.unwrap()["whenAllMissing"].clone();
        let generation = |map: &Json| Generation::new(map.clone(), &stand_in, endpoints.clone());
        Some(Generations(maps.iter().map(generation).collect()))
    }

    /// The generation that a release belongs to: the newest one that is not younger than it.
    pub fn of(&self, service: &str, version: &Version) -> Option<&Generation> {
        let started =
            |g: &&Generation| g.service == service && g.first.cmp_precedence(version) != Ordering::Greater;
        self.0.iter().filter(started).max_by(|a, b| a.first.cmp_precedence(&b.first))
    }

    /// What a document reports to a release; `None` if nothing is collected.
    pub fn foretell(&self, service: &str, version: &Version, config: &Json) -> Option<Foretold> {
        let generation = self.of(service, version)?;
        let (docker, system_info) = since(service);
        let key = |path: &str| at(config, &format!("{}.{path}", generation.top)).cloned();
        let withheld = *version >= system_info && key("systemInfo.enable") == Some(json!(false));
        if key("anonTelemetry") != Some(json!(true)) || withheld {
            return None;
        }
        let mut foretold = generation.features(config);
        foretold.docker_flag = *version >= docker;
        Some(foretold)
    }
}

impl Generation {
    fn new(map: Json, stand_in: &Json, endpoints: Endpoints) -> Self {
        let text = |key: &str| map[key].as_str().unwrap();
        let service = text("service").to_owned();
        let top = if service == "butler" { "Butler" } else { "Butler-SOS" };
        let last = Some(text("lastVersion")).filter(|last| *last != "newest");
        let mut generation = Generation {
            top: top.to_owned(),
            first: Version::parse(text("firstVersion")).unwrap(),
            last: last.map(|last| Version::parse(last).unwrap()),
            flat: Vec::new(),
            nested: Vec::new(),
            service,
            endpoints,
            map: Json::Null,
        };
        // Their own collector took the nested body; it begins with the block of REST endpoints, which has no leaf here.
        if map["changesByPath"].get(endpoints::PATH).is_some() && text("transport") == "axios" {
            generation.nested.push(Output::block("api"));
        }
        for key in map["whenAllFalse"].as_object().unwrap().keys() {
            let missing = [&map["whenAllMissing"], stand_in].into_iter().find_map(|all| all.get(key));
            let missing = missing.cloned().unwrap_or(json!(false));
            let nested = key.strip_prefix(NESTED).or_else(|| key.strip_prefix("enabledFeatures."));
            if let Some(path) = nested {
                match endpoints::block_of(path) {
                    None => generation.nested.push(Output::read(path, key, missing, &map)),
                    Some(block) if generation.nested.iter().all(|output| output.name != block) => {
                        generation.nested.push(Output::block(block));
                    }
                    Some(_) => {}
                }
            } else if let Some(name) = key.strip_prefix("properties.").filter(|n| n.starts_with("feature_")) {
                generation.flat.push(Output::read(name, key, missing, &map));
            }
        }
        generation.map = map;
        generation
    }

    /// The config paths that the map knows for it.
    pub fn paths(&self) -> Vec<String> {
        self.map["changesByPath"].as_object().unwrap().keys().cloned().collect()
    }

    /// The config paths of all REST endpoints that the generation hands on with their block.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.paths()
    }

    fn features(&self, config: &Json) -> Foretold {
        let mut nested = json!({});
        for output in &self.nested {
            let path = format!("/{}", output.name.replace('.', "/"));
            insert(&mut nested, &path, output.value(config, &self.endpoints));
        }
        let flat = if self.flat.is_empty() {
            flattened(&nested)
        } else {
            self.flat.iter().map(|o| (o.name.clone(), o.value(config, &self.endpoints))).collect()
        };
        Foretold { flat, nested, docker_flag: false }
    }
}

impl Output {
    fn block(name: &str) -> Self {
        Output {
            name: name.to_owned(),
            rule: Rule::Block,
            paths: vec![endpoints::PATH.to_owned()],
            missing: json!({}),
        }
    }

    /// Reads from the map which paths change the key, and how.
    fn read(name: &str, key: &str, missing: Json, map: &Json) -> Self {
        let (mut paths, mut kinds) = (Vec::new(), Vec::new());
        for (path, changes) in map["changesByPath"].as_object().unwrap() {
            let changes =
                changes.as_array().unwrap().iter().filter_map(|change| change.as_str()?.split_once(' '));
            for (_, change) in changes.filter(|(changed, _)| *changed == key) {
                paths.push(path.clone());
                kinds.push(change);
            }
        }
        assert!(!paths.is_empty(), "nothing in the map decides {key}");
        let is_list = |path: &String| path.ends_with(".webhooks");
        let rule = if paths.iter().all(is_list) {
            Rule::Hooks
        } else if paths[0].ends_with(".influxdbConfig.version") {
            Rule::Version
        } else {
            match kinds[0] {
                "false->true" => Rule::Switch,
                "\"null\"->true" => Rule::OnlyTrue,
                "0->2" => Rule::Count,
                other => panic!("{key}: {other} is no change that is known"),
            }
        };
        if rule != Rule::Hooks {
            // The map's lists were probed with the switch above them on, which changes its own key.
            paths.retain(|path| !is_list(path));
        }
        Output { name: name.to_owned(), rule, paths, missing }
    }

    fn value(&self, config: &Json, endpoints: &Endpoints) -> Json {
        let found: Vec<&Json> = self.paths.iter().filter_map(|path| at(config, path)).collect();
        let is = |flag: bool| found.iter().any(|value| **value == json!(flag));
        let read = match self.rule {
            Rule::Switch if is(true) => Some(json!(true)),
            Rule::Switch if is(false) => Some(json!(false)),
            Rule::OnlyTrue if is(true) => Some(json!(true)),
            Rule::Switch | Rule::OnlyTrue => None,
            Rule::Count => found.iter().find_map(|value| Some(json!(value.as_array()?.len()))),
            Rule::Version => found.iter().find(|value| is_version(value)).map(|value| (*value).clone()),
            Rule::Hooks => {
                let on = at(config, HOOKS) == Some(&json!(true));
                Some(json!(
                    on && found.iter().any(|list| list.as_array().is_some_and(|list| !list.is_empty()))
                ))
            }
            Rule::Block => found.first().and_then(|block| endpoints.of(block)),
        };
        read.unwrap_or_else(|| self.missing.clone())
    }
}

/// A whole number of at most four digits, or a text of three numbers: all that salver lets out of a version key.
fn is_version(value: &Json) -> bool {
    let is_number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits && (text == "0" || !text.starts_with('0'))
    };
    match value {
        Json::Number(number) => number.as_u64().is_some_and(|number| number < 10_000),
        Json::String(text) => text.split('.').count() == 3 && text.split('.').all(is_number),
        _ => false,
    }
}

/// The place that a dotted path leads to.
pub fn at<'a>(config: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(config, |place, key| place.as_object()?.get(key))
}

fn insert(root: &mut Json, pointer: &str, value: Json) {
    let mut place = root;
    for key in pointer.split('/').skip(1) {
        let map = match place {
            Json::Object(map) => map,
            other => panic!("{other} is in the way of {pointer}"),
        };
        place = map.entry(key).or_insert_with(|| json!({}));
    }
    *place = value;
}

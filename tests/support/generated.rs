//! Config documents that nobody would write: every path that any generation knows, present or not, of any type.

use std::collections::BTreeSet;

use semver::{Prerelease, Version};
use serde_json::{Value as Json, json};

use super::derivation_map::Generations;
use super::dice::Dice;

/// All that may stand in the documents of one tool.
pub struct Generator {
    top: String,
    /// The paths of switches, lists and versions, of all generations of the tool.
    paths: Vec<String>,
    /// The maps that they lie in, without the one at the top.
    parents: Vec<String>,
}

impl Generator {
    /// A generator of documents for this tool.
    pub fn new(generations: &Generations, service: &str) -> Self {
        let own = || generations.0.iter().filter(|generation| generation.service == service);
        let mut paths: BTreeSet<String> = own().flat_map(|generation| generation.paths()).collect();
        if service == "butler" {
            paths.extend(own().flat_map(|generation| generation.endpoints()));
            // No release knows these; in the block that is handed on whole, only known names may pass.
            for unknown in ["hunter2", "scheduler.hunter2", "hunter2s.enable"] {
                paths.insert(format!("Butler.restServerEndpointsEnable.{unknown}"));
            }
        }
        let parents: BTreeSet<String> = paths.iter().flat_map(|path| above(path)).collect();
        paths.retain(|path| !parents.contains(path));
        let top = own().next().unwrap().top.clone();
        Generator { top, paths: paths.into_iter().collect(), parents: parents.into_iter().collect() }
    }

    /// A document in which consent is given.
    pub fn consenting(&self, dice: &mut Dice) -> Json {
        let mut config = json!({ self.top.as_str(): {} });
        // From a document that says nothing to one that says everything.
        let present = *dice.pick(&[0, 10, 50, 80, 100, 100]);
        let broken = *dice.pick(&[0, 0, 3, 20]);
        for path in &self.paths {
            if dice.chance(present) {
                put(&mut config, path, value(dice, path));
            }
        }
        for parent in &self.parents {
            if dice.chance(broken) {
                put(&mut config, parent, odd(dice));
            }
        }
        config[&self.top]["anonTelemetry"] = json!(true);
        config
    }

    /// A document in which consent may be withheld in one of the ways there are.
    pub fn any(&self, dice: &mut Dice) -> Json {
        let mut config = self.consenting(dice);
        let block = &mut config[&self.top];
        if dice.chance(5) {
            block["anonTelemetry"] = if dice.chance(40) { json!(false) } else { odd(dice) };
        } else if dice.chance(2) {
            block.as_object_mut().unwrap().remove("anonTelemetry");
        }
        if dice.chance(30) {
            block["systemInfo"] =
                json!({ "enable": dice.pick(&[json!(true), json!(false), json!("false"), json!(0)]) });
        }
        config
    }
}

/// Releases that belong to a generation: its own, those in the gap behind it, and the early ones of the next.
pub fn versions(generations: &Generations, at: usize) -> Vec<Version> {
    let generation = &generations.0[at];
    let next = generations.0.get(at + 1).filter(|next| next.service == generation.service);
    let mut versions = vec![generation.first.clone()];
    match (&generation.last, next) {
        (Some(last), Some(next)) => {
            versions.push(last.clone());
            let gap = [
                Version::new(last.major, last.minor, last.patch + 1),
                Version::new(last.major, last.minor, 999),
            ];
            versions.extend(gap.into_iter().filter(|version| *version < next.first));
            for early in ["0", "alpha.1", "rc.9"] {
                versions.push(Version { pre: Prerelease::new(early).unwrap(), ..next.first.clone() });
            }
        }
        _ => {
            let first = &generation.first;
            versions
                .extend([Version::new(first.major, first.minor + 1, 3), Version::new(first.major + 1, 0, 0)]);
            versions.extend([Version::new(99, 0, 0), Version::parse("99.1.0-beta.2").unwrap()]);
        }
    }
    versions
}

/// Releases that are older than the first one with telemetry.
pub fn too_old(generations: &Generations, service: &str) -> Vec<Version> {
    let first = &generations.0.iter().find(|generation| generation.service == service).unwrap().first;
    let early = Version { pre: Prerelease::new("rc.1").unwrap(), ..first.clone() };
    vec![early, Version::new(first.major, first.minor - 1, 99), Version::new(0, 0, 1)]
}

/// A value that fits the path more often than not.
fn value(dice: &mut Dice, path: &str) -> Json {
    let key = path.rsplit('.').next().unwrap_or_default();
    if dice.chance(15) {
        return odd(dice);
    }
    match key {
        "rules" | "webhooks" => {
            Json::Array(vec![json!({ "url": "http://tickets.example.com" }); dice.roll(5)])
        }
        "version" => dice.pick(&versions_written()).clone(),
        _ => json!(dice.chance(50)),
    }
}

/// What stands where a switch, a list or a map is expected.
fn odd(dice: &mut Dice) -> Json {
    let odd = [
        json!(null),
        json!(true),
        json!(false),
        json!("true"),
        json!("false"),
        json!("null"),
        json!("hunter2"),
        json!(""),
        json!(0),
        json!(1),
        json!(-1),
        json!(2.5),
        json!([]),
        json!([true]),
        json!({}),
        json!({ "enable": true }),
        json!({ "hunter2": "hunter2" }),
    ];
    dice.pick(&odd).clone()
}

fn versions_written() -> Vec<Json> {
    let mut written =
        vec![json!(0), json!(1), json!(2), json!(9999), json!(10_000), json!(4_915_123_456_789_u64)];
    written.extend([json!(2.7), json!(3.0), json!(true)]);
    let texts = [
        "1.8.10",
        "2.7.1",
        "0.0.0",
        "2.7",
        "3",
        "v2.7.1",
        "2.07.1",
        "2.7.1.4",
        "2.7.1-rc.1",
        "2.7.1+hunter2",
    ];
    written.extend(texts.map(Json::from));
    written.extend([" 2.7.1", "2.7.x", "..", "unknown", "hunter2"].map(Json::from));
    written
}

/// The maps above a path, without the one at the top: of `a.b.c.d` these are `a.b` and `a.b.c`.
fn above(path: &str) -> Vec<String> {
    path.match_indices('.').skip(1).map(|(end, _)| path[..end].to_owned()).collect()
}

/// Puts a value where a dotted path leads, making maps of all that is on the way.
pub fn put(config: &mut Json, path: &str, value: Json) {
    let mut place = config;
    for key in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[key];
    }
    *place = value;
}

//! Butler's block of REST endpoints, which its releases hand on whole.
//!
//! The tool writes what the file has, in the file's order. salver lets only switches of known names through, and the two
//! blocks in it; its order is that of the template. JSON knows no order, so blocks are sorted before they are compared.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

/// Where the block stands.
pub const PATH: &str = "Butler.restServerEndpointsEnable";

/// The two blocks in the block.
pub const INNER: [&str; 2] = ["newRelic", "scheduler"];

/// In the template of 5.1.0 and in no later one. The map looks into the block from 9.1.0 on.
const EARLY: [&str; 2] = ["activeUserCount", "activeUsers"];

/// The names of all endpoints, those of the inner blocks with the block's name before them.
#[derive(Clone)]
pub struct Endpoints(BTreeSet<String>);

/// The endpoints that any generation knows.
pub fn names(maps: &[Json]) -> Endpoints {
    let paths = maps.iter().flat_map(|map| map["changesByPath"].as_object().unwrap().keys());
    let below = paths.filter_map(|path| path.strip_prefix(PATH)?.strip_prefix('.'));
    Endpoints(below.chain(EARLY).map(str::to_owned).collect())
}

/// The block that a leaf of the nested form lies in, such as `feature.apiEnabledEndpoints`.
pub fn block_of(path: &str) -> Option<&str> {
    let end = path.find("Endpoints.")? + "Endpoints".len();
    Some(&path[..end])
}

impl Endpoints {
    /// The config paths of the endpoints.
    pub fn paths(&self) -> Vec<String> {
        self.0.iter().map(|name| format!("{PATH}.{name}")).collect()
    }

    /// What is reported of a block; `None` if it counts as missing.
    pub fn of(&self, block: &Json) -> Option<Json> {
        let Json::Object(map) = block else { return Some(Json::Null).filter(|_| block.is_null()) };
        let mut kept = self.switches(map, "");
        for name in INNER {
            match map.get(name) {
                Some(Json::Object(inner)) => {
                    _ = kept.insert(name.into(), self.switches(inner, &format!("{name}.")).into())
                }
                Some(Json::Null) => _ = kept.insert(name.into(), Json::Null),
                _ => {}
            }
        }
        Some(kept.into())
    }

    fn switches(&self, map: &Map<String, Json>, prefix: &str) -> Map<String, Json> {
        let is_known = |name: &str| self.0.contains(&format!("{prefix}{name}"));
        let switches = map.iter().filter(|(name, value)| value.is_boolean() && is_known(name));
        switches.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Features with the keys of each block of endpoints in alphabetical order.
pub fn sorted(features: &Json) -> Json {
    fn sort(block: &Json) -> Json {
        let Json::Object(map) = block else { return block.clone() };
        let sorted: std::collections::BTreeMap<&String, Json> =
            map.iter().map(|(k, v)| (k, sort(v))).collect();
        json!(sorted)
    }
    let mut features = features.clone();
    for pointer in ["/api", "/feature/apiEnbledEndpoints", "/feature/apiEnabledEndpoints"] {
        if let Some(block) = features.pointer_mut(pointer) {
            *block = sort(block);
        }
    }
    features
}

/// Flat properties with those of the block in alphabetical order, in the places where they stand.
pub fn sorted_flat(properties: &Map<String, Json>) -> Map<String, Json> {
    let is_of_block = |name: &&String| name.starts_with("api_");
    let mut names: Vec<&String> = properties.keys().filter(is_of_block).collect();
    names.sort();
    let mut names = names.into_iter();
    let in_its_place = |name| if is_of_block(&name) { names.next().unwrap_or(name) } else { name };
    properties.keys().map(in_its_place).map(|name| (name.clone(), properties[name].clone())).collect()
}

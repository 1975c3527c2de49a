//! What a message reports of its config file, and where two such reports differ.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::{expect, json, salver_in};

/// What salver would record or send for a config file, asked of the real program.
pub fn preview(file: &Path, more: &[&str]) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let output = expect(salver_in(&spool).arg("preview").arg(file).args(more), 0);
    assert!(!spool.exists(), "preview writes nothing");
    json(&output)
}

/// Of an event's properties those that come from the config file.
pub fn reported(properties: &Json) -> Json {
    let mut reported = Map::new();
    for key in ["service", "serviceVersion"] {
        reported.insert(key.into(), properties[key].clone());
    }
    reported.extend(flat(properties));
    let features = &properties["telemetry_json"]["enabledFeatures"];
    reported.insert("telemetry_json".into(), json!({ "enabledFeatures": features }));
    Json::Object(reported)
}

/// Of an event's properties the flat features, in their order.
pub fn flat(properties: &Json) -> Map<String, Json> {
    let wanted = |name: &str| name.starts_with("feature_") || name.starts_with("api_");
    let all = properties.as_object().unwrap().clone();
    all.into_iter().filter(|(name, _)| wanted(name)).collect()
}

/// salver's own rule for releases that had no flat form: the nested keys joined by `_`.
pub fn flattened(features: &Json) -> Map<String, Json> {
    let leaves = leaves(features).into_iter().filter(|(_, value)| !value.is_null());
    leaves.map(|(path, value)| (path.replace('.', "_"), value)).collect()
}

/// Dotted path and value of everything that is not an object, in order.
pub fn leaves(json: &Json) -> Map<String, Json> {
    fn walk(path: &str, json: &Json, found: &mut Map<String, Json>) {
        match json {
            Json::Object(map) => {
                let below =
                    |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                map.iter().for_each(|(key, value)| walk(&below(key), value, found));
            }
            value => _ = found.insert(path.to_owned(), value.clone()),
        }
    }
    let mut found = Map::new();
    walk("", json, &mut found);
    found
}

/// Says where two values differ, key by key, the order of keys included.
pub fn compare(case: &str, is: &Json, should: &Json, differences: &mut Vec<String>) {
    let before = differences.len();
    match (is, should) {
        (Json::Object(a), Json::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                compare(&format!("{case} {key}"), &is[key], &should[key], differences);
                if a.contains_key(key) != b.contains_key(key) {
                    differences.push(format!("{case} {key}: only one of them has it"));
                }
            }
            if differences.len() == before
                && let Some((key, other)) = a.keys().zip(b.keys()).find(|(a, b)| a != b)
            {
                differences.push(format!("{case}: {key} stands where {other} should"));
            }
        }
        _ if is == should => {}
        _ => differences.push(format!("{case}: is {is}, should be {should}")),
    }
}

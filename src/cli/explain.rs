//! `salver preview --explain`: the source of each value that would be sent.
//!
//! For auditors: lists every key of the event in its order, and after them the keys of the nested
//! form. A value from a config file names its config path; one that no path decided names the paths
//! that could have.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::record::derive::{Derived, Provenance};
use crate::record::version::VersionOrigin;
use crate::record::{Record, message};

/// The property that repeats the nested form as text; the keys of that form are listed instead.
const NESTED: &str = "telemetry_json";

/// One JSON object: output key to value and origin.
pub fn keys(event: &Json, record: &Record, derived: &Derived, version: VersionOrigin) -> Json {
    let slots = || derived.layout.slots.iter().zip(&derived.provenance);
    let reasons: HashMap<&str, &Provenance> =
        slots().filter_map(|(slot, why)| Some((slot.property.as_deref()?, why))).collect();
    let mut keys = Map::new();
    for (key, value) in
        event["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != NESTED)
    {
        let entry = match reasons.get(key.as_str()) {
            Some(why) => decided(value.clone(), why),
            None => json!({ "value": value, "from": origin(key, version) }),
        };
        keys.insert(key.clone(), entry);
    }
    for ((slot, why), value) in slots().zip(&record.draft.values) {
        if let (Some(path), Some(value)) = (&slot.nested, message::reported_value(slot, value)) {
            keys.insert(format!("enabledFeatures.{path}"), decided(json!(value), why));
        }
    }
    Json::Object(keys)
}

fn decided(value: Json, why: &Provenance) -> Json {
    match &why.decided_by {
        Some(path) => json!({ "value": value, "decidedBy": path }),
        None => json!({ "value": value, "decidedBy": null, "lookedAt": why.looked_at }),
    }
}

/// Where the keys come from that no config path decides.
fn origin(key: &str, version: VersionOrigin) -> &'static str {
    match key {
        "service" => "the catalogue of the config file's top-level key",
        "serviceVersion" => match version {
            VersionOrigin::Given => "the settings or the command line",
            VersionOrigin::PackageJson => "the package.json of the service",
            VersionOrigin::Assumed => "assumed: the newest release that is known",
        },
        "system_id" => "worked out once and pinned; see `salver id`",
        "system_nodeVersion" => "the settings or the command line, else unknown",
        key if key.starts_with("system_") => "this host",
        _ => "salver",
    }
}

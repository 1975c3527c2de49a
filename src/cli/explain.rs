//! `salver preview --explain`: where each value that would be sent comes from.
//!
//! Made for auditors: every key of the event is listed, in its order, and after them the keys of the nested form. A value that a
//! config file decides names the path; one that none decided names the paths that were looked at.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::record::derive::{Derived, Provenance};
use crate::record::version::Origin;
use crate::record::{Record, message};

/// The nested form once more, as text; its keys are listed on their own.
const NESTED: &str = "telemetry_json";

/// One JSON object: output key to value and origin.
pub fn keys(event: &Json, record: &Record, derived: &Derived, version: Origin) -> Json {
    let places = || derived.layout.places.iter().zip(&derived.provenance);
    let reasons: HashMap<&str, &Provenance> =
        places().filter_map(|(place, why)| Some((place.property.as_deref()?, why))).collect();
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
    for ((place, why), value) in places().zip(&record.draft.values) {
        if let (Some(path), Some(value)) = (&place.nested, message::reported_value(place, value)) {
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
fn origin(key: &str, version: Origin) -> &'static str {
    match key {
        "service" => "the catalogue of the config file's top-level key",
        "serviceVersion" => match version {
            Origin::Given => "the settings or the command line",
            Origin::PackageJson => "the package.json of the service",
            Origin::Assumed => "assumed: the newest release that is known",
        },
        "system_id" => "worked out once and pinned; see `salver id`",
        "system_nodeVersion" => "the settings or the command line, else unknown",
        key if key.starts_with("system_") => "this host",
        _ => "salver",
    }
}

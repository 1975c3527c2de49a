//! The telemetry message in the shape of the tools' own: `{"ts", "data": {service, serviceVersion, system, enabledFeatures}}`.
//!
//! Source: the public descriptions of Butler's and Butler SOS's telemetry, and the bodies that real releases build.
//! The shape that goes to PostHog is built from this one in `forward::wire`.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value as Json, json};

use super::{Draft, Record, Value};

/// The whole message of a record.
pub fn message(record: &Record) -> Json {
    json!({ "ts": rfc3339(record.timestamp_ms), "data": data(&record.draft) })
}

/// The message without its time: all that is reported.
pub fn data(draft: &Draft) -> Json {
    json!({
        "service": draft.layout.service,
        "serviceVersion": draft.service_version,
        "system": system(draft),
        "enabledFeatures": enabled_features(draft),
    })
}

/// The system block, with the keys of the draft's generation.
pub fn system(draft: &Draft) -> Json {
    let host = &draft.system;
    let mut block = Map::new();
    block.insert("id".into(), draft.id.as_str().into());
    block.insert("arch".into(), host.arch.as_str().into());
    block.insert("platform".into(), host.platform.as_str().into());
    block.insert("release".into(), host.release.as_str().into());
    block.insert("distro".into(), host.distro.as_str().into());
    block.insert("codename".into(), host.codename.as_str().into());
    block.insert("virtual".into(), host.is_virtual.into());
    if draft.layout.docker_flag {
        block.insert("isRunningInDocker".into(), host.docker.into());
    }
    block.insert("nodeVersion".into(), draft.node_version.as_str().into());
    Json::Object(block)
}

/// The features in their nested form.
pub fn enabled_features(draft: &Draft) -> Json {
    let mut root = Map::new();
    for (place, value) in draft.layout.places.iter().zip(&draft.values) {
        if let (Some(path), Some(value)) = (&place.nested, shown(place, value)) {
            insert(&mut root, path, value);
        }
    }
    Json::Object(root)
}

/// The features as flat properties, in the order of the layout.
pub fn properties(draft: &Draft) -> impl Iterator<Item = (&str, Json)> {
    draft.layout.places.iter().zip(&draft.values).filter_map(|(place, value)| {
        let name = place.property.as_deref()?;
        Some((name, shown(place, value)?))
    })
}

/// `2021-04-16T13:43:02.467Z`: UTC, three digits of milliseconds, as JavaScript writes it.
pub fn rfc3339(timestamp_ms: i64) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    PRINTER.timestamp_to_string(&Timestamp::from_millisecond(timestamp_ms).unwrap_or_default())
}

/// What stands at a place, if anything does.
pub fn shown(place: &super::Place, value: &Value) -> Option<Json> {
    match value {
        Value::Missing => place.missing.as_ref().and_then(json_of),
        value => json_of(value),
    }
}

fn json_of(value: &Value) -> Option<Json> {
    match value {
        Value::Missing => None,
        Value::Null => Some(Json::Null),
        Value::Bool(flag) => Some((*flag).into()),
        Value::Int(number) => Some((*number).into()),
        Value::Text(text) => Some(text.as_str().into()),
        Value::Object => Some(Json::Object(Map::new())),
    }
}

fn insert(map: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            map.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let below = map.entry(head).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(below) = below {
                insert(below, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_javascript_writes_them() {
        assert_eq!(rfc3339(1_618_580_582_467), "2021-04-16T13:43:02.467Z");
        assert_eq!(rfc3339(1_618_580_582_000), "2021-04-16T13:43:02.000Z");
    }
}

//! The telemetry message in the shape of the tools' own: `{"ts", "data": {service, serviceVersion, system, enabledFeatures}}`.
//!
//! Why it borrows: a backlog is written by the hundred thousand, so a message is a view of its record that goes straight into
//! whatever writes JSON, and no value of it is copied on the way.
//!
//! Source: the public descriptions of Butler's and Butler SOS's telemetry, and the bodies that real releases build.
//! The shape that goes to PostHog is built from this one in `forward::wire`.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Draft, Record, Slot, Value};

mod features;

pub use features::EnabledFeatures;

/// The whole message of a record.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Message<'a> {
    /// When it was recorded.
    pub ts: String,
    /// What it reports.
    pub data: Data<'a>,
}

/// The message without its time: all that is reported.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    service: &'a str,
    service_version: &'a str,
    system: SystemBlock<'a>,
    enabled_features: EnabledFeatures<'a>,
}

/// The whole message of a record.
pub fn message(record: &Record) -> Message<'_> {
    Message { ts: rfc3339(record.timestamp_ms), data: data(&record.draft) }
}

/// The message without its time.
pub fn data(draft: &Draft) -> Data<'_> {
    Data {
        service: &draft.layout.service,
        service_version: &draft.service_version,
        system: SystemBlock(draft),
        enabled_features: EnabledFeatures::of(draft),
    }
}

/// JSON in one line.
#[expect(clippy::expect_used, reason = "plain values under names, written to memory, cannot fail")]
pub fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it can be written as JSON")
}

/// The system block, with the keys of the draft's generation.
#[derive(Clone, Copy, Debug)]
pub struct SystemBlock<'a>(pub &'a Draft);

/// What the names of the block begin with where they are properties of an event.
const SYSTEM: &str = "system_";

impl SystemBlock<'_> {
    /// Writes its values as properties of an event.
    pub fn put_properties<M: SerializeMap>(self, map: &mut M) -> Result<(), M::Error> {
        self.put(map, 0)
    }

    /// Writes its values under their names, without the first so many bytes of each.
    fn put<M: SerializeMap>(self, map: &mut M, cut: usize) -> Result<(), M::Error> {
        let SystemBlock(Draft { system: host, id, layout, node_version, .. }) = self;
        map.serialize_entry(&"system_id"[cut..], id)?;
        map.serialize_entry(&"system_arch"[cut..], &host.arch)?;
        map.serialize_entry(&"system_platform"[cut..], &host.platform)?;
        map.serialize_entry(&"system_release"[cut..], &host.release)?;
        map.serialize_entry(&"system_distro"[cut..], &host.distro)?;
        map.serialize_entry(&"system_codename"[cut..], &host.codename)?;
        map.serialize_entry(&"system_virtual"[cut..], &host.is_virtual)?;
        if layout.docker_flag {
            map.serialize_entry(&"system_isRunningInDocker"[cut..], &host.docker)?;
        }
        map.serialize_entry(&"system_nodeVersion"[cut..], node_version)
    }
}

impl Serialize for SystemBlock<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.put(&mut map, SYSTEM.len())?;
        map.end()
    }
}

/// The features as flat properties, in the order of the layout.
pub fn properties(draft: &Draft) -> impl Iterator<Item = (&str, Shown<'_>)> {
    draft.layout.slots.iter().zip(&draft.values).filter_map(|(slot, value)| {
        let name = slot.property.as_deref()?;
        Some((name, shown(slot, value)?))
    })
}

/// A value as it stands in JSON.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Missing | Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Object => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

/// The value of a slot as it is reported, if it is.
pub fn shown<'a>(slot: &'a Slot, value: &'a Value) -> Option<Shown<'a>> {
    match value {
        Value::Missing => slot.missing.as_ref().filter(|value| **value != Value::Missing).map(Shown),
        value => Some(Shown(value)),
    }
}

/// `2021-04-16T13:43:02.467Z`: UTC, three digits of milliseconds, as JavaScript writes it.
pub fn rfc3339(timestamp_ms: i64) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    PRINTER.timestamp_to_string(&Timestamp::from_millisecond(timestamp_ms).unwrap_or_default())
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

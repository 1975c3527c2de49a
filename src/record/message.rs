//! The telemetry message in the tools' own form:
//! `{"ts", "data": {service, serviceVersion, system, enabledFeatures}}`.
//!
//! Why it borrows: a backlog can have hundreds of thousands of records, so a message is a view of
//! its record that is serialized directly, and no value is copied.
//!
//! Source: the public descriptions of Butler's and Butler SOS's telemetry, and the bodies that real
//! releases build. `forward::wire` builds PostHog's form from this one.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Draft, Record, Slot, Value};
use crate::clock;

mod features;

pub use features::EnabledFeatures;

#[derive(Clone, Debug, serde::Serialize)]
pub struct Message<'a> {
    /// The time of the record.
    pub ts: String,
    pub data: Data<'a>,
}

/// The message without its time: everything that is reported.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    service: &'a str,
    service_version: &'a str,
    system: SystemBlock<'a>,
    enabled_features: EnabledFeatures<'a>,
}

pub fn message(record: &Record) -> Message<'_> {
    Message { ts: clock::rfc3339(record.timestamp_ms), data: data(&record.draft) }
}

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

/// The prefix of the block's names where they are properties of an event.
const SYSTEM: &str = "system_";

impl SystemBlock<'_> {
    /// Writes the values as properties of an event.
    pub fn put_properties<M: SerializeMap>(self, map: &mut M) -> Result<(), M::Error> {
        self.put(map, 0)
    }

    /// Writes the values under their names, without the first `cut` bytes of each name.
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
pub fn properties(draft: &Draft) -> impl Iterator<Item = (&str, ReportedValue<'_>)> {
    draft.layout.slots.iter().zip(&draft.values).filter_map(|(slot, value)| {
        let name = slot.property.as_deref()?;
        Some((name, reported_value(slot, value)?))
    })
}

/// A value in its JSON form.
#[derive(Clone, Copy, Debug)]
pub struct ReportedValue<'a>(&'a Value);

impl Serialize for ReportedValue<'_> {
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

/// The value that the message has in a slot, if it has one.
pub fn reported_value<'a>(slot: &'a Slot, value: &'a Value) -> Option<ReportedValue<'a>> {
    match value {
        Value::Missing => slot.missing.as_ref().filter(|value| **value != Value::Missing).map(ReportedValue),
        value => Some(ReportedValue(value)),
    }
}

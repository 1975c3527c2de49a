//! PostHog's JSON: an event for each record, a request for each batch.
//!
//! Source: PostHog's ingestion, read from its code and measured against its capture server.
//! Requests go to `POST {host}/batch/`. `uuid`, `timestamp`, `distinct_id` and `event` decide
//! deduplication and are fixed when the record is written. `sent_at` is left out, since the server
//! would shift every timestamp by the time of the attempt. `historical_migration` marks old data
//! and applies to a whole request, so old and fresh records never share one.

use std::io::{self, Write};
use std::time::Duration;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::clock;
use crate::record::Record;
use crate::record::message::{self, EnabledFeatures, SystemBlock};
use crate::secret::{Secret, expose_to_worker};

/// The event name that the tools use.
const EVENT: &str = "telemetry sent";

/// What a request depends on besides its records.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub struct RequestOptions {
    /// The project's key, or a placeholder where the request is only shown.
    #[serde(serialize_with = "expose_to_worker")]
    pub api_key: Secret,
    /// The most bytes of a body before gzip. A single larger record is sent anyway; PostHog
    /// decides.
    pub batch_bytes: u64,
    /// Records older than this are sent as historical.
    pub historical_after: Duration,
    /// Whether PostHog may look up the sender's location.
    pub geoip: bool,
}

/// A record as PostHog takes it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Event<'a> {
    event: &'static str,
    distinct_id: &'a str,
    uuid: &'a str,
    timestamp: String,
    properties: Properties<'a>,
}

#[derive(Clone, Copy, Debug)]
struct Properties<'a> {
    record: &'a Record,
    geoip: bool,
}

/// The nested form of the telemetry, for people who read an event in PostHog.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Nested<'a> {
    system: SystemBlock<'a>,
    enabled_features: EnabledFeatures<'a>,
}

pub fn event(record: &Record, geoip: bool) -> Event<'_> {
    Event {
        event: EVENT,
        distinct_id: &record.draft.id,
        uuid: &record.uuid,
        timestamp: clock::rfc3339(record.timestamp_ms),
        properties: Properties { record, geoip },
    }
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Properties { record, geoip } = self;
        let draft = &record.draft;
        let system = SystemBlock(draft);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("service", &draft.layout.service)?;
        map.serialize_entry("serviceVersion", &draft.service_version)?;
        system.put_properties(&mut map)?;
        for (name, value) in message::properties(draft) {
            map.serialize_entry(name, &value)?;
        }
        let nested = Nested { system, enabled_features: EnabledFeatures::of(draft) };
        map.serialize_entry("telemetry_json", &nested)?;
        map.serialize_entry("$lib", "salver")?;
        map.serialize_entry("$lib_version", env!("CARGO_PKG_VERSION"))?;
        if !geoip {
            map.serialize_entry("$geoip_disable", &true)?;
            map.serialize_entry("$ip", &())?;
        }
        map.serialize_entry("salver_reason", record.reason.as_str())?;
        map.serialize_entry("salver_recordedAt", &clock::rfc3339(record.timestamp_ms))?;
        map.serialize_entry("salver_agentVersion", &record.agent_version)?;
        map.end()
    }
}

/// Writes one request with as many of the records as fit into it, and returns their number. Without
/// records, the batch is empty. Only one event at a time is in memory.
pub fn write<'r>(
    records: impl IntoIterator<Item = &'r Record>,
    request: &RequestOptions,
    now_ms: i64,
    out: &mut dyn Write,
) -> io::Result<usize> {
    let age = i64::try_from(request.historical_after.as_millis()).unwrap_or(i64::MAX);
    let is_historical = |record: &Record| record.timestamp_ms < now_ms.saturating_sub(age);
    let mut records = records.into_iter().peekable();
    let historical = records.peek().is_some_and(|record| is_historical(record));
    let flag = if historical { ",\"historical_migration\":true" } else { "" };
    let head = format!("{{\"api_key\":{}{flag},\"batch\":[", message::line(&request.api_key.expose()));
    out.write_all(head.as_bytes())?;
    let (mut events, mut bytes) = (0, head.len());
    let mut event_json = Vec::new();
    for record in records.take_while(|record| is_historical(record) == historical) {
        event_json.clear();
        serde_json::to_writer(&mut event_json, &event(record, request.geoip))?;
        bytes += event_json.len() + 1;
        if events > 0 {
            // With the two bytes that close the request.
            if (bytes + 2) as u64 > request.batch_bytes {
                break;
            }
            out.write_all(b",")?;
        }
        out.write_all(&event_json)?;
        events += 1;
    }
    out.write_all(b"]}")?;
    Ok(events)
}

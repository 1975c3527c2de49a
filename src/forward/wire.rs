//! PostHog's JSON: an event for each record, a request for each batch.
//!
//! Source: `facts` of PostHog's ingestion, read from its source and measured against its capture server: `POST {host}/batch/`,
//! `uuid`, `timestamp`, `distinct_id` and `event` decide deduplication and are fixed when the record is written. There is no
//! `sent_at`: with it the server shifts every timestamp by the time of the attempt. `historical_migration` is for old data and
//! holds for a whole request, so old and fresh records never share one.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::record::Record;
use crate::record::message;
use crate::spool::Queued;

/// The event name that the tools use.
const EVENT: &str = "telemetry sent";

/// What a request depends on besides its records.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The project's key, or what is shown in its place.
    pub api_key: String,
    /// Most bytes of a body before gzip. A single record may exceed it: PostHog then says so.
    pub batch_bytes: u64,
    /// Records older than this go out as historical.
    pub historical_after: Duration,
    /// Let PostHog look up where the request comes from.
    pub geoip: bool,
}

/// The body of a request, and how many of the records it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// JSON.
    pub json: Vec<u8>,
    /// So many of the records, from the first on.
    pub events: usize,
}

/// The event of a record.
pub fn event(record: &Record, geoip: bool) -> Json {
    json!({
        "event": EVENT,
        "distinct_id": record.draft.id,
        "uuid": record.uuid,
        "timestamp": message::rfc3339(record.timestamp_ms),
        "properties": properties(record, geoip),
    })
}

fn properties(record: &Record, geoip: bool) -> Json {
    let draft = &record.draft;
    let mut properties = Map::new();
    let mut put = |name: &str, value: Json| _ = properties.insert(name.to_owned(), value);
    let system = message::system(draft);
    put("service", draft.layout.service.as_str().into());
    put("serviceVersion", draft.service_version.as_str().into());
    for (key, value) in system.as_object().into_iter().flatten() {
        put(&format!("system_{key}"), value.clone());
    }
    for (name, value) in message::properties(draft) {
        put(name, value);
    }
    put("telemetry_json", json!({ "system": system, "enabledFeatures": message::enabled_features(draft) }));
    put("$lib", "salver".into());
    put("$lib_version", env!("CARGO_PKG_VERSION").into());
    if !geoip {
        put("$geoip_disable", true.into());
        put("$ip", Json::Null);
    }
    put("salver_reason", record.reason.as_str().into());
    put("salver_recordedAt", message::rfc3339(record.timestamp_ms).into());
    put("salver_agentVersion", record.agent_version.as_str().into());
    Json::Object(properties)
}

/// The request for as many of the records as belong into one, from the first on. Of no records it makes an empty batch.
pub fn body(records: &[Queued], shape: &Shape, now_ms: i64) -> Body {
    let age = i64::try_from(shape.historical_after.as_millis()).unwrap_or(i64::MAX);
    let is_historical = |queued: &Queued| queued.record.timestamp_ms < now_ms.saturating_sub(age);
    let historical = records.first().is_some_and(is_historical);
    let mut json = format!("{{\"api_key\":{}", json!(shape.api_key));
    if historical {
        json.push_str(",\"historical_migration\":true");
    }
    json.push_str(",\"batch\":[");
    let mut events = 0;
    for queued in records.iter().take_while(|queued| is_historical(queued) == historical) {
        let event = event(&queued.record, shape.geoip).to_string();
        if events > 0 && (json.len() + event.len() + 3) as u64 > shape.batch_bytes {
            break;
        }
        if events > 0 {
            json.push(',');
        }
        json.push_str(&event);
        events += 1;
    }
    json.push_str("]}");
    Body { json: json.into_bytes(), events }
}

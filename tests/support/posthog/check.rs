//! What PostHog's capture server accepts, as far as a forwarder can get it wrong; its words for the
//! rest.

use std::{collections::HashSet, io::Read};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::Request;

/// PostHog's limit on a decoded body.
const MAX_BODY: u64 = 20 * 1024 * 1024;
/// An event of about this size is refused (400 in 2024, 413 since).
const MAX_EVENT: usize = 1_000_000;

/// A status and the words for refusing a whole request.
pub type Refusal = (u16, String);

fn refuse<T>(status: u16, words: &str) -> Result<T, Refusal> {
    Err((status, words.to_owned()))
}

/// The JSON of a request that goes to the right place in the right form.
pub fn body(request: &Request) -> Result<Value, Refusal> {
    if request.path.trim_end_matches('/') != "/batch" {
        return refuse(404, "");
    }
    if request.method != "POST" {
        return refuse(405, "");
    }
    let json = decode(request)?;
    serde_json::from_slice(&json).or_else(|_| refuse(400, "failed to parse request: not JSON"))
}

/// The events of a body, all of which PostHog would store. One bad event refuses them all.
pub fn events(body: &Value, poison: &HashSet<String>) -> Result<Vec<Value>, Refusal> {
    key(&body["api_key"]).map_err(|words| (401, format!("API key is not valid: {words}")))?;
    let batch = body["batch"].as_array().cloned().unwrap_or_default();
    if batch.is_empty() {
        return refuse(400, "failed to parse request: submitted an empty batch");
    }
    for event in &batch {
        if event.to_string().len() >= MAX_EVENT {
            return refuse(413, "event too big");
        }
        fields(event).map_err(|words| (400, format!("failed to parse request: {words}")))?;
        if event["uuid"].as_str().is_some_and(|uuid| poison.contains(uuid)) {
            return refuse(400, "failed to parse request: poison");
        }
    }
    Ok(batch)
}

/// The body without gzip. The magic bytes decide, not the header; other encodings are not
/// understood.
pub fn decode(request: &Request) -> Result<Vec<u8>, Refusal> {
    let mut json = Vec::new();
    let read = if request.body.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(&request.body[..]).take(MAX_BODY + 1).read_to_end(&mut json)
    } else if request.headers.contains_key("content-encoding") {
        return refuse(400, "failed to decode request: unsupported encoding");
    } else {
        request.body.as_slice().take(MAX_BODY + 1).read_to_end(&mut json)
    };
    match read {
        Err(_) => refuse(400, "failed to decode request: corrupt gzip"),
        Ok(length) if length as u64 > MAX_BODY => refuse(413, "request is too large"),
        Ok(_) => Ok(json),
    }
}

fn key(key: &Value) -> Result<(), &'static str> {
    match key.as_str().unwrap_or_default() {
        "" => Err("empty"),
        key if !key.is_ascii() => Err("not_ascii"),
        key if key.len() > 64 => Err("too_long"),
        key if key.starts_with("phx_") => Err("personal_api_key"),
        _ => Ok(()),
    }
}

fn fields(event: &Value) -> Result<(), &'static str> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    if text("event").is_empty() {
        return Err("missing event name");
    }
    if text("distinct_id").is_empty() {
        return Err("event submitted without a distinct_id");
    }
    if uuid::Uuid::try_parse(text("uuid")).is_err() {
        return Err("invalid uuid");
    }
    if text("timestamp").parse::<jiff::Timestamp>().is_err() {
        return Err("invalid timestamp");
    }
    if !event["properties"].is_object() {
        return Err("missing properties");
    }
    Ok(())
}

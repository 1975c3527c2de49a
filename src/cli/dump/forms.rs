//! The forms of a dump: a table for eyes, JSON and CSV for programs.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value as Json, json};

use super::source::Source;
use super::{Arguments, Format, Shape};
use crate::record::message;
use crate::spool::Queued;

/// Writes all records that are wanted.
pub(super) fn write_all(
    source: &mut Source,
    arguments: &Arguments,
    render: &dyn Fn(&Queued) -> Json,
    out: &mut dyn Write,
) -> Result<()> {
    match arguments.format {
        Format::Ndjson => source.each(arguments, &mut |queued| Ok(writeln!(out, "{}", render(queued))?)),
        Format::Json => {
            let mut first = true;
            out.write_all(b"[")?;
            source.each(arguments, &mut |queued| {
                let comma = if std::mem::take(&mut first) { "\n" } else { ",\n" };
                Ok(write!(out, "{comma}{}", render(queued))?)
            })?;
            Ok(out.write_all(if first { b"]\n" } else { b"\n]\n" })?)
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(COLUMNS.iter().chain(&["data"]))?;
            source.each(arguments, &mut |queued| {
                let data = match arguments.shape {
                    Shape::Record => message::data(&queued.record.draft),
                    Shape::Event => render(queued),
                };
                Ok(csv.write_record(columns(queued).into_iter().chain([data.to_string()]))?)
            })?;
            Ok(csv.flush()?)
        }
        Format::Table => {
            // Fixed widths, since a table that fits its content would have to hold all of it.
            let line = |cells: [&str; 7]| {
                let [seq, time, instance, service, version, reason, state] = cells;
                format!(
                    "{seq:>8}  {time:<24}  {instance:<24}  {service:<10}  {version:<9}  {reason:<8}  {state}"
                )
            };
            writeln!(out, "{}", line(["seq", "ts", "instance", "service", "version", "reason", "state"]))?;
            source.each(arguments, &mut |queued| {
                let cells = columns(queued);
                let [seq, time, _, _, instance, service, version, reason, state, _] = &cells;
                Ok(writeln!(out, "{}", line([seq, time, instance, service, version, reason, state]))?)
            })
        }
    }
}

const COLUMNS: [&str; 10] =
    ["seq", "ts", "uuid", "id", "instance", "service", "serviceVersion", "reason", "state", "attempts"];

fn columns(queued: &Queued) -> [String; 10] {
    let record = &queued.record;
    [
        queued.seq.to_string(),
        message::rfc3339(record.timestamp_ms),
        record.uuid.clone(),
        record.draft.id.clone(),
        record.instance.clone(),
        record.draft.layout.service.clone(),
        record.draft.service_version.clone(),
        record.reason.as_str().to_owned(),
        state(queued).to_owned(),
        queued.attempts.to_string(),
    ]
}

fn state(queued: &Queued) -> &'static str {
    if queued.dead.is_some() { "dead" } else { "queued" }
}

/// The message with what the spool knows of it.
pub(super) fn with_spool(queued: &Queued) -> Json {
    let record = &queued.record;
    let mut spool = Map::new();
    spool.insert("seq".into(), queued.seq.into());
    spool.insert("uuid".into(), record.uuid.as_str().into());
    spool.insert("instance".into(), record.instance.as_str().into());
    spool.insert("reason".into(), record.reason.as_str().into());
    spool.insert("state".into(), state(queued).into());
    spool.insert("attempts".into(), queued.attempts.into());
    let letter = queued.dead.as_ref();
    if let Some(words) = letter.and_then(|letter| letter.words.as_deref()) {
        spool.insert("words".into(), words.into());
    }
    if let Some(at_ms) = letter.and_then(|letter| letter.at_ms) {
        spool.insert("deadSince".into(), message::rfc3339(at_ms).into());
    }
    let mut object = message::message(record);
    object["spool"] = json!(spool);
    object
}

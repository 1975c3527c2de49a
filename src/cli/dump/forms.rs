//! The forms of a dump: a table for eyes, JSON and CSV for programs.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::{Arguments, DumpFormat, RecordForm};
use crate::clock;
use crate::record::message::{self, Data, Message};
use crate::spool::{Queued, SpoolReader};

/// Writes all records that are wanted.
pub(super) fn write_all(
    spool: &mut SpoolReader,
    arguments: &Arguments,
    render: &dyn Fn(&Queued) -> String,
    out: &mut dyn Write,
) -> Result<()> {
    match arguments.format {
        DumpFormat::Ndjson => arguments.each(spool, &mut |queued| Ok(writeln!(out, "{}", render(queued))?)),
        DumpFormat::Json => {
            let mut first = true;
            out.write_all(b"[")?;
            arguments.each(spool, &mut |queued| {
                let comma = if std::mem::take(&mut first) { "\n" } else { ",\n" };
                Ok(write!(out, "{comma}{}", render(queued))?)
            })?;
            Ok(out.write_all(if first { b"]\n" } else { b"\n]\n" })?)
        }
        DumpFormat::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(COLUMNS.iter().chain(&["data"]))?;
            arguments.each(spool, &mut |queued| {
                let data = match arguments.form {
                    RecordForm::Record => message::line(&message::data(&queued.record.draft)),
                    RecordForm::Event => render(queued),
                };
                Ok(csv.write_record(columns(queued).into_iter().chain([data]))?)
            })?;
            Ok(csv.flush()?)
        }
        DumpFormat::Table => {
            // Fixed widths, since a table that fits its content would have to hold all of it.
            let line = |cells: [&str; 7]| {
                let [seq, time, instance, service, version, reason, state] = cells;
                format!(
                    "{seq:>8}  {time:<24}  {instance:<24}  {service:<10}  {version:<9}  {reason:<8}  {state}"
                )
            };
            writeln!(out, "{}", line(["seq", "ts", "instance", "service", "version", "reason", "state"]))?;
            arguments.each(spool, &mut |queued| {
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
        clock::rfc3339(record.timestamp_ms),
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
#[derive(Serialize)]
pub(super) struct WithSpool<'a> {
    ts: String,
    data: Data<'a>,
    spool: Known<'a>,
}

/// What the spool knows of a record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Known<'a> {
    seq: u64,
    uuid: &'a str,
    instance: &'a str,
    reason: &'static str,
    state: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_since: Option<String>,
}

/// The message of a record with what the spool knows of it.
pub(super) fn with_spool(queued: &Queued) -> WithSpool<'_> {
    let record = &queued.record;
    let letter = queued.dead.as_ref();
    let known = Known {
        seq: queued.seq,
        uuid: &record.uuid,
        instance: &record.instance,
        reason: record.reason.as_str(),
        state: state(queued),
        attempts: queued.attempts,
        words: letter.and_then(|letter| letter.words.as_deref()),
        dead_since: letter.and_then(|letter| letter.at_ms).map(clock::rfc3339),
    };
    let Message { ts, data } = message::message(record);
    WithSpool { ts, data, spool: known }
}

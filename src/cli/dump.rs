//! `salver dump`: the queue, oldest first.
//!
//! The spool is opened for a portion at a time and closed while the portion is written, so a long dump (or a reader that
//! pauses) never holds up a record, and a million records need no more memory than ten. What is recorded after the dump
//! began is not part of it.
//!
//! A spool that cannot be written to is shown as its witness knows it, without opening it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Map, Value as Json, json};

use super::context::Context;
use super::exit::Ended;
use super::output;
use super::times::{self, Time};
use crate::clock;
use crate::forward::wire;
use crate::record::message;
use crate::spool::{Queued, Spool, SpoolError, SpoolFolder, SpoolView};

/// So many records are read at a time.
const PORTION: usize = 500;

/// Which records, and in which form.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write to this file instead of stdout
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// table for reading, json (one array), ndjson (one object a line) or csv
    #[arg(long, default_value = "table")]
    format: Format,

    /// Waiting records, dead letters, or both
    #[arg(long, default_value = "queued")]
    state: Wanted,

    /// Only records of this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,

    /// Only records of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,

    /// Only records of this time or later: RFC 3339, or an age such as 30d
    #[arg(long, value_name = "TIME", value_parser = times::argument)]
    since: Option<Time>,

    /// Only records before this time
    #[arg(long, value_name = "TIME", value_parser = times::argument)]
    until: Option<Time>,

    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// The record as it is stored, or the event as it would be sent
    #[arg(long = "as", value_name = "SHAPE", default_value = "record")]
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    Queued,
    Dead,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Record,
    Event,
}

/// Where the records come from.
enum Source {
    /// A spool that is opened for each portion.
    Folder(SpoolFolder),
    /// One that cannot be written to.
    View(Box<SpoolView>),
}

impl Source {
    /// Finds out before the first byte of output: a spool that cannot be read never empties a file that was there.
    fn of(folder: SpoolFolder) -> Result<Source, SpoolError> {
        Ok(match folder.open_existing(clock::now_ms()).and_then(Spool::close) {
            Ok(()) => Source::Folder(folder),
            Err(error) => Source::View(Box::new(SpoolView::instead_of(&folder, error)?)),
        })
    }
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let mut source = Source::of(Context::folder(&settings))?;
    if let Source::View(view) = &source {
        if arguments.state == Wanted::Dead {
            bail!(
                "the spool is read-only ({}), and which of its records are dead letters is not known without writing; \
                 `dump --state all` shows them among the others",
                view.cause()
            );
        }
        context.say_read_only(&settings, view);
    }
    let render = |queued: &Queued| match arguments.shape {
        Shape::Record => with_spool(queued),
        Shape::Event => wire::event(&queued.record, settings.posthog.geoip),
    };
    match &arguments.file {
        Some(path) => {
            let named = || format!("cannot write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(named)?);
            write_all(&mut source, &arguments, &render, &mut file)?;
            file.flush().with_context(named)?;
        }
        None => {
            let mut out = output::stdout();
            write_all(&mut source, &arguments, &render, &mut out)?;
            out.flush()?;
        }
    }
    if let Source::View(view) = &source {
        view.doubts().iter().for_each(|doubt| eprintln!("salver: {doubt}"));
    }
    Ok(Ended::Done)
}

fn write_all(
    source: &mut Source,
    arguments: &Arguments,
    render: &dyn Fn(&Queued) -> Json,
    out: &mut dyn Write,
) -> Result<()> {
    match arguments.format {
        Format::Ndjson => each(source, arguments, &mut |queued| Ok(writeln!(out, "{}", render(queued))?)),
        Format::Json => {
            let mut first = true;
            out.write_all(b"[")?;
            each(source, arguments, &mut |queued| {
                let comma = if std::mem::take(&mut first) { "\n" } else { ",\n" };
                Ok(write!(out, "{comma}{}", render(queued))?)
            })?;
            Ok(out.write_all(if first { b"]\n" } else { b"\n]\n" })?)
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(COLUMNS.iter().chain(&["data"]))?;
            each(source, arguments, &mut |queued| {
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
            each(source, arguments, &mut |queued| {
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
fn with_spool(queued: &Queued) -> Json {
    let record = &queued.record;
    let mut spool = Map::new();
    spool.insert("seq".into(), queued.seq.into());
    spool.insert("uuid".into(), record.uuid.as_str().into());
    spool.insert("instance".into(), record.instance.as_str().into());
    spool.insert("reason".into(), record.reason.as_str().into());
    spool.insert("state".into(), state(queued).into());
    spool.insert("attempts".into(), queued.attempts.into());
    if let Some(letter) = &queued.dead {
        spool.insert("words".into(), letter.words.as_str().into());
        spool.insert("deadSince".into(), message::rfc3339(letter.at_ms).into());
    }
    let mut object = message::message(record);
    object["spool"] = json!(spool);
    object
}

/// All records that are wanted.
fn each(
    source: &mut Source,
    arguments: &Arguments,
    write: &mut dyn FnMut(&Queued) -> Result<()>,
) -> Result<()> {
    match source {
        Source::Folder(folder) => each_portion(folder, arguments, write),
        Source::View(view) => {
            let mut left = arguments.limit.unwrap_or(u64::MAX);
            view.each(|queued| {
                if left > 0 && arguments.wants(&queued) {
                    write(&queued)?;
                    left -= 1;
                }
                Ok(left > 0)
            })
        }
    }
}

/// As above, portion by portion: the spool is open while one is read, and closed while it is written.
fn each_portion(
    folder: &SpoolFolder,
    arguments: &Arguments,
    write: &mut dyn FnMut(&Queued) -> Result<()>,
) -> Result<()> {
    let mut from = 0;
    let mut until_seq = None;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PORTION).min(PORTION);
        let mut spool = folder.open_existing(clock::now_ms())?;
        let end = *until_seq.get_or_insert(spool.next_seq());
        let mut portion = Vec::new();
        let mut read = 0;
        spool.each(from, |queued| {
            if queued.seq >= end {
                return false;
            }
            from = queued.seq + 1;
            read += 1;
            if arguments.wants(&queued) {
                portion.push(queued);
            }
            portion.len() < most && read < PORTION * 8
        })?;
        spool.close()?;
        if read == 0 {
            break;
        }
        left -= portion.len() as u64;
        portion.iter().try_for_each(&mut *write)?;
    }
    Ok(())
}

impl Arguments {
    fn wants(&self, queued: &Queued) -> bool {
        let record = &queued.record;
        let state = match self.state {
            Wanted::All => true,
            Wanted::Queued => queued.dead.is_none(),
            Wanted::Dead => queued.dead.is_some(),
        };
        state
            && self.instance.as_ref().is_none_or(|name| *name == record.instance)
            && self.service.as_ref().is_none_or(|name| *name == record.draft.layout.service)
            && self.since.is_none_or(|since| record.timestamp_ms >= since.0)
            && self.until.is_none_or(|until| record.timestamp_ms < until.0)
    }
}

//! `salver dump`: the queue, oldest first.
//!
//! Where the records come from, and how little of the spool's time that takes, stands in source.rs; the forms in which they are
//! shown in forms.rs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::context::Context;
use super::exit::Ended;
use super::output;
use super::times::{self, Time};
use crate::forward::wire;
use crate::record::message;
use crate::spool::Queued;
use crate::wiring;
use source::Source;

mod forms;
mod source;

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

pub fn run(context: &Context, arguments: Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let mut source = Source::of(wiring::spool_folder(&settings))?;
    if let Source::View(view) = &source {
        if arguments.state == Wanted::Dead && !view.knows_dead() {
            bail!(
                "the spool cannot be written to ({}) and is without its witness, so which of its records are dead letters is not known; \
                 `dump --state all` shows them among the others",
                view.cause()
            );
        }
        context.say_read_only(&settings, view);
    }
    let render = |queued: &Queued| match arguments.shape {
        Shape::Record => message::line(&forms::with_spool(queued)),
        Shape::Event => message::line(&wire::event(&queued.record, settings.posthog.geoip)),
    };
    match &arguments.file {
        Some(path) => {
            let named = || format!("cannot write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(named)?);
            forms::write_all(&mut source, &arguments, &render, &mut file)?;
            file.flush().with_context(named)?;
        }
        None => {
            let mut out = output::stdout();
            forms::write_all(&mut source, &arguments, &render, &mut out)?;
            out.flush()?;
        }
    }
    if let Source::View(view) = &source {
        view.doubts().iter().for_each(|doubt| eprintln!("salver: {doubt}"));
    }
    Ok(Ended::Done)
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

//! `salver dump`: the queue, oldest first.
//!
//! Records are read segment by segment while they are written, so a million need no more memory
//! than a few thousand. The forms in which they are shown are in forms.rs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::context::Context;
use super::exit::Ended;
use super::output;
use super::times::{self, Time};
use crate::clock;
use crate::forward::wire;
use crate::record::message;
use crate::spool::{Queued, SpoolReader};
use crate::wiring;

mod forms;

/// Which records, and in which form.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write to this file instead of stdout
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// table for reading, json (one array), ndjson (one object a line) or csv
    #[arg(long, default_value = "table")]
    format: DumpFormat,

    /// Waiting records, dead letters, or both
    #[arg(long, default_value = "queued")]
    state: StateFilter,

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

    /// Print at most N records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// The record as it is stored, or the event as it would be sent
    #[arg(long = "as", value_name = "FORM", default_value = "record")]
    form: RecordForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DumpFormat {
    Table,
    Json,
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateFilter {
    Queued,
    Dead,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RecordForm {
    Record,
    Event,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    // Before the first byte of output: a spool that cannot be read never empties a file that was
    // there.
    let mut spool = wiring::spool_folder(&settings).read(clock::now_ms())?;
    let render = |queued: &Queued| match arguments.form {
        RecordForm::Record => message::line(&forms::with_spool(queued)),
        RecordForm::Event => message::line(&wire::event(&queued.record, settings.posthog.geoip)),
    };
    match &arguments.file {
        Some(path) => {
            let named = || format!("cannot write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(named)?);
            forms::write_all(&mut spool, &arguments, &render, &mut file)?;
            file.flush().with_context(named)?;
        }
        None => {
            let mut out = output::stdout();
            forms::write_all(&mut spool, &arguments, &render, &mut out)?;
            out.flush()?;
        }
    }
    spool.doubts().iter().for_each(output::remark);
    Ok(Ended::Done)
}

impl Arguments {
    /// Hands on all records that are wanted, oldest first.
    fn each(&self, spool: &mut SpoolReader, write: &mut dyn FnMut(&Queued) -> Result<()>) -> Result<()> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let ended = spool.each(0, left, |queued| {
            if self.wants(&queued) {
                if let Err(error) = write(&queued) {
                    return ControlFlow::Break(Err(error));
                }
                left -= 1;
            }
            if left == 0 { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
        })?;
        ended.break_value().unwrap_or(Ok(()))
    }

    fn wants(&self, queued: &Queued) -> bool {
        let record = &queued.record;
        let state = match self.state {
            StateFilter::All => true,
            StateFilter::Queued => queued.dead.is_none(),
            StateFilter::Dead => queued.dead.is_some(),
        };
        state
            && self.instance.as_ref().is_none_or(|name| *name == record.instance)
            && self.service.as_ref().is_none_or(|name| *name == record.draft.layout.service)
            && self.since.is_none_or(|since| record.timestamp_ms >= since.0)
            && self.until.is_none_or(|until| record.timestamp_ms < until.0)
    }
}

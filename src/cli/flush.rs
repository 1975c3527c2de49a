//! `salver flush`: forward what waits, now.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write, stderr};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::context::{self, Context};
use super::exit::Ended;
use super::output::{self, Format};
use super::times::shown;
use crate::clock;
use crate::collect::{Collector, DO_NOT_TRACK};
use crate::forward::flush::{self, Caller, Line, Report};
use crate::forward::plan::Limits;
use crate::forward::verdict::Outcome;
use crate::forward::wire;
use crate::forwarder::Consent;
use crate::settings::Settings;
use crate::spool::{Queued, SpoolError, SpoolFolder, is_ahead};
use crate::stop::Stop;
use crate::target::Target;

/// How much to send, and how to report.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Send at most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Put dead letters back into the queue first
    #[arg(long)]
    retry_dead: bool,

    /// Send nothing; print the bodies that would be sent, one a line, without the project key
    #[arg(long)]
    dry_run: bool,

    /// text or json
    #[arg(long, default_value = "text")]
    format: Format,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let folder = Context::folder(&settings);
    let mut targets = Target::of(&settings)?;
    let collector = Context::collector(&settings)?;
    if arguments.dry_run {
        return dry_run(&settings, &folder, &collector, &mut targets, arguments);
    }
    let (endpoint, shape) = Context::endpoint(&settings)?;
    if collector.do_not_track() {
        eprintln!("salver: {DO_NOT_TRACK}, so nothing is sent; every record is kept");
        return Ok(Ended::NothingCollected);
    }
    let mut spool = folder.open_to_release(clock::now_ms())?;
    if arguments.retry_dead {
        let revived = spool.revive_dead()?;
        if !context.quiet {
            eprintln!("{revived} dead letters are back in the queue.");
        }
    }
    let waiting = spool.counts()?.queued;
    spool.close()?;

    let limits = Limits {
        batch_events: settings.flush.batch_events,
        patience: settings.flush.patience,
        records: arguments.limit,
    };
    let bar = progress_bar(context, waiting.min(arguments.limit.unwrap_or(u64::MAX)));
    let line = Line { folder: &folder, endpoint: &endpoint, shape, limits };
    let consent = Consent { collector: &collector, folder: &folder, targets: &mut targets };
    let report = flush::run(&line, &mut Shown { consent, bar: &bar }, &Stop::default())?;
    bar.finish_and_clear();
    show(&report, arguments.format)?;
    Ok(match report.outcome {
        Outcome::Drained | Outcome::Empty | Outcome::Limit => Ended::Done,
        Outcome::Unreachable | Outcome::Refused | Outcome::Throttled => Ended::Upstream,
    })
}

/// Draws on a terminal only.
fn progress_bar(context: &Context, records: u64) -> ProgressBar {
    if context.quiet || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} records, {per_sec}, {elapsed}");
    ProgressBar::new(records).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Shown<'a> {
    consent: Consent<'a>,
    bar: &'a ProgressBar,
}

impl Caller for Shown<'_> {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        self.consent.held()
    }

    fn progress(&mut self, sent: u64) {
        self.bar.set_position(sent);
    }
}

fn show(report: &Report, format: Format) -> Result<()> {
    match format {
        Format::Json => output::print_json(&json!({
            "sent": report.sent,
            "batches": report.batches,
            "wireBytes": report.wire_bytes,
            "deadLettered": report.dead_lettered,
            "remaining": report.remaining,
            "outcome": report.outcome,
        }))?,
        Format::Text => {
            let mut out = output::stdout();
            write!(
                out,
                "{}: {} records delivered in {} requests",
                report.outcome, report.sent, report.batches
            )?;
            if report.dead_lettered > 0 {
                write!(
                    out,
                    ", {} set apart as dead letters (see `salver dump --state dead`)",
                    report.dead_lettered
                )?;
            }
            writeln!(out, ", {} waiting", report.remaining)?;
            out.flush()?;
        }
    }
    if let Some(why) = &report.why {
        eprintln!("salver: {why}");
    }
    if let Some(until_ms) = report.ahead_until_ms {
        let until = shown(Some(until_ms));
        eprintln!(
            "salver: what was stamped in the future, by a clock that was wrong, waits; the first until {until}"
        );
    }
    Ok(())
}

/// The bodies that a flush would send if all went well.
fn dry_run(
    settings: &Settings,
    folder: &SpoolFolder,
    collector: &Collector,
    targets: &mut [Target],
    arguments: &Arguments,
) -> Result<Ended> {
    let held: BTreeSet<String> = collector.held(folder, targets)?.into_iter().collect();
    let shape = context::shape(settings, "***");
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut from = 0;
    let mut out = output::stdout();
    loop {
        let most = settings.flush.batch_events.min(usize::try_from(left).unwrap_or(usize::MAX));
        let now_ms = clock::now_ms();
        let mut spool = folder.open_existing(now_ms)?;
        let mut batch: Vec<Queued> = Vec::new();
        spool.each(from, |queued| {
            let ahead = is_ahead(queued.record.timestamp_ms, now_ms);
            let sendable = !ahead && (queued.dead.is_none() || arguments.retry_dead);
            if batch.len() < most && sendable && !held.contains(&queued.record.instance) {
                batch.push(queued);
            }
            batch.len() < most
        })?;
        spool.close()?;
        if batch.is_empty() {
            break;
        }
        let events = wire::write(&batch, &shape, clock::now_ms(), &mut out)?;
        writeln!(out)?;
        left -= events as u64;
        from = batch[events - 1].seq + 1;
    }
    out.flush()?;
    Ok(Ended::Done)
}

//! `salver flush`: forward what waits, now.

use anyhow::Result;

use super::context::Context;
use super::exit::Ended;
use super::output::Format;
use crate::clock;
use crate::collect::DO_NOT_TRACK;
use crate::forward::flush::{self, Line};
use crate::forward::verdict::Outcome;
use crate::forwarder::Consent;
use crate::wiring;
use progress::{Progress, Shown};

mod dry_run;
mod progress;
mod show;

/// How much to send, and how to report.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Send at most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Put dead letters back into the queue first
    #[arg(long)]
    retry_dead: bool,

    /// Send nothing; print the bodies that would be sent, one a line, with the project key hidden
    #[arg(long)]
    dry_run: bool,

    /// Show the project key in a dry run
    #[arg(long, requires = "dry_run")]
    reveal: bool,

    /// text or json
    #[arg(long, default_value = "text")]
    format: Format,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let folder = wiring::spool_folder(&settings);
    let mut targets = wiring::targets(&settings);
    let collector = wiring::collector(&settings)?;
    if arguments.dry_run {
        return dry_run::run(&settings, &folder, &collector, &mut targets, arguments);
    }
    let (endpoint, shape) = wiring::endpoint(&settings)?;
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

    let to_send = waiting.min(arguments.limit.unwrap_or(u64::MAX));
    let mut progress = Progress::of(context, arguments.format, to_send);
    let line = Line {
        folder: &folder,
        endpoint: &endpoint,
        shape,
        limits: wiring::flush_limits(&settings, arguments.limit),
    };
    let consent = Consent { collector: &collector, folder: &folder, targets: &mut targets };
    let report = flush::run(&line, &mut Shown { consent, progress: &mut progress });
    progress.clear();
    let report = report?;
    show::report(&report, arguments.format, context.quiet, &settings)?;
    Ok(match report.outcome {
        Outcome::Drained | Outcome::Empty | Outcome::Limit => Ended::Done,
        Outcome::Unreachable | Outcome::Refused | Outcome::Throttled => Ended::Upstream,
    })
}

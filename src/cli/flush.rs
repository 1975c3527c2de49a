//! `salver flush`: sends the records in the queue now.

use anyhow::Result;

use super::context::Context;
use super::exit::Ended;
use super::output::{Format, remark, say};
use crate::clock;
use crate::collect::DO_NOT_TRACK;
use crate::forward::flush::{self, FlushTarget};
use crate::service::forwarder::ConsentCheck;
use crate::wiring;
use progress::{Progress, ProgressHooks};

mod dry_run;
mod progress;
mod show;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Send at most N records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Put dead letters back into the queue first
    #[arg(long)]
    retry_dead: bool,

    /// Send nothing; print the requests that would be sent, one a line, with the project key hidden
    #[arg(long)]
    dry_run: bool,

    /// Show the project key in a dry run
    #[arg(long, requires = "dry_run")]
    reveal: bool,

    /// The form of the result
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
    let (endpoint, request) = wiring::endpoint(&settings)?;
    if collector.do_not_track() {
        remark(format_args!("{DO_NOT_TRACK}, so nothing is sent; every record is kept"));
        return Ok(Ended::NothingCollected);
    }
    let mut spool = folder.open_to_release(clock::now_ms())?;
    if arguments.retry_dead {
        let revived = spool.revive_dead();
        if !context.quiet {
            say(&format!("{revived} dead letters are back in the queue."));
        }
    }
    let waiting = spool.counts()?.queued;
    spool.close()?;

    let to_send = waiting.min(arguments.limit.unwrap_or(u64::MAX));
    let mut progress = Progress::of(context, arguments.format, to_send);
    let target = FlushTarget {
        folder: &folder,
        endpoint: &endpoint,
        request,
        limits: wiring::flush_limits(&settings, arguments.limit),
    };
    let consent = ConsentCheck { collector: &collector, folder: &folder, targets: &mut targets };
    let report = flush::run(&target, &mut ProgressHooks { consent, progress: &mut progress });
    progress.clear();
    let report = report?;
    show::report(&report, arguments.format, context.quiet, &settings)?;
    Ok(if report.outcome.is_failure() { Ended::Upstream } else { Ended::Done })
}

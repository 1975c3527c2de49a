//! `salver flush --dry-run`: prints the requests of a flush that PostHog accepts, to the byte, and
//! sends nothing.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Result;

use super::Arguments;
use crate::cli::context;
use crate::cli::exit::Ended;
use crate::cli::output;
use crate::clock;
use crate::collect::Collector;
use crate::collect::Target;
use crate::forward::answer::{Answer, Body};
use crate::forward::plan::{FlushStep, Planner};
use crate::forward::wire;
use crate::settings::Settings;
use crate::spool::{Queued, SpoolFolder, is_ahead};
use crate::wiring;

const ACCEPTED: Answer =
    Answer::Http { status: 200, body: Body::Accepted { quota_limited: false }, retry_after: None };

pub(super) fn run(
    settings: &Settings,
    folder: &SpoolFolder,
    collector: &Collector,
    targets: &mut [Target],
    arguments: &Arguments,
) -> Result<Ended> {
    let request = wiring::request_options(settings, context::shown_key(settings, arguments.reveal));
    let mut spool = folder.read(clock::now_ms())?;
    let held = collector.would_withhold(targets, spool.instances());
    let limits = wiring::flush_limits(settings, arguments.limit);
    let mut planner = Planner::new(limits, spool.link_state().batch_events);
    // Records that may have arrived already are sent again first.
    let mut again = spool.on_the_wire();
    let mut sent_again = BTreeSet::new();
    let mut from = 0;
    let mut out = output::stdout();
    while let FlushStep::Send { max_events, .. } = planner.next(Duration::ZERO) {
        let now_ms = clock::now_ms();
        let mut batch: Vec<Queued> = Vec::new();
        let _ = spool.each(from, max_events as u64, |queued| {
            let ahead = is_ahead(queued.record.timestamp_ms, now_ms);
            let sendable = !ahead && (queued.dead.is_none() || arguments.retry_dead);
            let in_turn = match again.is_empty() {
                true => !sent_again.contains(&queued.seq),
                false => again.contains(&queued.seq),
            };
            if sendable && in_turn && !held.contains(&queued.record.instance) {
                batch.push(queued);
            }
            if batch.len() < max_events { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if batch.is_empty() && again.is_empty() {
            break;
        }
        if batch.is_empty() {
            // The rest of these records is held.
            again.clear();
            continue;
        }
        let events = wire::write(batch.iter().map(|queued| &queued.record), &request, now_ms, &mut out)?;
        writeln!(out)?;
        for queued in &batch[..events] {
            match again.remove(&queued.seq) {
                true => _ = sent_again.insert(queued.seq),
                false => from = queued.seq + 1,
            }
        }
        planner.learn(&ACCEPTED, events, Duration::ZERO, 0);
    }
    out.flush()?;
    Ok(Ended::Done)
}

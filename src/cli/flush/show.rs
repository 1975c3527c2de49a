//! The result of a flush: the records delivered, those left and why, and the next attempt.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use crate::cli::output::{self, Format, remark};
use crate::cli::times::shown;
use crate::clock::rfc3339;
use crate::forward::flush::FlushReport;
use crate::settings::{FlushMode, Settings, show_duration};

/// Prints the result to stdout, and its explanation to stderr.
pub(super) fn report(report: &FlushReport, format: Format, quiet: bool, settings: &Settings) -> Result<()> {
    match format {
        Format::Json => output::print_json(&json!({
            "sent": report.sent,
            "batches": report.batches,
            "wireBytes": report.wire_bytes,
            "deadLettered": report.dead_lettered,
            "remaining": report.remaining,
            "outcome": report.outcome,
            "why": report.why.as_ref().map(ToString::to_string),
            "nextAttempt": next_attempt_ms(report, settings).map(rfc3339),
            "held": report.held,
            "ahead": report.ahead.0,
            "dead": report.dead,
        }))?,
        Format::Text => {
            let mut out = output::stdout();
            let FlushReport { outcome, sent, batches, wire_bytes, dead_lettered, remaining, .. } = report;
            write!(out, "{outcome}: {sent} records delivered in {batches} requests of {wire_bytes} bytes")?;
            if *dead_lettered > 0 {
                write!(out, ", {dead_lettered} set apart as dead letters")?;
            }
            writeln!(out, ", {remaining} waiting")?;
            out.flush()?;
        }
    }
    if let Some(why) = &report.why {
        remark(why);
    }
    if format == Format::Text && !quiet {
        kept_apart(report).iter().for_each(remark);
        if report.remaining > 0 {
            remark(next_attempt(report, settings));
        }
    }
    Ok(())
}

/// The records that are left for other reasons than a failure.
fn kept_apart(report: &FlushReport) -> Vec<String> {
    let mut texts = Vec::new();
    let (ahead, until_ms) = report.ahead;
    if !report.held.is_empty() && report.remaining > ahead {
        let held: Vec<&str> = report.held.iter().map(String::as_str).collect();
        texts.push(format!(
            "the records of {} are held until the config file can be read; `salver status` says what is wrong with it",
            held.join(", ")
        ));
    }
    if ahead > 0 {
        let until = shown(until_ms);
        texts.push(format!(
            "{ahead} of them were stamped in the future by a wrong clock; the first waits until {until}"
        ));
    }
    if report.dead > 0 {
        let dead = report.dead;
        texts.push(format!(
            "{dead} dead letters wait apart: `salver dump --state dead` says why, `salver flush --retry-dead` \
             sends them again"
        ));
    }
    texts
}

/// When the records that are left are sent.
fn next_attempt(report: &FlushReport, settings: &Settings) -> String {
    match (settings.flush.mode, next_attempt_ms(report, settings)) {
        (FlushMode::Manual, _) => {
            "the records that wait are sent by the next `salver flush` (flush.mode is manual)".into()
        }
        (FlushMode::Auto, Some(next_ms)) => format!("the service tries again at {}", rfc3339(next_ms)),
        (FlushMode::Auto, None) => {
            format!(
                "the service sends the next records within {} (flush.every)",
                show_duration(settings.flush.every)
            )
        }
    }
}

/// When the service tries again after a failure, if it forwards.
fn next_attempt_ms(report: &FlushReport, settings: &Settings) -> Option<i64> {
    report.next_attempt_ms.filter(|_| settings.flush.mode == FlushMode::Auto)
}

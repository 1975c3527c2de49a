//! The progress of a flush: a bar on a terminal, a few lines in a log.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::cli::context::Context;
use crate::cli::output::{Format, say};
use crate::forward::flush::FlushHooks;
use crate::service::forwarder::ConsentCheck;
use crate::spool::SpoolError;

/// The most lines of progress in a log, however long a flush takes.
const LINES: u64 = 10;

pub(super) enum Progress {
    Silent,
    /// A bar with count and rate.
    Bar(ProgressBar),
    /// A line after each tenth.
    Lines {
        /// The number of records to deliver.
        records: u64,
        /// The number of tenths shown so far.
        shown: u64,
    },
}

impl Progress {
    /// Chooses the form for stderr.
    pub(super) fn of(context: &Context, format: Format, records: u64) -> Progress {
        if context.quiet || format == Format::Json {
            return Progress::Silent;
        }
        if !stderr().is_terminal() {
            return Progress::Lines { records, shown: 0 };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} records, {rate}/s, {elapsed}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key(
            "rate",
            // indicatif's own rate has four decimals.
            |state: &ProgressState, out: &mut dyn fmt::Write| _ = write!(out, "{:.0}", state.per_sec()),
        );
        Progress::Bar(ProgressBar::new(records).with_style(style))
    }

    fn show(&mut self, sent: u64) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => bar.set_position(sent),
            Progress::Lines { records, shown } => {
                let tenths = sent.saturating_mul(LINES) / (*records).max(1);
                // The result shows the end.
                if tenths > *shown && sent < *records {
                    *shown = tenths;
                    say(&format!("{sent} of {records} records delivered"));
                }
            }
        }
    }

    /// Removes the bar, for the result.
    pub(super) fn clear(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Reads consent again before each batch, and shows the progress.
pub(super) struct ProgressHooks<'a> {
    pub(super) consent: ConsentCheck<'a>,
    pub(super) progress: &'a mut Progress,
}

impl FlushHooks for ProgressHooks<'_> {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        self.consent.held()
    }

    fn progress(&mut self, sent: u64) {
        self.progress.show(sent);
    }
}

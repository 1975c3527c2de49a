//! How far a flush is: a bar on a terminal, and elsewhere a few lines that a log can bear.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::cli::context::Context;
use crate::cli::output::Format;
use crate::forward::flush::Caller;
use crate::service::forwarder::ConsentCheck;
use crate::spool::SpoolError;

/// A flush without a terminal says so many times at most how far it is, however long it takes.
const LINES: u64 = 10;

/// Tells an admin how far a flush is.
pub(super) enum Progress {
    /// Nothing.
    Silent,
    /// A bar with count and rate.
    Bar(ProgressBar),
    /// A line for each tenth.
    Lines {
        /// All that is to be delivered.
        records: u64,
        /// How many tenths were told.
        told: u64,
    },
}

impl Progress {
    /// The form that suits whoever reads stderr.
    pub(super) fn of(context: &Context, format: Format, records: u64) -> Progress {
        if context.quiet || format == Format::Json {
            return Progress::Silent;
        }
        if !stderr().is_terminal() {
            return Progress::Lines { records, told: 0 };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} records, {rate}/s, {elapsed}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key(
            "rate",
            // indicatif's own has four digits behind the point.
            |state: &ProgressState, out: &mut dyn fmt::Write| _ = write!(out, "{:.0}", state.per_sec()),
        );
        Progress::Bar(ProgressBar::new(records).with_style(style))
    }

    /// So many records were delivered so far.
    fn at(&mut self, sent: u64) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => bar.set_position(sent),
            Progress::Lines { records, told } => {
                let tenths = sent.saturating_mul(LINES) / (*records).max(1);
                // The whole is told by the report.
                if tenths > *told && sent < *records {
                    *told = tenths;
                    eprintln!("{sent} of {records} records delivered");
                }
            }
        }
    }

    /// Makes room for the report.
    pub(super) fn clear(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Asks for consent, and shows how far it is.
pub(super) struct Shown<'a> {
    pub(super) consent: ConsentCheck<'a>,
    pub(super) progress: &'a mut Progress,
}

impl Caller for Shown<'_> {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        self.consent.held()
    }

    fn progress(&mut self, sent: u64) {
        self.progress.at(sent);
    }
}

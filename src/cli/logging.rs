//! Log lines on stderr, and the message of a panic.
//!
//! `SALVER_LOG` takes filter directives such as `debug` or `salver::watch=trace`; `-v` and `-q`
//! stand for the usual ones. Lines are coloured on a terminal, have no time in systemd's journal,
//! which adds its own, and are JSON objects with `--log-format json`.
//!
//! - A closed stderr neither stops the program nor causes another message.
//! - A panic names the place in the code and nothing else: its message could contain a value of a
//!   config file.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::Color;
use super::output::remark;

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

pub fn start(verbose: u8, quiet: bool, color: Color, format: LogFormat) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "salver=info,warn",
        (false, 1) => "salver=debug,warn",
        (false, _) => "salver=trace,warn",
    };
    let filter = EnvFilter::try_from_env("SALVER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = stderr().is_terminal();
    let colored = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colored)
        .with_target(verbose > 1)
        .log_internal_errors(false);
    match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
        LogFormat::Text if terminal => lines.compact().init(),
        LogFormat::Text if is_journal() => lines.without_time().init(),
        LogFormat::Text => lines.init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_some_and(crate::spool::is_contained_panic) {
            return;
        }
        let place =
            panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        remark(format_args!("internal error{place}; please report it with this line"));
    }));
}

/// Whether stderr is systemd's journal. The variable alone is not enough: it stays set when stderr
/// is redirected.
#[cfg(unix)]
fn is_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    let stream = rustix::fs::fstat(stderr());
    stream.is_ok_and(|stream| journal == format!("{}:{}", stream.st_dev, stream.st_ino))
}

#[cfg(not(unix))]
fn is_journal() -> bool {
    false
}

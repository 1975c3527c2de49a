//! Log lines on stderr, and what a panic says.
//!
//! `SALVER_LOG` takes filter directives such as `debug` or `salver::watch=trace`; `-v` and `-q` are short for the usual ones.
//! A panic names the place in the code and nothing else: its message could hold a value of a config file.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use super::Color;

/// Starts logging for this process.
pub fn start(verbose: u8, quiet: bool, color: Color) {
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
        .with_target(verbose > 1);
    // Without a terminal a journal writes the time itself.
    if terminal {
        lines.compact().init()
    } else {
        lines.without_time().init()
    }
    std::panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        eprintln!("salver: internal error{place}; please report it with this line");
    }));
}

//! The command line: the only code that reads arguments, prints, asks or draws. One file a command.
//!
//! Scripts rely on it: data goes to stdout, everything else to stderr; exit codes give the result
//! (exit.rs); JSON keys are camelCase.

mod context;
mod doctor;
mod dump;
mod exit;
mod explain;
mod flush;
mod id;
mod logging;
mod output;
mod pause;
mod preview;
mod purge;
mod record;
mod run;
mod signals;
mod status;
mod times;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use context::Context;
use logging::LogFormat;

/// Offline-first spool-and-forward agent for the telemetry of Butler and Butler SOS.
///
/// Watches their config files, writes one anonymised record to a local spool whenever their
/// telemetry would change, and sends the records to PostHog when the network allows it or when
/// you ask for it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
struct Arguments {
    /// The settings file [default: the system's own, such as /etc/salver/salver.yaml]
    #[arg(long, global = true, value_name = "FILE", env = "SALVER_CONFIG")]
    config: Option<PathBuf>,

    /// The spool folder; overrides the settings
    #[arg(long, global = true, value_name = "DIR", env = "SALVER_SPOOL")]
    spool: Option<PathBuf>,

    /// Write more log lines to stderr; -vv writes even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,

    /// Write only errors to stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,

    /// The form of log lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", env = "SALVER_LOG_FORMAT")]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service in the foreground: watch, record, and forward by the flush mode
    Run(run::Arguments),
    /// Look at each instance now, and record what changed
    Record(record::Arguments),
    /// Print what would be recorded or sent, without writing anything
    Preview(preview::Arguments),
    /// Print the records in the queue, oldest first
    Dump(dump::Arguments),
    /// Send the records in the queue now
    Flush(flush::Arguments),
    /// Show the queue, the instances and why each does or does not collect, and the last flush
    Status(status::Arguments),
    /// Erase records from the spool, and print a receipt
    Purge(purge::Arguments),
    /// Stop collecting, whatever the config file says
    Pause(pause::Arguments),
    /// Collect again after a pause or a purge
    Resume(pause::Arguments),
    /// Show the anonymous ids
    Id(id::Arguments),
    /// Check each step from the config files to PostHog, and name the next step where one fails
    Doctor(doctor::Arguments),
    /// Look at instances for a service
    #[command(hide = true)]
    Look,
    /// Forward for a service
    #[command(hide = true)]
    Forward,
}

impl Arguments {
    /// The arguments with which a child process logs in the same way.
    fn logging(&self) -> Vec<OsString> {
        let word =
            |value: Option<PossibleValue>| value.map(|it| it.get_name().to_owned()).unwrap_or_default();
        let mut arguments = vec![
            format!("--color={}", word(self.color.to_possible_value())),
            format!("--log-format={}", word(self.log_format.to_possible_value())),
        ];
        arguments.extend(self.quiet.then(|| "--quiet".to_owned()));
        arguments.extend((0..self.verbose).map(|_| "--verbose".to_owned()));
        arguments.into_iter().map(OsString::from).collect()
    }
}

/// Runs the command of the arguments and returns its exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.verbose, arguments.quiet, arguments.color, arguments.log_format);
    let logging = arguments.logging();
    let Arguments { config, spool, quiet, .. } = arguments;
    let context = Context { config, spool, quiet, logging };
    let done = match arguments.command {
        Command::Run(arguments) => run::run(&context, &arguments),
        Command::Record(arguments) => record::run(&context, arguments),
        Command::Preview(arguments) => preview::run(&context, &arguments),
        Command::Dump(arguments) => dump::run(&context, arguments),
        Command::Flush(arguments) => flush::run(&context, &arguments),
        Command::Status(arguments) => status::run(&context, &arguments),
        Command::Purge(arguments) => purge::run(&context, arguments),
        Command::Pause(arguments) => pause::run(&context, &arguments, true),
        Command::Resume(arguments) => pause::run(&context, &arguments, false),
        Command::Id(arguments) => id::run(&context, &arguments),
        Command::Doctor(arguments) => doctor::run(&context, &arguments),
        Command::Look => worker::look(),
        Command::Forward => worker::forward(),
    };
    exit::code(done)
}

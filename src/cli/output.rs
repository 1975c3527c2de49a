//! Writing to stdout and stderr, in one place: results are buffered, remarks never fail.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// A buffered stdout; the caller flushes it.
pub fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Writes a line to stderr. A closed stderr is ignored, since it is no reason to stop (`eprintln!`
/// would panic).
pub fn say(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line to stderr that begins with the name of the program.
pub fn remark(text: impl fmt::Display) {
    say(&format!("salver: {text}"));
}

/// Asks a question on stderr and reads the answer from stdin; no is the default.
pub fn ask(question: &str) -> io::Result<bool> {
    _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints one JSON value, indented.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// A table without borders, as wide as the terminal.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(head);
    if !io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

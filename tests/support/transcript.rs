//! Commands and all that they say, for comparison with a snapshot: what differs from run to run and
//! from machine to machine is replaced by a word in brackets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{err, out};

/// In this order; a filter sees what those before it left.
const FILTERS: [(&str, &str); 13] = [
    (r"salver\.exe", "salver"),
    (r"127\.0\.0\.1:\d{2,5}", "127.0.0.1:[port]"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[uuid]"),
    (r"[0-9a-f]{64}", "[id]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"process \d+", "process [number]"),
    (r"\d+ requests", "[number] requests"),
    (r"\d+ bytes", "[bytes] bytes"),
    (r"\d+ files of", "[number] files of"),
    (r"\d+(\.\d+)? [KMGT]iB are free", "[size] are free"),
    (r"in \d+(\.\d+)? (ms|s)\b", "in [duration]"),
    // What a table pads depends on the length of paths.
    (r"(\S)  +(\S)", "$1  $2"),
    (r" +\n", "\n"),
];

/// What was run so far.
pub struct Transcript {
    folder: PathBuf,
    text: String,
}

impl Transcript {
    /// One that calls this folder `[folder]`.
    pub fn of(folder: &Path) -> Transcript {
        // Without a separator at its end.
        let folder = std::path::absolute(folder).unwrap().components().collect();
        Transcript { folder, text: String::new() }
    }

    /// Runs a command to its end, and notes it with its exit code and both streams under a heading.
    pub fn run(&mut self, heading: &str, command: &mut Command) -> Output {
        // clap wraps its help at this width where there is no terminal.
        let output = command.env_remove("COLUMNS").output().unwrap();
        self.note(heading, &output);
        output
    }

    /// Notes the output of a command that has ended.
    pub fn note(&mut self, heading: &str, output: &Output) {
        let code = output.status.code().unwrap();
        self.text += &format!("## {heading}\n(exit {code})\n{}{}\n", out(output), err(output));
    }

    /// Compares with the snapshot of this name beside the test.
    pub fn assert_is(&self, name: &str) {
        let mut text = self.text.replace("\r\n", "\n");
        text = text.replace(self.folder.to_str().unwrap(), "[folder]");
        text = text.replace(env!("CARGO_PKG_VERSION"), "[version]");
        if cfg!(windows) {
            text = text.replace('\\', "/");
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../cli/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (what, by) in FILTERS {
            settings.add_filter(what, by);
        }
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

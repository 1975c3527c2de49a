//! All that was said, kept and sent, by the channel through which it went.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::search::{Findings, Search};
use crate::support::folders::files;

/// Channels by name, and the bytes that went through each.
#[derive(Default)]
pub struct Captured(Vec<(String, Vec<u8>)>);

impl Captured {
    /// Adds what went through a channel.
    pub fn add(&mut self, channel: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((channel.into(), bytes.into()));
    }

    /// Runs a command to its end, and captures both its streams.
    pub fn run(&mut self, name: &str, command: &mut Command) -> Output {
        let output = command.output().unwrap();
        self.add(name, output.stdout.as_slice());
        self.add(format!("{name}, stderr"), output.stderr.as_slice());
        output
    }

    /// Captures every file of a spool, and the names of the files.
    pub fn add_spool(&mut self, when: &str, spool: &Path) {
        for file in files(spool) {
            let name = file.strip_prefix(spool).unwrap().display().to_string();
            self.add(format!("spool {when}"), fs::read(&file).unwrap());
            self.add(format!("spool {when}"), name);
        }
    }

    /// Captures all that a program could print of a value, in a message or in a panic.
    pub fn debug(&mut self, channel: &str, value: &impl Debug) {
        self.add(channel, format!("{value:?}\n{value:#?}"));
    }

    /// The same of an error, with what caused it.
    pub fn error(&mut self, channel: &str, error: &impl std::error::Error) {
        self.debug(channel, error);
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            self.add(channel, format!("{error}\n{error:#}\n{error:?}"));
            cause = error.source();
        }
    }

    /// Whether these words went through any channel, exactly so.
    pub fn holds(&self, words: &str) -> bool {
        self.0.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(words))
    }

    /// What the search finds.
    pub fn search(&self, search: &Search) -> Findings {
        let mut findings = Findings::default();
        for (channel, bytes) in &self.0 {
            search.look(channel, bytes, &mut findings);
        }
        findings
    }

    /// Panics with all that the search finds.
    pub fn assert_silent(&self, search: &Search) {
        let findings = self.search(search);
        assert!(findings.is_empty(), "canaries got out:\n{findings}");
    }
}

//! Memory: the most that a process of its own ever had. Elsewhere than on Linux nothing is printed.

use std::path::Path;
use std::process::Command;

use salver::record::Reason;
use salver::spool::SpoolFolder;

use crate::report::{self, most_of, most_so_far};
use crate::sample::{INSTANCE, NOW, folder, plain_draft};

/// Starts this program again to measure itself.
pub const CHILD: &str = "--cycle-and-tell";

/// The child: one open, record, close, and what it took.
pub fn cycle_and_tell(path: &Path) {
    let mut spool = folder(path).open(NOW).expect("the spool opens");
    spool.record(INSTANCE, plain_draft(), Reason::Changed).expect("the record is written");
    spool.close().expect("the spool closes");
    println!("{}", most_so_far("self").unwrap_or(0));
}

/// Opening, recording and closing.
pub fn cycle(folder: &SpoolFolder, records: usize) {
    let itself = std::env::current_exe().expect("this program is a file");
    let told = Command::new(itself).arg(CHILD).arg(&folder.path).output().expect("this program starts");
    let bytes = String::from_utf8_lossy(&told.stdout).trim().parse().ok().filter(|bytes| *bytes > 0);
    let figure = format!("memory of open, record, close with {records} waiting");
    report::memory(&figure, bytes, "at most 12 MB");
}

/// The real `salver dump` of all of it.
pub fn dump(folder: &SpoolFolder, records: usize) {
    let mut salver = Command::new(env!("CARGO_BIN_EXE_salver"));
    salver.args(["dump", "--format", "ndjson", "--spool"]).arg(&folder.path);
    let figure = format!("memory of salver dump with {records} waiting");
    report::memory(&figure, most_of(&mut salver), "at most 64 MB");
}

//! Memory: the most that a process of its own ever had, as Linux tells it (VmHWM). Elsewhere nothing is printed.

use std::path::Path;
use std::process::{Command, Stdio};

use salver::record::Reason;
use salver::spool::SpoolFolder;

use crate::figures::line;
use crate::sample::{INSTANCE, NOW, folder, plain_draft};

/// Starts this program again to measure itself.
pub const CHILD: &str = "--cycle-and-tell";

/// The child: one open, record, close, and what it took.
pub fn cycle_and_tell(path: &Path) {
    let mut spool = folder(path).open(NOW).expect("the spool opens");
    spool.record(INSTANCE, plain_draft(), Reason::Changed).expect("the record is written");
    spool.close().expect("the spool closes");
    println!("{}", most("self").unwrap_or(0));
}

/// Opening, recording and closing.
pub fn cycle(folder: &SpoolFolder, records: usize) {
    let itself = std::env::current_exe().expect("this program is a file");
    let told = Command::new(itself).arg(CHILD).arg(&folder.path).output().expect("this program starts");
    let bytes = String::from_utf8_lossy(&told.stdout).trim().parse::<u64>().unwrap_or(0);
    if bytes > 0 {
        line(
            &format!("memory of open, record, close with {records} waiting"),
            &mebibytes(bytes),
            "at most 12 MB",
        );
    }
}

/// The real `salver dump` of all of it.
pub fn dump(folder: &SpoolFolder, records: usize) {
    let mut salver = Command::new(env!("CARGO_BIN_EXE_salver"));
    salver.args(["dump", "--format", "ndjson", "--spool"]).arg(&folder.path);
    let mut child = salver.stdout(Stdio::null()).spawn().expect("salver starts");
    let mut bytes = 0;
    while child.try_wait().expect("salver can be waited for").is_none() {
        bytes = bytes.max(most(&child.id().to_string()).unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    if bytes > 0 {
        line(&format!("memory of salver dump with {records} waiting"), &mebibytes(bytes), "at most 64 MB");
    }
}

fn most(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

//! How figures are told, and the memory of a process.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::process::{Command, Stdio};
use std::time::Duration;

/// Above all lines.
pub fn head() {
    line("figure", "measured", "bound");
}

/// One line of the report.
pub fn line(figure: &str, measured: &str, bound: &str) {
    println!("{figure:<58} {measured:>14}   {bound}");
}

/// A line on memory; none where it is not known.
pub fn memory(figure: &str, bytes: Option<u64>, bound: &str) {
    if let Some(bytes) = bytes {
        line(figure, &format!("{:.1} MB", bytes as f64 / 1e6), bound);
    }
}

/// The most memory that a program had at any time until it ended.
pub fn most_of(program: &mut Command) -> Option<u64> {
    let mut child = program.stdout(Stdio::null()).spawn().expect("the program starts");
    let mut most = None;
    while child.try_wait().expect("the program can be waited for").is_none() {
        most = most.max(most_so_far(&child.id().to_string()));
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}

/// The most memory that a process ever had, as Linux tells it (VmHWM).
pub fn most_so_far(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

//! What Linux tells of a process: its children, its threads, the files it has open.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The children of a process that have not ended.
pub fn children_of(process: u32) -> Vec<u32> {
    let numbers =
        entries(Path::new("/proc")).into_iter().filter_map(|it| it.file_name()?.to_str()?.parse().ok());
    numbers.filter(|number| parent_of(*number) == Some(process)).collect()
}

/// The parent of a process, unless that has ended.
fn parent_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: the state and the parent.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    fields.next().filter(|state| *state != "Z")?;
    fields.next()?.parse().ok()
}

/// Whether there is such a process, and it has not ended.
pub fn is_alive(process: u32) -> bool {
    parent_of(process).is_some()
}

/// The arguments of a process, in one text.
pub fn arguments_of(process: u32) -> String {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// The names of the threads of a process.
pub fn threads_of(process: u32) -> Vec<String> {
    let threads = entries(&PathBuf::from(format!("/proc/{process}/task")));
    threads
        .iter()
        .filter_map(|it| fs::read_to_string(it.join("comm")).ok())
        .map(|it| it.trim_end().into())
        .collect()
}

/// What a process has open, by the numbers.
pub fn open_files_of(process: u32) -> Vec<(u64, PathBuf)> {
    let files = entries(&PathBuf::from(format!("/proc/{process}/fd")));
    let open = files
        .iter()
        .filter_map(|it| Some((it.file_name()?.to_str()?.parse().ok()?, fs::read_link(it).ok()?)));
    open.collect()
}

/// Sends a signal by its name. Tells whether there was still somebody to get it.
pub fn signal(process: u32, name: &str) -> bool {
    let script = "kill -$0 $1 2>/dev/null";
    Command::new("sh").args(["-c", script, name, &process.to_string()]).status().unwrap().success()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

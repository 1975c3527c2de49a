//! A disk whose power fails: what it would hold after a cut at any moment of a process's life.
//!
//! A real process runs with a small library in front of libc (`powercut/shim.c`, compiled here)
//! that writes each change of a file or folder and each sync onto a tape. The tape is played onto a
//! disk in memory ([`disk::Disk`]) that knows what was synced and what was not, and from which the
//! folder can be written out as a merciless disk would have left it.
//!
//! Why so: dm-flakey and dm-log-writes take a kernel that has them, and root; this takes a C
//! compiler, and tells at which call of which process the cut came. Linux only: other systems'
//! loaders and syncs differ, and the order of the calls, which is what is tested, is the same
//! everywhere.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub mod disk;

/// One entry of a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file or folder appeared.
    New {
        parent: u64,
        inode: u64,
        folder: bool,
        name: String,
    },
    Written {
        inode: u64,
        offset: u64,
        data: Vec<u8>,
    },
    Cut {
        inode: u64,
        size: u64,
    },
    Renamed {
        from: u64,
        to: u64,
        old: String,
        new: String,
    },
    Removed {
        parent: u64,
        name: String,
    },
    /// fsync.
    Synced {
        inode: u64,
    },
    /// fdatasync.
    DataSynced {
        inode: u64,
    },
    /// A sync that failed.
    SyncFailed {
        inode: u64,
    },
    /// Said on stdout.
    Said(String),
}

/// Where processes are recorded.
pub struct Tape {
    shim: PathBuf,
    log: PathBuf,
    taped: PathBuf,
}

impl Tape {
    /// A tape of what happens in `taped`; the library and the tape itself go into `aside`.
    pub fn new(taped: &Path, aside: &Path) -> Tape {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/powercut/shim.c");
        let shim = aside.join("shim.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).args(["-ldl", "-pthread"]);
        super::expect(&mut cc, 0);
        Tape { shim, log: aside.join("tape"), taped: fs::canonicalize(taped).unwrap() }
    }

    /// The command as one that is recorded.
    pub fn record<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.shim).env("SALVER_TEST_TAPE", &self.log);
        command.env("SALVER_TEST_TAPED", &self.taped)
    }

    /// The command as one that is recorded and whose sync of this number fails.
    pub fn record_with_failing_sync<'a>(&self, command: &'a mut Command, number: usize) -> &'a mut Command {
        self.record(command).env("SALVER_TEST_FAIL_SYNC", number.to_string())
    }

    /// Notes a line at the end of the tape, as if a process had said it.
    pub fn say(&self, line: &str) {
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        write!(log, "A 0 0 0 {}\n{line}\n", line.len() + 1).unwrap();
    }

    /// All that was recorded.
    pub fn play(&self) -> Vec<Event> {
        let bytes = fs::read(&self.log).unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let head = std::str::from_utf8(&rest[..end]).unwrap();
            let mut parts = head.split(' ');
            let kind = parts.next().unwrap();
            let numbers: Vec<u64> = parts.map(|part| part.parse().unwrap()).collect();
            let (data, further) = rest[end + 1..].split_at(numbers[3] as usize);
            rest = further;
            events.push(event(kind, &numbers, data));
        }
        events
    }
}

fn event(kind: &str, numbers: &[u64], data: &[u8]) -> Event {
    let text = || String::from_utf8_lossy(data).into_owned();
    match kind {
        "N" => Event::New { parent: numbers[0], inode: numbers[1], folder: numbers[2] == 1, name: text() },
        "W" => Event::Written { inode: numbers[0], offset: numbers[2], data: data.to_vec() },
        "T" => Event::Cut { inode: numbers[0], size: numbers[2] },
        "R" => {
            let names = text();
            let (old, new) = names.split_once('\0').unwrap();
            Event::Renamed { from: numbers[0], to: numbers[1], old: old.into(), new: new.into() }
        }
        "U" => Event::Removed { parent: numbers[0], name: text() },
        "S" => Event::Synced { inode: numbers[0] },
        "D" => Event::DataSynced { inode: numbers[0] },
        "F" => Event::SyncFailed { inode: numbers[0] },
        "A" => Event::Said(text()),
        other => panic!("no such entry: {other}"),
    }
}

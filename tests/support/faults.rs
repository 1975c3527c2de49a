//! A process whose N-th operation on the files of a folder fails, is cut short, or is its last.
//!
//! A small library in front of libc (`faults/shim.c`, compiled here) counts the operations. Linux
//! only, as with the power cuts: the order of the operations is the same on every system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What becomes of the operation that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// The process is killed before it, or after it.
    Kill,
    Killed,
    /// It transfers half of the bytes.
    Short,
    /// It fails with this error number.
    Error(i32),
    /// It fails, and so does every operation after it, as on a dying disk.
    Dying(i32),
}

pub const EIO: i32 = 5;
pub const EAGAIN: i32 = 11;
pub const ENOMEM: i32 = 12;
pub const ENOSPC: i32 = 28;

/// Operations that write, sync, make or name files.
pub const WRITES: &str = "write,sync,make,name";
pub const SYNCS: &str = "sync";
pub const READS: &str = "read";

/// Runs processes with faults.
pub struct Faults {
    shim: PathBuf,
    log: PathBuf,
}

impl Faults {
    /// The library and the log go into `aside`.
    pub fn new(aside: &Path) -> Faults {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/faults/shim.c");
        let shim = aside.join("faults.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl");
        super::expect(&mut cc, 0);
        Faults { shim, log: aside.join("operations") }
    }

    /// The command with its `at`-th operation of these kinds below `folder` hit.
    pub fn hit<'a>(
        &self,
        command: &'a mut Command,
        folder: &Path,
        operations: &str,
        at: usize,
        hit: Hit,
    ) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.shim).env("SALVER_TEST_FAULT_BELOW", folder);
        command.env("SALVER_TEST_FAULT_OPS", operations).env("SALVER_TEST_FAULT_AT", at.to_string());
        let how = match hit {
            Hit::Kill => "kill".to_owned(),
            Hit::Killed => "killed".to_owned(),
            Hit::Short => "short".to_owned(),
            Hit::Error(number) | Hit::Dying(number) => number.to_string(),
        };
        if matches!(hit, Hit::Dying(_)) {
            command.env("SALVER_TEST_FAULT_STICKS", "1");
        }
        command.env("SALVER_TEST_FAULT_HOW", how)
    }

    /// The number of operations of these kinds that the command makes below `folder`.
    pub fn count(&self, command: &mut Command, folder: &Path, operations: &str) -> usize {
        _ = fs::remove_file(&self.log);
        let command = self.hit(command, folder, operations, 0, Hit::Kill);
        super::expect(command.env("SALVER_TEST_FAULT_LOG", &self.log), 0);
        fs::read_to_string(&self.log).unwrap_or_default().lines().count()
    }
}

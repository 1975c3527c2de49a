//! What the integration tests share: the program under test, folders of their own, and where the
//! test data is.

#[cfg(target_os = "linux")]
pub mod aftermath;
pub mod bad_files;
pub mod canary;
pub mod derivation_map;
pub mod deviations;
pub mod dice;
pub mod drafts;
pub mod endpoints;
pub mod everything;
pub mod fault_proxy;
#[cfg(target_os = "linux")]
pub mod faults;
pub mod folders;
pub mod forwarding;
pub mod generated;
#[cfg(target_os = "linux")]
pub mod host;
#[cfg(target_os = "linux")]
pub mod inotify_limits;
pub mod modes;
pub mod needs;
pub mod plain_list;
pub mod planner_world;
pub mod posthog;
#[cfg(target_os = "linux")]
pub mod powercut;
#[cfg(target_os = "linux")]
pub mod processes;
pub mod proxy;
pub mod read_only;
pub mod reported;
pub mod role;
pub mod said;
pub mod scratch;
pub mod service;
pub mod site;
#[cfg(target_os = "linux")]
pub mod small_disk;
pub mod spool_world;
pub mod tcp_server;
pub mod tls;
pub mod transcript;
pub mod two_instances;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

use needs::{Need, path_in};

pub fn salver() -> Command {
    command(env!("CARGO_BIN_EXE_salver"))
}

/// A command that none of this machine's settings reach.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in [
        "SALVER_CONFIG",
        "SALVER_SPOOL",
        "SALVER_LOG",
        "DO_NOT_TRACK",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Copies the program to another place. By another process: while a file is open for writing here,
/// a child that another test starts at that moment has it open too, and Linux runs no file that is
/// open for writing (ETXTBSY).
#[cfg(unix)]
pub fn copy_program_to(path: &Path) {
    expect(Command::new("cp").arg(env!("CARGO_BIN_EXE_salver")).arg(path), 0);
}

pub fn salver_in(spool: &Path) -> Command {
    let mut command = salver();
    command.arg("--spool").arg(spool);
    command
}

/// Runs to the end; panics with all that was said if the exit code is another.
pub fn expect(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}\n{}", out(&output), err(&output));
    output
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Stdout as one JSON value.
pub fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

/// The queue of a spool, as `dump --format ndjson` gives it.
pub fn dump(spool: &Path) -> Vec<Json> {
    let output = expect(salver_in(spool).args(["dump", "--format", "ndjson", "--state", "all"]), 0);
    out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of this repository's fixtures.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// The real config files with the bodies that the real tools give for them. They are not part of
/// this repository.
pub fn corpus() -> Option<PathBuf> {
    path_in("SALVER_TEST_CORPUS", Need::Corpus)
}

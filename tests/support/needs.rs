//! What some tests need beyond a Rust toolchain and a C compiler, and which tests went without it.
//!
//! libtest captures what a passing test prints, so a test that skips notes that here, and the run ends with a line for each need.
//! On Windows a run with a failed test ends without these lines, since the exit of libtest calls no destructors there.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

/// The table in CONTRIBUTING.md says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    Root,
    NotRoot,
    Host,
    SmallDisk,
    ReadOnlyMount,
    UnixModes,
    InotifyLimits,
    FileLimits,
    Ipv6,
    Editors,
    OwnAuthority,
    Corpus,
    DerivationMap,
}

impl Need {
    const ALL: [Need; 13] = [
        Need::Root,
        Need::NotRoot,
        Need::Host,
        Need::SmallDisk,
        Need::ReadOnlyMount,
        Need::UnixModes,
        Need::InotifyLimits,
        Need::FileLimits,
        Need::Ipv6,
        Need::Editors,
        Need::OwnAuthority,
        Need::Corpus,
        Need::DerivationMap,
    ];

    fn words(self) -> &'static str {
        match self {
            Need::Root => "root, to give files to another user",
            Need::NotRoot => "a user who is not root",
            Need::Host => "root, iproute2 and util-linux, for a host with network interfaces of its own",
            Need::SmallDisk => "root and util-linux, for a small disk",
            Need::ReadOnlyMount => "root and util-linux, for a read-only mount and another user",
            Need::UnixModes => "a folder whose mode forbids writing",
            Need::InotifyLimits => "user namespaces and util-linux, for limits of inotify",
            Need::FileLimits => "`prlimit` of util-linux",
            Need::Ipv6 => "a kernel with IPv6",
            Need::Editors => "`sed`, `vim`, `cp` and `mv` as on Linux",
            Need::OwnAuthority => "a system that verifies certificates of an authority in `caFile`",
            Need::Corpus => "`SALVER_TEST_CORPUS`, the folder with the real config files",
            Need::DerivationMap => "`SALVER_TEST_MAP`, the file with the derivation map",
        }
    }
}

static SKIPPED: Mutex<BTreeMap<Need, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// Notes that the test that calls this goes without what it needs.
pub fn skip(need: Need) {
    // libtest names the thread of a test after the test.
    let test = thread::current().name().unwrap_or("?").to_owned();
    SKIPPED.lock().unwrap().entry(need).or_default().insert(test);
}

/// The path that an environment variable names. A name that leads nowhere is an error, and no reason to skip.
pub fn path_in(variable: &str, need: Need) -> Option<PathBuf> {
    let Some(path) = env::var_os(variable).map(PathBuf::from) else {
        skip(need);
        return None;
    };
    assert!(path.exists(), "{variable} names {}, which is not there", path.display());
    Some(path)
}

#[dtor::dtor(unsafe)]
fn closing_lines() {
    let Ok(skipped) = SKIPPED.lock() else { return };
    let mut stderr = std::io::stderr();
    for (need, tests) in skipped.iter() {
        let tests = tests.iter().map(|test| format!("\n    {test}")).collect::<String>();
        _ = writeln!(stderr, "SKIPPED, wholly or in part, without {}:{tests}", need.words());
    }
}

#[test]
fn every_need_is_in_the_table_for_contributors() {
    let table = include_str!("../../CONTRIBUTING.md");
    for need in Need::ALL {
        assert!(table.contains(need.words()), "CONTRIBUTING.md does not name {need:?}: {}", need.words());
    }
}

//! Promises 1, 5, 6 and 10: whichever operation on the spool's files fails, is cut short, or is the
//! last before a kill, nothing acknowledged is lost or back, what was purged is gone, and the next
//! process goes on. A command that fails names the system's error; it never panics or aborts.
//!
//! The steps: a record, the first record of all, records across a change of segment, a delivery, a
//! refusal, a purge, an eviction, and the recovery of a damaged segment. The child is this test
//! program in another role (support/everything.rs) with a library that hits its N-th operation
//! (support/faults.rs).
//!
//! `SALVER_TEST_FAULTS` sets how many operations of each step are hit in each way; 0 is every one.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use salver::spool::SpoolFolder;

use crate::support::aftermath::wrong_with;
use crate::support::dice::Dice;
use crate::support::everything::{self, Step, say};
use crate::support::faults::{EAGAIN, EIO, ENOMEM, ENOSPC, Faults, Hit, READS, SYNCS, WRITES};
use crate::support::folders::{NOW, copy, spool_folder, waiting_in};
use crate::support::role::role;
use crate::support::said::Said;
use crate::support::scratch::{how_many, in_memory};
use crate::support::{err, out};

const SPOOL: &str = "SALVER_TEST_SPOOL";
const SCENE: &str = "SALVER_TEST_SCENE";

const SIGKILL: i32 = 9;

/// A step, and the spool that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scene {
    step: Step,
    before: Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    NoSpool,
    /// Some records of both instances, in small segments.
    Records(u64),
    /// One record of the active segment is damaged.
    Damaged,
}

const SCENES: [Scene; 11] = [
    Scene { step: Step::Record, before: Before::NoSpool },
    Scene { step: Step::Record, before: Before::Records(200) },
    Scene { step: Step::Bulk(600), before: Before::Records(200) },
    Scene { step: Step::Deliver, before: Before::Records(600) },
    Scene { step: Step::Refuse, before: Before::Records(200) },
    Scene { step: Step::Purge { stop: true }, before: Before::Records(600) },
    Scene { step: Step::Evict, before: Before::Records(600) },
    Scene { step: Step::Record, before: Before::Damaged },
    Scene { step: Step::Deliver, before: Before::Damaged },
    Scene { step: Step::Evict, before: Before::Damaged },
    Scene { step: Step::Purge { stop: false }, before: Before::Damaged },
];

/// The ways in which an operation is hit, and which kinds of operations.
const WAYS: [(Hit, &str); 13] = [
    (Hit::Kill, WRITES),
    (Hit::Killed, WRITES),
    (Hit::Error(EIO), WRITES),
    (Hit::Error(ENOSPC), WRITES),
    (Hit::Short, WRITES),
    (Hit::Error(EIO), SYNCS),
    (Hit::Error(ENOSPC), SYNCS),
    (Hit::Dying(EIO), WRITES),
    (Hit::Dying(ENOSPC), WRITES),
    (Hit::Error(EIO), READS),
    (Hit::Error(ENOMEM), READS),
    (Hit::Error(EAGAIN), READS),
    (Hit::Short, READS),
];

/// Small segments, so that each step meets several.
fn folder(path: &Path) -> SpoolFolder {
    let mut folder = spool_folder(path);
    folder.limits.max_bytes = 8 << 20;
    folder
}

/// Makes one step.
#[test]
#[ignore = "not a test but the child whose operations fail"]
fn child_that_makes_a_step() {
    let (Some(spool), Ok(scene)) = (std::env::var_os(SPOOL), std::env::var(SCENE)) else { return };
    let scene = SCENES[scene.parse::<usize>().unwrap()];
    if let Err(error) = everything::step(&folder(Path::new(&spool)), &mut Dice::new(3), scene.step) {
        say(&format!("failed: {error}"));
    }
}

/// A spool as a scene meets it.
struct Prepared {
    spool: PathBuf,
    said: Said,
    damaged: Option<String>,
}

fn prepare(before: Before, place: &Path) -> Prepared {
    let spool = place.join("before");
    let mut prepared = Prepared { spool: spool.clone(), said: Said::default(), damaged: None };
    match before {
        Before::NoSpool => {}
        Before::Records(records) => prepared.said = Said::of(&everything::fill(&folder(&spool), records)),
        Before::Damaged => {
            prepared.said = Said::of(&everything::fill(&folder(&spool), 100));
            prepared.damaged = Some(damage_a_record(&spool));
        }
    }
    prepared
}

/// Damages the values of the fifth record of the active segment in each copy of its frame; tells
/// the uuid.
fn damage_a_record(spool: &Path) -> String {
    let mut open = folder(spool).open(NOW).unwrap();
    let uuid = waiting_in(&mut open).unwrap()[4].record.uuid.clone();
    open.close().unwrap();
    let log = spool.join("seg-00000001/db");
    let mut bytes = fs::read(&log).unwrap();
    let at: Vec<usize> = bytes
        .windows(uuid.len())
        .enumerate()
        .filter(|(_, window)| *window == uuid.as_bytes())
        .map(|(at, _)| at)
        .collect();
    at.into_iter().for_each(|at| bytes[at + 110] ^= 0x55);
    fs::write(&log, bytes).unwrap();
    uuid
}

/// The child that makes the step of a scene, and the fresh copy of the spool that it meets.
fn child_of(scene: usize, prepared: &Prepared, place: &Path) -> (Command, PathBuf) {
    let spool = place.join("spool");
    _ = fs::remove_dir_all(&spool);
    if prepared.spool.exists() {
        copy(&prepared.spool, &spool);
        private(&spool);
    }
    let mut child = role(module_path!(), "child_that_makes_a_step");
    child.env(SPOOL, &spool).env(SCENE, scene.to_string());
    (child, spool)
}

/// Makes the step of a scene with one operation hit; tells what is wrong afterwards.
fn hit_once(
    faults: &Faults,
    number: usize,
    prepared: &Prepared,
    place: &Path,
    way: (Hit, &str),
    at: usize,
) -> Option<String> {
    let (mut child, spool) = child_of(number, prepared, place);
    let output = faults.hit(&mut child, place, way.1, at, way.0).output().unwrap();
    let mut said = prepared.said.clone();
    said.hear(&out(&output));
    ended_badly(&output, way.0).or_else(|| wrong_with(&spool, &said, prepared.damaged.as_deref()))
}

/// A process ends by itself with words that name the system's error, or is killed.
fn ended_badly(output: &Output, hit: Hit) -> Option<String> {
    let killed = output.status.signal() == Some(SIGKILL) && matches!(hit, Hit::Kill | Hit::Killed);
    if !killed && output.status.code() != Some(0) {
        return Some(format!("it ended with {}: {}", output.status, err(output)));
    }
    let text = out(output);
    let failed = text.lines().find_map(|line| line.strip_prefix("failed: "))?;
    let (Hit::Error(number) | Hit::Dying(number)) = hit else { return Some(format!("it failed: {failed}")) };
    let named = failed.contains(&format!("os error {number}")) || failed.contains("an earlier write");
    (!named).then(|| format!("the error does not name its cause: {failed}"))
}

fn private(spool: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(spool, fs::Permissions::from_mode(0o700)).unwrap();
}

/// At which of `all` operations to hit.
fn moments(all: usize, wanted: usize) -> Vec<usize> {
    match wanted {
        0 => (1..=all).collect(),
        wanted => (0..wanted.min(all)).map(|n| 1 + n * all / wanted.min(all)).collect(),
    }
}

#[test]
fn whichever_operation_is_hit_nothing_is_lost_and_the_next_process_goes_on() {
    let place = in_memory();
    let aside = tempfile::tempdir().unwrap();
    let faults = Faults::new(aside.path());
    let wanted = how_many("SALVER_TEST_FAULTS", 4);
    let (mut runs, mut wrong) = (0, Vec::new());
    for (number, scene) in SCENES.iter().enumerate() {
        let place = place.path().join(number.to_string());
        fs::create_dir(&place).unwrap();
        let prepared = prepare(scene.before, &place);
        for way in WAYS {
            let (mut child, _) = child_of(number, &prepared, &place);
            let all = faults.count(&mut child, &place, way.1);
            assert!(all > 0, "{scene:?} makes no operations of the kind {}", way.1);
            for at in moments(all, wanted) {
                runs += 1;
                let what = hit_once(&faults, number, &prepared, &place, way, at);
                wrong.extend(what.map(|what| format!("{scene:?} {way:?} at {at} of {all}: {what}")));
            }
        }
    }
    println!("{runs} runs");
    assert!(
        wrong.is_empty(),
        "{} of {runs}, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(30)].join("\n")
    );
}

//! Promises 1, 5 and 6: wherever a process is killed while it records, delivers, purges or lets the limits evict, the spool is as
//! before the step or as after it, nothing acknowledged is lost or back, and the ledger accounts for every record that left.
//!
//! The child is this test program in another role, which says what it does; what the spool must hold follows from that alone
//! (support/said.rs). `SALVER_TEST_KILLS` sets how often it is killed. On Linux the power-cut test looks at the same steps call by
//! call; this one needs no shim and runs everywhere.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::support::dice::Dice;
use crate::support::everything;
use crate::support::folders::{NOW, spool_folder, waiting_in};
use crate::support::role::role;
use crate::support::said::{Said, have_left};
use crate::support::scratch::how_many;
use crate::support::service::Service;
use salver::spool::SpoolFolder;

const SPOOL: &str = "SALVER_TEST_SPOOL";
const SEED: &str = "SALVER_TEST_SEED";

/// A spool is used for so many kills: its ledger keeps 1,000 entries, and all of them are counted here.
const KILLS_OF_A_SPOOL: usize = 10;

/// Does everything that changes a spool until it is killed.
#[test]
#[ignore = "not a test but the child that is killed"]
fn child_that_does_everything() {
    let (Some(spool), Ok(seed)) = (std::env::var_os(SPOOL), std::env::var(SEED)) else { return };
    let seed: usize = seed.parse().unwrap();
    let mut dice = Dice::new(seed as u64);
    (seed..seed + 10_000)
        .for_each(|number| everything::round(&spool_folder(Path::new(&spool)), &mut dice, number));
}

/// What a spool holds, by uuid and instance, and how many records have left it by its ledger.
fn looked_at(folder: &SpoolFolder) -> (Vec<(String, String)>, u64) {
    let mut spool = folder.open(NOW).unwrap();
    let waiting = waiting_in(&mut spool).unwrap().into_iter();
    let queue = waiting.map(|queued| (queued.record.uuid, queued.record.instance)).collect();
    let left = have_left(&spool.ledger());
    assert_eq!(spool.problems(), [], "a kill is no damage");
    spool.close().unwrap();
    (queue, left)
}

#[test]
fn a_step_that_is_cut_off_was_never_begun_or_is_finished() {
    let kills = how_many("SALVER_TEST_KILLS", 40);
    let root = tempfile::tempdir().unwrap();
    let mut steps = 0;
    for kill in 0..kills {
        let folder = spool_folder(&root.path().join(format!("spool-{}", kill / KILLS_OF_A_SPOOL)));
        let (before, left_before) = looked_at(&folder);
        let mut said = Said::of(&before);
        let mut child = role(module_path!(), "child_that_does_everything");
        let mut child = Service::start(child.env(SPOOL, &folder.path).env(SEED, kill.to_string()));
        // Not seeded: no seed would bring the same moment of another process back.
        let lines = fastrand::usize(1..90);
        child.wait_for("some steps", |it| it.stdout().len() >= lines);
        thread::sleep(Duration::from_micros(fastrand::u64(..10_000)));
        let ended = child.kill();
        assert!(!ended.by_itself(), "{ended:?}");
        said.hear(&ended.stdout.join("\n"));
        let begun =
            |line: &&String| ["delivering", "purging", "evicting"].iter().any(|it| line.starts_with(it));
        steps += ended.stdout.iter().filter(begun).count();
        let (queue, left) = looked_at(&folder);
        let uuids: Vec<String> = queue.into_iter().map(|(uuid, _)| uuid).collect();
        let wrong = said.wrong_with(&uuids, left - left_before);
        let last = &ended.stdout[ended.stdout.len().saturating_sub(6)..];
        assert_eq!(wrong, None, "kill {kill}, after {last:?}");
    }
    assert!(steps > kills / 4, "{steps} steps are too few to say anything");
}

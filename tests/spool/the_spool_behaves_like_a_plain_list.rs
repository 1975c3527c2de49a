//! Promise: whatever is done to a spool, in whatever order, it holds what a plain list would hold,
//! and who reads it without the lock sees what its last commit left.
//!
//! Random sequences of recording, delivering, refusing, retrying, purging by every selector,
//! evicting, expiring under a clock that is moved on and back, pausing, reopening and dying
//! (dropping the spool without closing it) run against the spool and against a list in memory. A
//! failure is reduced to a short sequence. `SALVER_TEST_SEEDS` is the number of sequences (default
//! 10, with deaths and without); the same number gives the same sequences.

use std::collections::BTreeSet;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, spool_folder};
use crate::support::plain_list::Answer;
use crate::support::scratch::{how_many, in_memory};
use crate::support::spool_world::{Condition, DAY_MS, RETENTION_MS, SpoolWorld, Step};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use salver::record::{BatchOutcome, Reason};

const MOST_STEPS: usize = 100;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn any_instance() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c"])
}

fn any_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => any_instance().prop_map(Condition::Instance),
        2 => any_instance().prop_map(Condition::IdOf),
        1 => select(vec!["butler", "butler-sos"]).prop_map(Condition::Service),
        3 => (0..10usize).prop_map(Condition::BeforeRecord),
        2 => Just(Condition::Dead),
        1 => Just(Condition::All),
    ]
}

/// By minutes, hours or days, on and back; by less than what would not be believed.
fn any_move() -> impl Strategy<Value = i64> {
    let most = select(vec![2 * MINUTE_MS, 3 * HOUR_MS, 2 * DAY_MS, RETENTION_MS + 2 * DAY_MS]);
    most.prop_flat_map(|most| -most..most)
}

fn any_delivery() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        3 => Just(Answer::Delivered),
        1 => Just(Answer::FirstRefused),
        1 => Just(Answer::Kept),
        1 => Just(Answer::None),
    ];
    let held = prop_oneof![
        2 => Just(BTreeSet::new()),
        1 => btree_set(any_instance().prop_map(str::to_owned), 1),
    ];
    (1..6usize, held, answer).prop_map(|(most, held, answer)| Step::Deliver { most, held, answer })
}

fn any_step(deaths: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => (any_instance(), 0..1000u64).prop_map(|(instance, value)| Step::Record { instance, value }),
        3 => any_delivery(),
        2 => vec(any_condition(), 1..3).prop_map(Step::Purge),
        1 => any_instance().prop_map(Step::PauseOrResume),
        1 => Just(Step::Revive),
        1 => select(vec![4, 8, 1 << 20]).prop_map(Step::SetMaxRecords),
        2 => any_move().prop_map(Step::MoveClock),
        1 => Just(Step::Reopen),
        2 => Just(if deaths { Step::Die } else { Step::Reopen }),
    ]
}

struct Machine<const DEATHS: bool>;

impl<const DEATHS: bool> ReferenceStateMachine for Machine<DEATHS> {
    /// The world begins empty, and all else follows from the steps.
    type State = ();
    type Transition = Step;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Step> {
        any_step(DEATHS).boxed()
    }

    fn apply((): (), _: &Step) {}
}

impl<const DEATHS: bool> StateMachineTest for Machine<DEATHS> {
    type SystemUnderTest = SpoolWorld;
    type Reference = Self;

    fn init_test((): &()) -> SpoolWorld {
        SpoolWorld::new()
    }

    fn apply(mut world: SpoolWorld, (): &(), step: Step) -> SpoolWorld {
        world.apply(step);
        world.assert_whole();
        world
    }
}

/// Runs random steps; the first failure is reduced and shown.
fn run<const DEATHS: bool>() {
    let cases = how_many("SALVER_TEST_SEEDS", 10) as u32;
    let config =
        Config { cases, rng_seed: RngSeed::Fixed(0), failure_persistence: None, ..Config::default() };
    let steps = Machine::<DEATHS>::sequential_strategy(1..MOST_STEPS);
    let ran = TestRunner::new(config.clone()).run(&steps, |((), steps, seen)| {
        Machine::<DEATHS>::test_sequential(config.clone(), (), steps, seen);
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

#[test]
fn random_actions_leave_the_spool_and_the_list_equal() {
    run::<false>();
}

#[test]
fn random_actions_and_deaths_leave_the_spool_and_the_list_equal() {
    run::<true>();
}

#[test]
fn sequences_that_once_failed() {
    let record = |instance| Step::Record { instance, value: 1 };
    let deliver = |answer| Step::Deliver { most: 1, held: BTreeSet::new(), answer };
    let erase = Step::Purge(vec![Condition::Instance("a")]);
    let sequences = [
        // A time was used twice after the clock was set back.
        vec![record("a"), Step::MoveClock(-2 * HOUR_MS), record("a"), Step::MoveClock(2 * HOUR_MS - 4000)],
        // A process died between a purge and the closing.
        vec![record("a"), record("b"), erase.clone(), Step::Die],
        vec![record("a"), Step::Reopen, record("a"), record("b"), erase, record("a"), Step::Die],
        // A dead letter came back to life when its process died between two batches.
        vec![record("a"), record("b"), deliver(Answer::FirstRefused), deliver(Answer::None), Step::Die],
        // A record that a clock which was set back had dated did not expire behind a younger one.
        vec![record("a"), Step::Die, Step::MoveClock(-6 * DAY_MS), record("a"), Step::MoveClock(11 * DAY_MS)],
    ];
    for sequence in sequences {
        let mut world = SpoolWorld::new();
        for step in sequence.into_iter().chain([record("a"), Step::Die, record("a"), Step::Reopen]) {
            world.apply(step);
            world.assert_whole();
        }
    }
}

#[test]
fn a_queue_of_several_segments_is_read_delivered_and_deleted_in_order() {
    const RECORDS: usize = 4_200;
    let place = in_memory();
    let folder = spool_folder(&place.path().join("spool"));
    let mut spool = folder.open(NOW).unwrap();
    let uuids: Vec<String> = spool
        .record_all("a", (0..RECORDS as u64).map(draft).collect(), Reason::Changed)
        .unwrap()
        .into_iter()
        .map(|record| record.uuid)
        .collect();
    spool.close().unwrap();
    let segments = || {
        let entries = std::fs::read_dir(&folder.path).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("seg-"))
            .count()
    };
    assert_eq!(segments(), 2);
    let mut delivered = Vec::new();
    loop {
        let mut spool = folder.open(NOW).unwrap();
        let batch = spool.next_batch(1_000, &BTreeSet::new()).unwrap();
        if batch.is_empty() {
            break;
        }
        delivered.extend(batch.iter().map(|it| it.record.uuid.clone()));
        spool.begin(&batch).unwrap();
        spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
        spool.close().unwrap();
    }
    assert_eq!(delivered, uuids);
    assert_eq!(segments(), 0, "a segment goes with its last record");
    let mut spool = folder.open(NOW).unwrap();
    let ledger: u64 = spool.ledger().iter().map(|entry| entry.records).sum();
    assert_eq!(ledger, RECORDS as u64);
    let next = spool.record("a", draft(1), Reason::Changed).unwrap();
    assert!(spool.next_seq() > RECORDS as u64 && !uuids.contains(&next.uuid), "numbers are never used twice");
}

//! Promise: whatever PostHog and the network answer, in whatever order, each record is delivered,
//! dead-lettered or kept, and only one of these. Records go out in the order in which they were
//! written, old and fresh ones apart. Each run ends, and waits no longer than it may.
//!
//! Random sequences of answers are played to the program's own decisions, with a simulated queue
//! and clock. A failure is reduced to a short sequence. `SALVER_TEST_SEEDS` is the number of
//! sequences (default 200); the same number gives the same sequences.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::planner_world::{OUTCOMES, World, accepted, http};
use crate::support::scratch::how_many;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use salver::forward::answer::{Answer, Body, Failure};
use salver::forward::plan::FlushLimits;

// Answers -----------------------------------------------------------------------------------------

fn any_failure() -> impl Strategy<Value = Failure> {
    use Failure::*;
    select(vec![NameLookup, Refused, AnswerTimeout, Silence, BrokenOff, Tls, NotHttp])
}

fn any_pause() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Duration::ZERO)),
        1 => (0..100u64).prop_map(|seconds| Some(Duration::from_secs(seconds))),
        1 => Just(Some(Duration::from_secs(u64::MAX))),
        1 => Just(Some(Duration::MAX)),
    ]
}

/// Every answer there is, with any pause; more often those on which much depends.
fn any_answer() -> impl Strategy<Value = Answer> {
    let words = || Body::Words("because".into());
    let any_body = move || select(vec![Body::Html, Body::Other, words()]);
    prop_oneof![
        7 => Just(accepted()),
        4 => any_pause().prop_map(move |pause| http(400, words(), pause)),
        2 => any_pause().prop_map(move |pause| http(413, words(), pause)),
        2 => any_failure().prop_map(Answer::Unreachable),
        1 => (select(vec![408, 425, 429, 500, 503]), any_pause())
            .prop_map(move |(status, pause)| http(status, words(), pause)),
        1 => any_pause().prop_map(|pause| http(200, Body::Accepted { quota_limited: true }, pause)),
        1 => (300..600u16).prop_map(|status| Answer::ProxyRefused { status }),
        1 => (any_body(), any_pause()).prop_map(|(body, pause)| http(200, body, pause)),
        1 => (100..600u16, any_body(), any_pause())
            .prop_map(|(status, body, pause)| http(status, body, pause)),
    ]
}

fn any_limits() -> impl Strategy<Value = FlushLimits> {
    (1..120usize, select(vec![0, 1, 1_000, 10_000]), option::of(0..150u64)).prop_map(
        |(batch_events, patience_ms, records)| FlushLimits {
            batch_events,
            patience: Duration::from_millis(patience_ms),
            records,
        },
    )
}

/// Records of which neighbours are mostly alike.
fn ages(records: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<bool>> {
    vec(proptest::bool::weighted(0.125), records).prop_map(|changes| {
        changes
            .into_iter()
            .scan(false, |is_old, changed| {
                Some({
                    *is_old ^= changed;
                    *is_old
                })
            })
            .collect()
    })
}

// Any answer --------------------------------------------------------------------------------------

struct AnyAnswer;

#[derive(Clone, Debug)]
enum Step {
    NewRun(FlushLimits, u64),
    Answer { answer: Answer, took_ms: u64, random: u64 },
}

impl ReferenceStateMachine for AnyAnswer {
    /// The ages of the records. All else follows from the steps.
    type State = Vec<bool>;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Vec<bool>> {
        ages(0..120).boxed()
    }

    fn transitions(_: &Vec<bool>) -> BoxedStrategy<Step> {
        prop_oneof![
            1 => (any_limits(), 2_000..100_000u64).prop_map(|(limits, bytes)| Step::NewRun(limits, bytes)),
            12 => (any_answer(), 0..2_000u64, any::<u64>())
                .prop_map(|(answer, took_ms, random)| Step::Answer { answer, took_ms, random }),
        ]
        .boxed()
    }

    fn apply(ages: Vec<bool>, _: &Step) -> Vec<bool> {
        ages
    }
}

impl StateMachineTest for AnyAnswer {
    type SystemUnderTest = World;
    type Reference = Self;

    fn init_test(ages: &Vec<bool>) -> World {
        World::new(ages)
    }

    fn apply(mut world: World, _: &Vec<bool>, step: Step) -> World {
        match step {
            Step::NewRun(limits, batch_bytes) => world.begin(limits, batch_bytes),
            Step::Answer { answer, took_ms, random } => {
                world.step(|_| answer, Duration::from_millis(took_ms), random);
            }
        }
        world
    }

    fn check_invariants(world: &World, _: &Vec<bool>) {
        world.assert_whole();
    }
}

// A network that often fails, and records that PostHog never takes --------------------------------

struct Poisoned;

#[derive(Clone, Debug)]
struct Trouble {
    ages: Vec<bool>,
    poison: BTreeSet<u64>,
    /// Larger batches never get through, and are refused for that or break the connection off.
    most: Option<(usize, Size)>,
}

#[derive(Clone, Copy, Debug)]
enum Size {
    Refused,
    BreaksOff,
}

impl Trouble {
    fn answer(&self, batch: &[u64]) -> Answer {
        match self.most {
            Some((most, Size::Refused)) if batch.len() > most => http(413, Body::Other, None),
            Some((most, Size::BreaksOff)) if batch.len() > most => Answer::Unreachable(Failure::BrokenOff),
            _ if batch.iter().any(|number| self.poison.contains(number)) => http(400, Body::Other, None),
            _ => accepted(),
        }
    }
}

#[derive(Clone, Debug)]
enum Attempt {
    NewRun(FlushLimits),
    Fails(Failure, u64),
    Passes(u64),
}

impl ReferenceStateMachine for Poisoned {
    type State = Trouble;
    type Transition = Attempt;

    fn init_state() -> BoxedStrategy<Trouble> {
        let trouble = |records: usize| {
            let poison = vec(0..records as u64, 0..12).prop_map(BTreeSet::from_iter);
            (ages(records), poison, option::of((1..40usize, select(vec![Size::Refused, Size::BreaksOff]))))
        };
        (1..120usize)
            .prop_flat_map(trouble)
            .prop_map(|(ages, poison, most)| Trouble { ages, poison, most })
            .boxed()
    }

    fn transitions(_: &Trouble) -> BoxedStrategy<Attempt> {
        prop_oneof![
            1 => any_limits().prop_map(|limits| Attempt::NewRun(FlushLimits { records: None, ..limits })),
            2 => (any_failure(), any::<u64>()).prop_map(|(failure, random)| Attempt::Fails(failure, random)),
            8 => any::<u64>().prop_map(Attempt::Passes),
        ]
        .boxed()
    }

    fn apply(trouble: Trouble, _: &Attempt) -> Trouble {
        trouble
    }
}

impl StateMachineTest for Poisoned {
    type SystemUnderTest = World;
    type Reference = Self;

    fn init_test(trouble: &Trouble) -> World {
        World::new(&trouble.ages)
    }

    fn apply(mut world: World, trouble: &Trouble, attempt: Attempt) -> World {
        match attempt {
            Attempt::NewRun(limits) => world.begin(limits, 100_000),
            Attempt::Fails(failure, random) => {
                world.step(|_| Answer::Unreachable(failure), Duration::ZERO, random);
            }
            Attempt::Passes(random) => world.step(|batch| trouble.answer(batch), Duration::ZERO, random),
        }
        world
    }

    fn check_invariants(world: &World, trouble: &Trouble) {
        world.assert_whole();
        assert!(world.dead.iter().all(|number| trouble.poison.contains(number)), "{:?}", world.dead);
    }

    /// Once the network is well, the queue is drained.
    fn teardown(mut world: World, trouble: Trouble) {
        let steps = (0..1_000).take_while(|random| {
            world.step(|batch| trouble.answer(batch), Duration::ZERO, *random);
            !world.queue.is_empty()
        });
        assert!(steps.count() < 1_000, "{} still wait", world.queue.len());
        world.assert_whole();
        assert!(world.dead.iter().eq(&trouble.poison), "{:?}", world.dead);
    }
}

// Tests -------------------------------------------------------------------------------------------

/// Plays sequences of up to this many steps; the first failure is reduced and shown.
fn play<T>(steps: usize)
where
    T: StateMachineTest<Reference = T> + ReferenceStateMachine + 'static,
{
    let cases = how_many("SALVER_TEST_SEEDS", 200) as u32;
    let config =
        Config { cases, rng_seed: RngSeed::Fixed(0), failure_persistence: None, ..Config::default() };
    let played = TestRunner::new(config.clone()).run(&T::sequential_strategy(1..steps), |case| {
        let (state, transitions, seen) = case;
        T::test_sequential(config.clone(), state, transitions, seen);
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}

#[test]
fn whatever_is_answered_in_whatever_order() {
    play::<AnyAnswer>(80);
    let outcomes = OUTCOMES.lock().unwrap();
    assert_eq!(outcomes.len(), 6, "every outcome there is: {outcomes:?}");
}

#[test]
fn each_record_that_posthog_never_takes_is_found_and_no_other() {
    play::<Poisoned>(80);
}

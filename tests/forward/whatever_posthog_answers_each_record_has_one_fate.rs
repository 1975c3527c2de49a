//! Promise: whatever PostHog and the line answer, in whatever order, a record is delivered, set
//! apart or kept, and only one of these; they go out in the order of writing, old and fresh ones
//! apart; each run ends, and waits no longer than it may.
//!
//! Random rows of answers are played to the program's own decisions, with a queue and a clock that
//! are made up. `SALVER_TEST_SEEDS` is how many rows (default 200).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::NOW;
use crate::support::scratch::how_many;
use fastrand::Rng;
use salver::forward::answer::{Answer, Body, Failure};
use salver::forward::backoff::{self, RETRY_AFTER_CAP};
use salver::forward::plan::{FlushEnd, FlushLimits, FlushStep, Planner};
use salver::forward::verdict::FlushOutcome;
use salver::forward::wire::{self, RequestOptions};
use salver::record::BatchOutcome;
use salver::record::{Reason, Record};
use salver::secret::Secret;
use salver::spool::Queued;

const HOUR_MS: i64 = 3_600_000;

/// Older than this is historical.
const HISTORY: i64 = 48 * HOUR_MS;

/// A queue and what became of its records, by their sequence numbers.
#[derive(Default)]
struct World {
    queue: Vec<Queued>,
    delivered: Vec<u64>,
    dead: Vec<u64>,
    /// What the runs so far learned of the line.
    link_batch_events: Option<u64>,
}

/// What a run did.
struct Run {
    ending: FlushEnd,
    waited: Duration,
}

impl World {
    /// So many records of random ages.
    fn of(records: u64, random: &mut Rng) -> World {
        let mut old = random.bool();
        let mut queued = |seq| {
            old ^= random.u8(..8) == 0;
            let age_ms = if old { HISTORY + HOUR_MS } else { HOUR_MS };
            Queued {
                seq,
                record: Record {
                    uuid: seq.to_string(),
                    timestamp_ms: NOW - age_ms,
                    instance: "one".into(),
                    reason: Reason::Changed,
                    agent_version: "0.1.0".into(),
                    draft: draft(seq),
                },
                attempts: 0,
                dead: None,
            }
        };
        World { queue: (0..records).map(&mut queued).collect(), ..World::default() }
    }

    /// Plays one run; `answer` says what a batch gets, and how long it takes.
    fn run(
        &mut self,
        limits: FlushLimits,
        random: &mut Rng,
        mut answer: impl FnMut(&mut Rng, &[u64]) -> (Answer, Duration),
    ) -> Run {
        let shape = RequestOptions {
            api_key: Secret::new("phc_test"),
            batch_bytes: random.u64(2_000..100_000),
            historical_after: Duration::from_millis(HISTORY as u64),
            geoip: false,
        };
        let mut planner = Planner::new(limits, self.link_batch_events);
        let (mut now, mut waited, mut answers) = (Duration::ZERO, Duration::ZERO, 0);
        let left_before = self.left();
        // A record is sent once for each halving on the way down to it, and every failure takes
        // some of the patience.
        let most = 16 * (self.queue.len() + 1) + 110;
        loop {
            assert!(answers <= most, "{answers} answers, and {} records still wait", self.queue.len());
            match planner.next(now) {
                FlushStep::Done(ending) => {
                    assert_eq!(planner.next(now), FlushStep::Done(ending.clone()), "an end is an end");
                    assert!(limits.records.is_none_or(|most| (self.left() - left_before) as u64 <= most));
                    self.link_batch_events = planner.link_batch_events();
                    return Run { ending, waited };
                }
                FlushStep::Wait(wait) => {
                    waited += wait;
                    now += wait;
                }
                FlushStep::Send { max_events, .. } => {
                    assert!((1..=limits.batch_events).contains(&max_events));
                    let head = &self.queue[..max_events.min(self.queue.len())];
                    if head.is_empty() {
                        planner.queue_is_empty();
                        continue;
                    }
                    let events = wire::write(
                        head.iter().map(|queued| &queued.record),
                        &shape,
                        NOW,
                        &mut std::io::sink(),
                    )
                    .unwrap();
                    let batch: Vec<u64> = head[..events].iter().map(|queued| queued.seq).collect();
                    let old = |queued: &Queued| queued.record.timestamp_ms < NOW - HISTORY;
                    assert!(
                        head[..events].iter().all(|queued| old(queued) == old(&head[0])),
                        "old and fresh"
                    );
                    let (answer, took) = answer(random, &batch);
                    now += took;
                    answers += 1;
                    let fate = planner.learn(&answer, events, now, random.u64(..));
                    self.carry_out(&fate, events);
                }
            }
        }
    }

    fn carry_out(&mut self, fate: &BatchOutcome, events: usize) {
        match fate {
            BatchOutcome::Delivered => {
                self.delivered.extend(self.queue.drain(..events).map(|queued| queued.seq))
            }
            BatchOutcome::DeadLettered { .. } => {
                assert_eq!(events, 1, "one that stands alone");
                self.dead.push(self.queue.remove(0).seq);
            }
            BatchOutcome::Kept | BatchOutcome::Uncertain => {}
        }
    }

    /// How many records have left the queue.
    fn left(&self) -> usize {
        self.delivered.len() + self.dead.len()
    }

    /// Each record is in one place, and each place is in the order of writing.
    fn assert_whole(&self, records: u64) {
        let kept: Vec<u64> = self.queue.iter().map(|queued| queued.seq).collect();
        for place in [&self.delivered, &self.dead, &kept] {
            assert!(place.is_sorted(), "{place:?}");
        }
        let mut all = [&self.delivered[..], &self.dead, &kept].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..records), "{:?} {:?} {kept:?}", self.delivered, self.dead);
    }
}

fn http(status: u16, body: Body, retry_after: Option<Duration>) -> Answer {
    Answer::Http { status, body, retry_after }
}

fn accepted() -> Answer {
    http(200, Body::Accepted { quota_limited: false }, None)
}

fn any_failure(random: &mut Rng) -> Answer {
    use Failure::*;
    Answer::Unreachable(
        random.choice([NameLookup, Refused, AnswerTimeout, Silence, BrokenOff, Tls, NotHttp]).unwrap(),
    )
}

/// Any answer there is, with any wish for a pause; often one on which much depends.
fn any_answer(random: &mut Rng) -> Answer {
    let words = || Body::Words("because".into());
    let pause = match random.u8(..6) {
        0 => Some(Duration::ZERO),
        1 => Some(Duration::from_secs(random.u64(..100))),
        2 => Some(Duration::from_secs(u64::MAX)),
        3 => Some(Duration::MAX),
        _ => None,
    };
    match random.u8(..20) {
        0..=6 => accepted(),
        7..=10 => http(400, words(), pause),
        11 | 12 => http(413, words(), pause),
        13 | 14 => any_failure(random),
        15 => http(random.choice([408, 425, 429, 500, 503]).unwrap(), words(), pause),
        16 => http(200, Body::Accepted { quota_limited: true }, pause),
        17 => Answer::ProxyRefused { status: random.u16(300..600) },
        18 => http(200, random.choice([Body::Html, Body::Other, words()]).unwrap(), pause),
        _ => http(random.u16(100..600), random.choice([Body::Html, Body::Other, words()]).unwrap(), pause),
    }
}

fn any_limits(random: &mut Rng) -> FlushLimits {
    FlushLimits {
        batch_events: random.usize(1..120),
        patience: Duration::from_millis(random.choice([0, 1, 1_000, 10_000]).unwrap()),
        records: random.bool().then(|| random.u64(..150)),
    }
}

#[test]
fn whatever_is_answered_in_whatever_order() {
    let mut seen = BTreeSet::new();
    for seed in 0..how_many("SALVER_TEST_SEEDS", 200) as u64 {
        let random = &mut Rng::with_seed(seed);
        let records = random.u64(..120);
        let mut world = World::of(records, random);
        for _ in 0..4 {
            let limits = any_limits(random);
            let run = world.run(limits, random, |random, _| {
                (any_answer(random), Duration::from_millis(random.u64(..2_000)))
            });
            world.assert_whole(records);
            assert!(run.waited <= limits.patience, "seed {seed}: waited {:?}", run.waited);
            let pause = backoff::delay(random.u32(..), run.ending.retry_after, random.u64(..));
            assert!(pause <= RETRY_AFTER_CAP, "seed {seed}: {pause:?}");
            let failed = [FlushOutcome::Unreachable, FlushOutcome::Refused, FlushOutcome::Throttled]
                .contains(&run.ending.outcome);
            assert_eq!(failed, run.ending.why.is_some(), "seed {seed}: a failure has a reason");
            let emptied = [FlushOutcome::Drained, FlushOutcome::Empty].contains(&run.ending.outcome);
            assert!(!emptied || world.queue.is_empty(), "seed {seed}");
            seen.insert(run.ending.outcome.to_string());
        }
    }
    assert_eq!(seen.len(), 6, "every end there is: {seen:?}");
}

#[test]
fn each_record_that_posthog_never_takes_is_found_and_no_other() {
    for seed in 0..how_many("SALVER_TEST_SEEDS", 200) as u64 {
        let random = &mut Rng::with_seed(seed);
        let records = random.u64(1..120);
        let poison: BTreeSet<u64> = (0..random.usize(..12)).map(|_| random.u64(..records)).collect();
        let narrow = if random.bool() { random.usize(1..40) } else { usize::MAX };
        let mut world = World::of(records, random);
        let mut runs = 0;
        while !world.queue.is_empty() {
            let limits = FlushLimits { records: None, ..any_limits(random) };
            // A line that often fails, and where it is narrow always at some size.
            world.run(limits, random, |random, batch| {
                let answer = match random.u8(..5) {
                    0 => any_failure(random),
                    _ if batch.len() > narrow => Answer::Unreachable(Failure::BrokenOff),
                    _ if batch.iter().any(|seq| poison.contains(seq)) => http(400, Body::Other, None),
                    _ => accepted(),
                };
                (answer, Duration::ZERO)
            });
            runs += 1;
            assert!(runs < 500, "seed {seed}: {} still wait", world.queue.len());
        }
        world.assert_whole(records);
        assert!(world.dead.iter().eq(&poison), "seed {seed}: {:?} for {poison:?}", world.dead);
    }
}

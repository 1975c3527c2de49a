//! Promise: when a thousand servers lose their line together, or their power, and get it back at one moment, PostHog sees them
//! come one after the other: no second has more than [`MOST_A_SECOND`] of them begin.
//!
//! The decisions are the program's own, the time is made up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use salver::forward::answer::{Answer, Body, Failure};
use salver::forward::backoff;
use salver::forward::plan::{FlushLimits, FlushStep, Planner};
use salver::forward::verdict::FlushOutcome;
use salver::record::BatchOutcome;

const SERVERS: usize = 1000;
const MOST_A_SECOND: usize = 25;
const EVERY: Duration = Duration::from_secs(15 * 60);
const HOUR: u64 = 3600;

/// How long a request takes that is answered.
const REQUEST: Duration = Duration::from_millis(200);

/// The service, without a patience of its own.
const LIMITS: FlushLimits = FlushLimits { batch_events: 2000, patience: Duration::ZERO, records: None };

#[derive(Clone)]
struct Server {
    waiting: usize,
    failures: u32,
}

/// What PostHog saw: how many runs began, and how many requests came, by second.
#[derive(Default)]
struct Seen {
    runs: BTreeMap<u64, usize>,
    requests: BTreeMap<u64, usize>,
    left: usize,
}

impl Seen {
    fn most_runs(&self) -> usize {
        self.runs.values().copied().max().unwrap_or(0)
    }
}

/// Plays `until` that time, with `begin` as the first attempt of each server. `answer` is what a request gets at a time; a
/// refusal counts as seen, a line that is down does not.
fn play(until: Duration, begin: impl Fn(u64) -> Duration, answer: impl Fn(Duration) -> Answer) -> Seen {
    let mut random = fastrand::Rng::with_seed(7);
    let mut servers = vec![Server { waiting: 9_000, failures: 0 }; SERVERS];
    let mut next: BinaryHeap<Reverse<(Duration, usize)>> =
        (0..SERVERS).map(|number| Reverse((begin(random.u64(..)), number))).collect();
    let mut seen = Seen::default();
    while let Some(Reverse((now, number))) = next.pop().filter(|Reverse((now, _))| *now < until) {
        let server = &mut servers[number];
        let (ended, outcome, asked) = run(server, now, &answer, &mut seen, random.u64(..));
        let wait = match outcome {
            FlushOutcome::Drained | FlushOutcome::Empty => {
                server.failures = 0;
                backoff::regular(EVERY, random.u64(..))
            }
            _ => {
                server.failures += 1;
                backoff::delay(server.failures, asked, random.u64(..))
            }
        };
        next.push(Reverse((ended + wait, number)));
    }
    seen.left = servers.iter().map(|server| server.waiting).sum();
    seen
}

/// One run of one server; tells when it ended, and how.
fn run(
    server: &mut Server,
    began: Duration,
    answer: impl Fn(Duration) -> Answer,
    seen: &mut Seen,
    random: u64,
) -> (Duration, FlushOutcome, Option<Duration>) {
    let mut planner = Planner::new(LIMITS, None);
    let (mut now, mut first) = (began, true);
    loop {
        match planner.next(now) {
            FlushStep::Done(ending) => return (now, ending.outcome, ending.retry_after),
            FlushStep::Wait(wait) => now += wait,
            FlushStep::Send { .. } if server.waiting == 0 => planner.queue_is_empty(),
            FlushStep::Send { max_events, .. } => {
                let batch = max_events.min(server.waiting);
                let answer = answer(now);
                if !matches!(answer, Answer::Unreachable(_)) {
                    *seen.requests.entry(now.as_secs()).or_default() += 1;
                    *seen.runs.entry(now.as_secs()).or_default() += usize::from(first);
                    now += REQUEST;
                }
                first = false;
                if planner.learn(&answer, batch, now, random) == BatchOutcome::Delivered {
                    server.waiting -= batch;
                }
            }
        }
    }
}

fn accepted() -> Answer {
    Answer::Http { status: 200, body: Body::Accepted { quota_limited: false }, retry_after: None }
}

fn busy(retry_after: Option<Duration>) -> Answer {
    Answer::Http { status: 503, body: Body::Other, retry_after }
}

#[test]
fn after_a_line_was_down_for_hours() {
    let line = |now: Duration| match now.as_secs() < 3 * HOUR {
        true => Answer::Unreachable(Failure::NoRoute),
        false => accepted(),
    };
    let seen = play(Duration::from_secs(4 * HOUR), |random| backoff::regular(EVERY, random), line);
    assert!(seen.most_runs() <= MOST_A_SECOND, "{:?}", seen.runs);
    assert_eq!(seen.left, 0, "and all have delivered within the hour");
    let requests = seen.requests.values().sum::<usize>();
    assert_eq!(requests, SERVERS * 5, "9,000 records are five batches");
}

#[test]
fn after_the_power_was_off_and_all_started_at_one_moment() {
    let seen = play(Duration::from_secs(HOUR), |random| backoff::at_start(EVERY, random), |_| accepted());
    assert!(seen.most_runs() <= MOST_A_SECOND, "{:?}", seen.runs);
    assert_eq!(seen.left, 0);
}

#[test]
fn while_posthog_is_out_of_order_and_after() {
    for asked in [None, Some(Duration::from_secs(60))] {
        let server = |now: Duration| if now.as_secs() < HOUR { busy(asked) } else { accepted() };
        let seen = play(Duration::from_secs(3 * HOUR), |random| backoff::at_start(EVERY, random), server);
        // The first minutes see the short waits of those who have only begun to fail.
        let later = seen.runs.range(600..).map(|(_, runs)| *runs).max().unwrap();
        assert!(later <= MOST_A_SECOND, "{asked:?}: {later}");
        assert_eq!(seen.left, 0);
    }
}

/// What it is for: without the draw all would come in one second.
#[test]
fn the_same_moment_for_all_would_be_seen() {
    let seen = play(Duration::from_secs(HOUR), |_| Duration::from_secs(60), |_| accepted());
    assert_eq!(seen.most_runs(), SERVERS);
}

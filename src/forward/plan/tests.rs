//! Outages, played with a simulated queue and server, without a socket or a clock.

use super::*;
use crate::forward::answer::{Body, Failure};

const LIMITS: FlushLimits =
    FlushLimits { batch_events: 2000, patience: Duration::from_secs(10), records: None };
const BROKEN_OFF: Answer = Answer::Unreachable(Failure::BrokenOff);

fn http(status: u16) -> Answer {
    Answer::Http { status, body: Body::Words("because".into()), retry_after: None }
}

fn accepted() -> Answer {
    Answer::Http { status: 200, body: Body::Accepted { quota_limited: false }, retry_after: None }
}

/// What a simulated run did.
#[derive(Default)]
struct Run {
    delivered: Vec<u32>,
    dead: Vec<u32>,
    left: Vec<u32>,
    batches: Vec<usize>,
    waited: Duration,
    outcome: Option<FlushOutcome>,
}

/// Plays a run on the queue 0..records. The clock stands still, the worst case for termination.
fn play(limits: FlushLimits, records: u32, answer: impl FnMut(&[u32]) -> Answer) -> Run {
    play_on(limits, &mut None, 0..records, answer)
}

/// Plays a run on any queue, with what the last run learned of the network.
fn play_on(
    limits: FlushLimits,
    link_batch_events: &mut Option<u64>,
    records: impl IntoIterator<Item = u32>,
    mut answer: impl FnMut(&[u32]) -> Answer,
) -> Run {
    let mut planner = Planner::new(limits, *link_batch_events);
    let mut run = Run { left: records.into_iter().collect(), ..Run::default() };
    for turn in 0..1_000_000 {
        match planner.next(Duration::ZERO) {
            FlushStep::Wait(wait) => {
                assert!(wait <= backoff::RETRY_AFTER_CAP);
                run.waited += wait;
            }
            FlushStep::Done(ending) => {
                run.outcome = Some(ending.outcome);
                *link_batch_events = planner.link_batch_events();
                return run;
            }
            FlushStep::Send { max_events, .. } => {
                assert!((1..=limits.batch_events).contains(&max_events));
                let batch = &run.left[..max_events.min(run.left.len())];
                if batch.is_empty() {
                    planner.queue_is_empty();
                    continue;
                }
                run.batches.push(batch.len());
                match planner.learn(&answer(batch), batch.len(), Duration::ZERO, turn * 7919) {
                    BatchOutcome::Delivered => {
                        run.delivered.extend(run.left.drain(..run.batches[run.batches.len() - 1]))
                    }
                    BatchOutcome::DeadLettered { .. } => {
                        assert_eq!(batch.len(), 1);
                        run.dead.push(run.left.remove(0));
                    }
                    BatchOutcome::Kept | BatchOutcome::Uncertain => {}
                }
            }
        }
    }
    panic!("the run doesn't end");
}

#[test]
fn a_poison_record_is_isolated_and_the_others_delivered() {
    for poison in [0, 1, 49, 50, 99] {
        let run = play(LIMITS, 100, |batch| if batch.contains(&poison) { http(400) } else { accepted() });
        assert_eq!(run.dead, [poison]);
        assert!(run.delivered.iter().copied().eq((0..100).filter(|record| *record != poison)));
        assert_eq!(run.outcome, Some(FlushOutcome::Drained));
        assert!(run.batches.len() <= 10, "{:?}", run.batches);
    }
}

#[test]
fn a_limit_on_size_is_found_once_and_kept_to() {
    let run = play(LIMITS, 10_000, |batch| if batch.len() > 300 { http(413) } else { accepted() });
    assert_eq!((run.delivered.len(), run.dead.len()), (10_000, 0));
    assert_eq!(run.batches[..4], [2000, 1000, 500, 250]);
    assert!(run.batches[3..].iter().all(|events| *events == 250));
}

#[test]
fn a_weak_line_shrinks_batches_and_a_good_one_grows_them_again() {
    let mut attempt = 0;
    let run = play(LIMITS, 10_000, |_| {
        attempt += 1;
        if attempt <= 2 { BROKEN_OFF } else { accepted() }
    });
    assert_eq!(run.batches[..2], [2000, 1000]);
    let few = 2 + PASSES_BEFORE_GROWTH as usize;
    assert!(run.batches[2..few].iter().all(|events| *events == 500), "{:?}", run.batches);
    assert_eq!(run.batches[few..], [1000, 2000, 2000, 1000]);
    assert_eq!(run.outcome, Some(FlushOutcome::Drained));
}

#[test]
fn a_line_that_takes_few_events_at_a_time_is_drained_by_runs_that_end_at_the_first_failure() {
    let service = FlushLimits { patience: Duration::ZERO, ..LIMITS };
    for takes in [1, 7, 300, 1999] {
        let mut link_batch_events = None;
        let mut queue: Vec<u32> = (0..10_000).collect();
        let mut delivered = Vec::new();
        let (mut runs, mut requests) = (0, 0);
        while !queue.is_empty() {
            let run = play_on(service, &mut link_batch_events, queue, |batch| {
                if batch.len() > takes { BROKEN_OFF } else { accepted() }
            });
            delivered.extend(run.delivered);
            queue = run.left;
            requests += run.batches.len();
            runs += 1;
            assert!(runs < 2_000, "{takes}: {} are left", queue.len());
        }
        assert!(delivered.into_iter().eq(0..10_000), "{takes}");
        // No batch is smaller than half of what passes, and few are sent in vain.
        assert!(requests <= 10_000 / takes.div_ceil(2) * 5 / 4 + 20, "{takes}: {requests} requests");
    }
}

#[test]
fn what_was_learned_of_a_line_is_forgotten_when_a_full_batch_passes() {
    let service = FlushLimits { patience: Duration::ZERO, ..LIMITS };
    let mut link_batch_events = None;
    for half in [1000, 500, 250] {
        play_on(service, &mut link_batch_events, 0..5_000, |_| BROKEN_OFF);
        assert_eq!(link_batch_events, Some(half));
    }
    // An outage of another kind and an empty queue do not change it.
    play_on(service, &mut link_batch_events, 0..5_000, |_| http(503));
    play_on(service, &mut link_batch_events, 0..0, |_| accepted());
    assert_eq!(link_batch_events, Some(250));
    let run = play_on(service, &mut link_batch_events, 0..20_000, |_| accepted());
    assert_eq!((run.batches[0], link_batch_events), (250, None));
    // Settings that allow no more than that hold from the start.
    let fewer = FlushLimits { batch_events: 100, ..service };
    let run = play_on(fewer, &mut Some(250), 0..300, |_| accepted());
    assert_eq!(run.batches, [100, 100, 100]);
}

#[test]
fn patience_bounds_the_waiting_in_all() {
    let run = play(LIMITS, 10, |_| Answer::Unreachable(Failure::Refused));
    assert_eq!((run.outcome, run.left.len()), (Some(FlushOutcome::Unreachable), 10));
    assert!(run.waited <= LIMITS.patience && run.batches.len() > 1, "{:?}", run.batches);

    let service = FlushLimits { patience: Duration::ZERO, ..LIMITS };
    let run = play(service, 10, |_| http(503));
    assert_eq!((run.batches.len(), run.waited), (1, Duration::ZERO));

    let mut planner = Planner::new(LIMITS, None);
    planner.next(Duration::ZERO);
    planner.learn(&BROKEN_OFF, 10, Duration::from_secs(30), 0);
    assert!(matches!(planner.next(Duration::from_secs(30)), FlushStep::Done(_)), "the attempt took it all");
}

#[test]
fn a_long_pause_or_a_wrong_setting_ends_the_run_at_once() {
    let retry_after = Some(Duration::from_secs(60));
    let busy = Answer::Http { status: 429, body: Body::Other, retry_after };
    for (answer, outcome, retry_after) in
        [(busy, FlushOutcome::Throttled, retry_after), (http(401), FlushOutcome::Refused, None)]
    {
        let mut planner = Planner::new(LIMITS, None);
        planner.next(Duration::ZERO);
        assert_eq!(planner.learn(&answer, 10, Duration::ZERO, 0), BatchOutcome::Kept);
        let FlushStep::Done(ending) = planner.next(Duration::ZERO) else { panic!("{answer:?}") };
        assert_eq!((ending.outcome, ending.retry_after), (outcome, retry_after));
        assert_eq!(planner.next(Duration::ZERO), FlushStep::Done(ending));
    }
}

#[test]
fn a_server_that_falls_silent_is_given_what_is_left_of_the_patience() {
    let second = Duration::from_secs(1);
    let mut planner = Planner::new(LIMITS, None);
    assert_eq!(planner.next(second), FlushStep::Send { max_events: 2000, silence: Some(10 * second) });
    planner.learn(&Answer::Unreachable(Failure::Refused), 10, 4 * second, 900);
    assert_eq!(planner.next(4 * second), FlushStep::Wait(second), "the longest wait after one failure");
    assert_eq!(planner.next(5 * second), FlushStep::Send { max_events: 2000, silence: Some(6 * second) });
    // Time between two attempts that succeed costs no patience.
    planner.learn(&accepted(), 2000, 9 * second, 0);
    assert_eq!(planner.next(9 * second), FlushStep::Send { max_events: 2000, silence: Some(6 * second) });

    let service = FlushLimits { patience: Duration::ZERO, ..LIMITS };
    let step = Planner::new(service, None).next(Duration::ZERO);
    assert_eq!(step, FlushStep::Send { max_events: 2000, silence: None });
}

#[test]
fn waits_get_longer_with_each_failure_in_a_row() {
    let patient = FlushLimits { patience: Duration::from_secs(100), ..LIMITS };
    let mut planner = Planner::new(patient, None);
    let fail = |planner: &mut Planner, random| {
        planner.next(Duration::ZERO);
        planner.learn(&http(503), 10, Duration::ZERO, random);
        match planner.next(Duration::ZERO) {
            FlushStep::Wait(wait) => wait.as_millis(),
            step => panic!("{step:?}"),
        }
    };
    assert_eq!([900, 1900, 3900].map(|most| fail(&mut planner, most)), [1000, 2000, 4000]);
    planner.next(Duration::ZERO);
    planner.learn(&accepted(), 10, Duration::ZERO, 0);
    assert_eq!(fail(&mut planner, 900), 1000, "a success begins the row anew");
}

#[test]
fn only_a_failure_that_may_depend_on_size_makes_batches_smaller_and_their_fate_uncertain() {
    let mut refused = Planner::new(LIMITS, None);
    let kept = refused.learn(&Answer::Unreachable(Failure::Refused), 2000, Duration::ZERO, 0);
    assert_eq!((kept, refused.link_batch_events()), (BatchOutcome::Kept, None));
    let mut broken = Planner::new(LIMITS, None);
    let kept = broken.learn(&BROKEN_OFF, 2000, Duration::ZERO, 0);
    assert_eq!((kept, broken.link_batch_events()), (BatchOutcome::Uncertain, Some(1000)));
    let mut refused = Planner::new(LIMITS, None);
    let kept = refused.learn(&http(503), 2000, Duration::ZERO, 0);
    assert_eq!((kept, refused.link_batch_events()), (BatchOutcome::Uncertain, None));
}

#[test]
fn dead_letters_count_against_the_limit() {
    let run = play(FlushLimits { records: Some(3), ..LIMITS }, 100, |_| http(400));
    assert_eq!((run.dead, run.outcome), (vec![0, 1, 2], Some(FlushOutcome::Limit)));
    let limits = FlushLimits { records: Some(5), ..LIMITS };
    let run = play(limits, 100, |batch| if batch.contains(&2) { http(400) } else { accepted() });
    assert_eq!((run.delivered, run.dead), (vec![0, 1, 3, 4], vec![2]));
}

#[test]
fn records_refused_alone_count_only_without_a_delivery_in_between() {
    // Each second record is refused, more of them than a row may have.
    let run = play(LIMITS, 300, |batch| match batch {
        [even] if even % 2 == 0 => accepted(),
        _ => http(400),
    });
    let refused = MAX_REFUSED_IN_A_ROW as usize + 50;
    assert_eq!((run.dead.len(), run.outcome), (refused, Some(FlushOutcome::Drained)));
    let run = play(LIMITS, MAX_REFUSED_IN_A_ROW, |_| http(400));
    assert_eq!((run.dead.len(), run.outcome), (100, Some(FlushOutcome::Refused)));
}

#[test]
fn limits_and_empty_queues_end_the_run() {
    let run = play(FlushLimits { records: Some(2500), ..LIMITS }, 10_000, |_| accepted());
    assert_eq!((run.batches, run.outcome), (vec![2000, 500], Some(FlushOutcome::Limit)));
    assert_eq!(play(LIMITS, 0, |_| accepted()).outcome, Some(FlushOutcome::Empty));
    assert_eq!(play(LIMITS, 1, |_| accepted()).outcome, Some(FlushOutcome::Drained));
    let run = play(FlushLimits { records: Some(0), ..LIMITS }, 10, |_| accepted());
    assert_eq!((run.batches, run.outcome), (vec![], Some(FlushOutcome::Limit)));
}

#[test]
fn a_server_that_refuses_everything_does_not_empty_the_queue() {
    let run = play(LIMITS, 10_000, |_| http(400));
    assert_eq!((run.dead.len(), run.outcome), (MAX_REFUSED_IN_A_ROW as usize, Some(FlushOutcome::Refused)));
}

//! A simulated queue, network and clock around the program's own planner and requests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use salver::forward::answer::{Answer, Body};
use salver::forward::backoff::{self, RETRY_AFTER_CAP};
use salver::forward::plan::{FlushEnd, FlushLimits, FlushStep, Planner};
use salver::forward::wire::{self, RequestOptions};
use salver::record::{BatchOutcome, Reason, Record};
use salver::secret::Secret;

use super::drafts::draft;
use super::folders::NOW;

const HOUR_MS: i64 = 3_600_000;

/// Older records are historical.
const HISTORY_MS: i64 = 48 * HOUR_MS;

const PATIENT: FlushLimits =
    FlushLimits { batch_events: 50, patience: Duration::from_secs(10), records: None };

/// The outcomes of all runs so far.
pub static OUTCOMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A queue, the run that empties it, and what became of the records, by their number.
pub struct World {
    pub queue: Vec<(u64, Record)>,
    delivered: Vec<u64>,
    pub dead: Vec<u64>,
    records: u64,
    batch_bytes: u64,
    limits: FlushLimits,
    planner: Planner,
    now: Duration,
    /// Of this run.
    waited: Duration,
    answers: usize,
    left_before: usize,
    most_answers: usize,
}

impl World {
    /// Records in this order, old where `is_old` says so.
    pub fn new(is_old: &[bool]) -> World {
        let record = |(number, is_old): (u64, &bool)| Record {
            uuid: number.to_string(),
            timestamp_ms: NOW - if *is_old { HISTORY_MS + HOUR_MS } else { HOUR_MS },
            instance: "one".into(),
            reason: Reason::Changed,
            agent_version: "0.1.0".into(),
            draft: draft(number),
        };
        let mut world = World {
            queue: (0..).zip(is_old).map(|numbered| (numbered.0, record(numbered))).collect(),
            delivered: Vec::new(),
            dead: Vec::new(),
            records: is_old.len() as u64,
            batch_bytes: 0,
            limits: PATIENT,
            planner: Planner::new(PATIENT, None),
            now: Duration::ZERO,
            waited: Duration::ZERO,
            answers: 0,
            left_before: 0,
            most_answers: 0,
        };
        world.begin(PATIENT, 100_000);
        world
    }

    /// Begins a run with what the run before learned of the network.
    pub fn begin(&mut self, limits: FlushLimits, batch_bytes: u64) {
        self.planner = Planner::new(limits, self.planner.link_batch_events());
        (self.limits, self.batch_bytes) = (limits, batch_bytes);
        (self.now, self.waited, self.answers) = (Duration::ZERO, Duration::ZERO, 0);
        self.left_before = self.left();
        // A record is sent once for each halving, and every failure uses up patience.
        self.most_answers = 16 * (self.queue.len() + 1) + 110;
    }

    /// Plays until one batch is answered or the run has ended; the next run begins with equal
    /// limits.
    pub fn step(&mut self, answer: impl FnOnce(&[u64]) -> Answer, took: Duration, random: u64) {
        loop {
            match self.planner.next(self.now) {
                FlushStep::Wait(wait) => {
                    self.waited += wait;
                    self.now += wait;
                }
                FlushStep::Done(end) => {
                    self.assert_end(&end, random);
                    return self.begin(self.limits, self.batch_bytes);
                }
                FlushStep::Send { max_events, .. } => {
                    assert!((1..=self.limits.batch_events).contains(&max_events));
                    let batch = self.next_batch(max_events);
                    if batch.is_empty() {
                        self.planner.queue_is_empty();
                        continue;
                    }
                    self.now += took;
                    self.answers += 1;
                    assert!(self.answers <= self.most_answers, "{} records wait", self.queue.len());
                    let answer = answer(&batch);
                    let outcome = self.planner.learn(&answer, batch.len(), self.now, random);
                    return self.carry_out(&answer, &outcome, batch.len());
                }
            }
        }
    }

    /// The records of the next request.
    fn next_batch(&self, max_events: usize) -> Vec<u64> {
        let request = RequestOptions {
            api_key: Secret::new("phc_test"),
            batch_bytes: self.batch_bytes,
            historical_after: Duration::from_millis(HISTORY_MS as u64),
            geoip: false,
        };
        let head = &self.queue[..max_events.min(self.queue.len())];
        let records = head.iter().map(|(_, record)| record);
        let events = wire::write(records, &request, NOW, &mut std::io::sink()).unwrap();
        let batch = &head[..events];
        let is_old = |(_, record): &(u64, Record)| record.timestamp_ms < NOW - HISTORY_MS;
        assert!(batch.iter().all(|record| is_old(record) == is_old(&batch[0])), "old and fresh");
        batch.iter().map(|(number, _)| *number).collect()
    }

    fn carry_out(&mut self, answer: &Answer, outcome: &BatchOutcome, events: usize) {
        match outcome {
            BatchOutcome::Delivered => {
                assert_eq!(*answer, accepted(), "delivered only on PostHog's own word");
                self.delivered.extend(self.queue.drain(..events).map(|(number, _)| number));
            }
            BatchOutcome::DeadLettered { .. } => {
                assert!(matches!(answer, Answer::Http { status: 400 | 413, .. }), "{answer:?}");
                assert_eq!(events, 1, "one that is alone");
                self.dead.push(self.queue.remove(0).0);
            }
            BatchOutcome::Kept | BatchOutcome::Uncertain => assert_ne!(*answer, accepted()),
        }
    }

    fn assert_end(&mut self, end: &FlushEnd, random: u64) {
        assert_eq!(self.planner.next(self.now), FlushStep::Done(end.clone()), "an end is an end");
        let left = (self.left() - self.left_before) as u64;
        assert!(self.limits.records.is_none_or(|most| left <= most));
        assert!(self.waited <= self.limits.patience, "waited {:?}", self.waited);
        assert!(backoff::delay(random as u32, end.retry_after, random) <= RETRY_AFTER_CAP);
        assert_eq!(end.outcome.is_failure(), end.why.is_some(), "a failure has a reason");
        let outcome = end.outcome.to_string();
        let emptied = outcome == "drained" || outcome == "empty";
        assert!(!emptied || self.queue.is_empty());
        OUTCOMES.lock().unwrap().insert(outcome);
    }

    /// The number of records that have left the queue.
    fn left(&self) -> usize {
        self.delivered.len() + self.dead.len()
    }

    /// Each record is in one place, and each place is in the order of writing.
    pub fn assert_whole(&self) {
        let kept: Vec<u64> = self.queue.iter().map(|(number, _)| *number).collect();
        for place in [&self.delivered, &self.dead, &kept] {
            assert!(place.is_sorted(), "{place:?}");
        }
        let mut all = [&self.delivered[..], &self.dead, &kept].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..self.records), "{:?} {:?} {kept:?}", self.delivered, self.dead);
    }
}

pub fn http(status: u16, body: Body, retry_after: Option<Duration>) -> Answer {
    Answer::Http { status, body, retry_after }
}

pub fn accepted() -> Answer {
    http(200, Body::Accepted { quota_limited: false }, None)
}

//! Promise: whatever is done to a spool, in whatever order, it holds what a plain list would hold.
//!
//! Random sequences of recording, delivering, refusing, retrying, purging by every selector, evicting, expiring under a clock that
//! is moved on and back, pausing, reopening and dying (dropping the spool without closing it) run against the spool and against a
//! list in memory. Seeds that ever failed are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::support::dice::Dice;
use crate::support::drafts::draft;
use crate::support::folders::{NOW, spool_folder, waiting_in};
use crate::support::scratch::{how_many, in_memory};
use salver::record::BatchOutcome;
use salver::record::{Draft, Reason};
use salver::spool::{LedgerReason, Queued, Selector, Spool, SpoolFolder};

/// The seeds that are tried. Those that once failed are among them: 3, where a time was used twice after the clock was set back;
/// 4 and 7, where a process died between a purge and the closing; 91, where a dead letter came back to life when its process died
/// between two batches.
fn seeds() -> impl Iterator<Item = u64> {
    (1..=how_many("SALVER_TEST_SEEDS", 12) as u64).chain([91])
}

const STEPS: usize = 60;
const HOUR: i64 = 3600 * 1000;
const DAY: i64 = 24 * HOUR;
const INSTANCES: [&str; 3] = ["a", "b", "c"];

/// What is known of a record without a spool.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    uuid: String,
    instance: String,
    id: String,
    service: String,
    timestamp_ms: i64,
    attempts: u32,
    dead: bool,
}

impl Known {
    fn of(queued: Queued) -> Known {
        Known {
            uuid: queued.record.uuid,
            instance: queued.record.instance,
            id: queued.record.draft.id,
            service: queued.record.draft.layout.service.clone(),
            timestamp_ms: queued.record.timestamp_ms,
            attempts: queued.attempts,
            dead: queued.dead.is_some(),
        }
    }

    fn is_selected(&self, selector: &Selector) -> bool {
        selector.id.as_ref().is_none_or(|id| *id == self.id)
            && selector.instance.as_ref().is_none_or(|instance| *instance == self.instance)
            && selector.service.as_ref().is_none_or(|service| *service == self.service)
            && selector.before_ms.is_none_or(|before| self.timestamp_ms < before)
            && (!selector.dead || self.dead)
    }
}

/// The plain list, and what goes with it.
#[derive(Clone, Default)]
struct List {
    records: Vec<Known>,
    in_flight: Vec<String>,
    /// How many have left it: delivered, refused, erased, evicted, expired.
    left: [u64; 5],
    /// Those of them that were delivered or erased, and when.
    gone: BTreeMap<String, i64>,
}

/// The spool and the list that are compared.
struct Pair {
    folder: SpoolFolder,
    spool: Option<Spool>,
    list: List,
    /// The list as it would be after a crash, without what was recorded since.
    durable: List,
    recorded_since: Vec<Known>,
    paused: BTreeSet<&'static str>,
    /// The uuid of what was recorded last of each instance.
    newest: BTreeMap<&'static str, String>,
    times: BTreeSet<(String, i64)>,
    /// All that were ever reported as delivered, whether or not that was acknowledged before a death.
    sent: BTreeSet<String>,
    now_ms: i64,
    latest_ms: i64,
}

impl Pair {
    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn settled_down(&mut self) {
        self.durable = self.list.clone();
        self.recorded_since.clear();
    }

    fn close(&mut self) {
        self.spool.take().unwrap().close().unwrap();
        self.settled_down();
    }

    fn reopen(&mut self) {
        self.now_ms += 1000;
        self.latest_ms = self.latest_ms.max(self.now_ms);
        self.spool = Some(self.folder.open(self.now_ms).unwrap());
    }

    fn crash(&mut self) {
        self.spool = None;
        self.list = self.durable.clone();
        self.list.records.append(&mut self.recorded_since.clone());
        self.reopen();
    }

    fn record(&mut self, dice: &mut Dice, at: &str) {
        let instance = *dice.pick(&INSTANCES);
        let record = self.spool().record(instance, draft_of(instance, dice), Reason::Changed).unwrap();
        let id = record.draft.id.clone();
        assert!(self.times.insert((id.clone(), record.timestamp_ms)), "{at}: a time was used twice");
        let known = Known {
            uuid: record.uuid,
            instance: instance.into(),
            id,
            service: record.draft.layout.service.clone(),
            timestamp_ms: record.timestamp_ms,
            attempts: 0,
            dead: false,
        };
        self.recorded_since.push(known.clone());
        self.newest.insert(instance, known.uuid.clone());
        self.list.records.push(known);
        self.keep_limits();
    }

    /// What is too old leaves, and then the oldest while there are too many, but what was recorded last of an instance only where
    /// nothing else is left.
    fn keep_limits(&mut self) {
        let before_ms = self.now_ms - self.retention_ms();
        let all = self.list.records.len();
        self.list.records.retain(|known| known.timestamp_ms >= before_ms);
        self.list.left[4] += (all - self.list.records.len()) as u64;
        let over = self.list.records.len().saturating_sub(self.folder.limits.max_records as usize);
        for _ in 0..over {
            let is_newest = |known: &Known| self.newest.values().any(|uuid| *uuid == known.uuid);
            let oldest = self.list.records.iter().position(|known| !is_newest(known)).unwrap_or(0);
            self.list.records.remove(oldest);
        }
        self.list.left[3] += over as u64;
    }

    fn purge(&mut self, dice: &mut Dice, at: &str) {
        let selector = self.a_selector(dice);
        let before = self.list.records.clone();
        self.list.records.retain(|known| !known.is_selected(&selector));
        let erased = before.iter().filter(|known| known.is_selected(&selector));
        let dead = erased.clone().filter(|known| known.dead).count() as u64;
        let now_ms = self.now_ms;
        self.list.gone.extend(erased.clone().map(|known| (known.uuid.clone(), now_ms)));
        let would = self.spool().would_purge(&selector).unwrap();
        let receipt = self.spool().purge(&selector).unwrap().receipt;
        assert_eq!((receipt.records, receipt.dead), (erased.count() as u64, dead), "{at}: {selector:?}");
        assert_eq!(would, receipt, "{at}: the plan");
        self.list.left[2] += receipt.records;
        self.settled_down();
    }

    /// One of all selectors, or two of them together.
    fn a_selector(&self, dice: &mut Dice) -> Selector {
        let mut selector = Selector::default();
        for _ in 0..1 + dice.roll(2) {
            match dice.roll(12) {
                0 => selector.all = true,
                1 | 2 => selector.dead = true,
                3..=5 => selector.instance = Some((*dice.pick(&INSTANCES)).into()),
                6 | 7 => selector.id = Some(draft_of(INSTANCES[dice.roll(3)], &mut Dice::new(0)).id),
                8 => selector.service = Some((*dice.pick(&["butler", "butler-sos"])).into()),
                _ => {
                    let known = self.list.records.get(dice.roll(10));
                    selector.before_ms = Some(known.map_or(self.now_ms, |known| known.timestamp_ms));
                }
            }
        }
        selector
    }

    /// Takes a batch and lets it be delivered, kept, refused in part, or forgotten.
    fn deliver(&mut self, dice: &mut Dice, at: &str) {
        let skip: BTreeSet<String> = if dice.chance(30) { ["b".to_owned()].into() } else { BTreeSet::new() };
        let most = 1 + dice.roll(5);
        let batch = self.spool().next_batch(most, &skip).unwrap();
        self.keep_limits();
        let gone: Vec<String> = batch.iter().map(|it| it.record.uuid.clone()).collect();
        assert_eq!(gone, self.next(most, &skip), "{at}: what was on the wire comes first, then the oldest");
        if batch.is_empty() {
            return;
        }
        self.spool().begin(&batch).unwrap();
        let sent = |known: &&mut Known| gone.contains(&known.uuid);
        self.list.records.iter_mut().filter(sent).for_each(|known| known.attempts += 1);
        self.list.in_flight.extend(gone.clone());
        self.settled_down();
        let mut answered = gone.clone();
        match dice.roll(6) {
            // It may have arrived.
            0 => answered.clear(),
            1 => self.spool().acknowledge(&batch, &BatchOutcome::Kept).unwrap(),
            2 => {
                let (first, uuid) = (batch[0].clone(), batch[0].record.uuid.clone());
                self.spool()
                    .acknowledge(&[first], &BatchOutcome::DeadLettered { words: "400 no".into() })
                    .unwrap();
                self.list.records.iter_mut().filter(|it| it.uuid == uuid).for_each(|it| it.dead = true);
                self.list.left[1] += 1;
                answered.truncate(1);
            }
            _ => {
                self.sent.extend(gone.clone());
                let now_ms = self.now_ms;
                self.list.gone.extend(gone.iter().map(|uuid| (uuid.clone(), now_ms)));
                self.spool().acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
                self.list.left[0] += gone.len() as u64;
                self.list.records.retain(|it| !gone.contains(&it.uuid));
            }
        }
        self.list.in_flight.retain(|uuid| !answered.contains(uuid));
    }

    /// The uuids of the batch that is next.
    fn next(&self, most: usize, skip: &BTreeSet<String>) -> Vec<String> {
        // What is stamped too far in the future, since the clock was set back, waits for its time.
        let is_ahead = |it: &Known| it.timestamp_ms > self.now_ms + 23 * HOUR;
        let sendable =
            (self.list.records.iter()).filter(|it| !it.dead && !skip.contains(&it.instance) && !is_ahead(it));
        let unsettled = sendable.clone().filter(|it| self.list.in_flight.contains(&it.uuid));
        let first: Vec<String> = unsettled.take(most).map(|it| it.uuid.clone()).collect();
        if first.is_empty() { sendable.take(most).map(|it| it.uuid.clone()).collect() } else { first }
    }

    fn pause_or_resume(&mut self, dice: &mut Dice) {
        let name = *dice.pick(&INSTANCES);
        let paused = !self.paused.remove(name);
        if paused {
            self.paused.insert(name);
        }
        let mut instance = self.spool().instance(name).unwrap_or_default();
        instance.paused = paused;
        self.spool().put_instance(name, instance);
        // As the commands do: a pause counts when the spool is closed.
        self.close();
        self.reopen();
    }

    /// The clock goes on by days, or is set back by less than two; never by so much that it would not be believed.
    fn move_clock(&mut self, dice: &mut Dice) {
        let ms = dice.roll(DAY as usize) as i64;
        self.now_ms += if dice.chance(30) { -2 * ms } else { dice.roll(12) as i64 * DAY + ms };
        self.close();
        self.reopen();
    }

    fn retention_ms(&self) -> i64 {
        i64::try_from(self.folder.limits.retention.as_millis()).unwrap()
    }

    fn is_in_dedup(&mut self, uuid: &str) -> bool {
        let uuid = uuid.parse().unwrap();
        self.spool().is_in_dedup(&uuid).unwrap()
    }

    fn compare(&mut self, at: &str) {
        let found: Vec<Known> = waiting_in(self.spool()).unwrap().into_iter().map(Known::of).collect();
        assert_eq!(found, self.list.records, "{at}");
        let counts = self.spool().counts().unwrap();
        let dead = found.iter().filter(|it| it.dead).count() as u64;
        assert_eq!((counts.queued, counts.dead), (found.len() as u64 - dead, dead), "{at}");
        let ledger = self.spool().ledger();
        let left = |fate: LedgerReason| -> u64 {
            ledger.iter().filter(|entry| entry.reason == fate).map(|entry| entry.records).sum()
        };
        let left = [
            LedgerReason::Delivered,
            LedgerReason::DeadLettered,
            LedgerReason::Erased,
            LedgerReason::Evicted,
            LedgerReason::Expired,
        ]
        .map(left);
        assert_eq!(left, self.list.left, "{at}: the ledger");
        for known in
            found.iter().filter(|known| !self.sent.contains(&known.uuid)).cloned().collect::<Vec<_>>()
        {
            assert!(!self.is_in_dedup(&known.uuid), "{at}: {known:?} waits");
        }
        // They are forgotten when they are as old as what expires, by the latest time that the clock ever showed.
        let forgotten_ms = self.latest_ms - self.retention_ms();
        for (uuid, at_ms) in self.list.gone.clone() {
            assert!(at_ms < forgotten_ms || self.is_in_dedup(&uuid), "{at}: {uuid} was delivered or erased");
        }
        for (name, instance) in self.spool().instances().clone() {
            assert_eq!(instance.paused, self.paused.contains(name.as_str()), "{at}: {name}");
        }
        assert_eq!(self.spool().problems(), [], "{at}");
    }
}

/// A draft of an instance: two of them share an id, and one is of another service.
fn draft_of(instance: &str, dice: &mut Dice) -> Draft {
    let mut draft = draft(dice.roll(1000) as u64);
    draft.id = format!("{:064x}", if instance == "c" { 3 } else { 1 });
    if instance == "b" {
        Arc::make_mut(&mut draft.layout).service = "butler-sos".into();
    }
    draft
}

/// Runs random steps, with processes that die or without.
fn run(seed: u64, deaths: bool) {
    let place = in_memory();
    let mut folder = spool_folder(&place.path().join("spool"));
    folder.limits.retention = Duration::from_secs(10 * 24 * 3600);
    let mut dice = Dice::new(seed);
    let mut pair = Pair {
        spool: Some(folder.open(NOW).unwrap()),
        folder,
        list: List::default(),
        durable: List::default(),
        recorded_since: Vec::new(),
        paused: BTreeSet::new(),
        newest: BTreeMap::new(),
        times: BTreeSet::new(),
        sent: BTreeSet::new(),
        now_ms: NOW,
        latest_ms: NOW,
    };
    for step in 0..STEPS {
        let chosen = dice.roll(21);
        let at = format!("seed {seed}, step {step}, choice {chosen}");
        match chosen {
            0..=8 => pair.record(&mut dice, &at),
            9..=11 => pair.deliver(&mut dice, &at),
            12 | 13 => pair.purge(&mut dice, &at),
            14 => pair.pause_or_resume(&mut dice),
            15 => {
                let revived = pair.spool().revive_dead();
                let dead = pair.list.records.iter_mut().filter(|it| it.dead);
                assert_eq!(dead.map(|it| it.dead = false).count() as u64, revived, "{at}");
            }
            16 => {
                // Other limits from now on, which the next record or batch meets.
                pair.close();
                pair.folder.limits.max_records = [4, 8, 1 << 20][dice.roll(3)];
                pair.reopen();
            }
            17 => pair.move_clock(&mut dice),
            18 | 19 if deaths => pair.crash(),
            _ => {
                pair.close();
                pair.reopen();
            }
        }
        pair.compare(&at);
    }
}

#[test]
fn random_actions_leave_the_spool_and_the_list_equal() {
    seeds().for_each(|seed| run(seed, false));
}

#[test]
fn random_actions_and_deaths_leave_the_spool_and_the_list_equal() {
    seeds().for_each(|seed| run(seed, true));
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

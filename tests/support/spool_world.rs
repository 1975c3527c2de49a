//! A spool and a plain list to which the same is done.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use salver::record::{BatchOutcome, Draft, Reason};
use salver::spool::{LedgerReason, Queued, Selector, Spool, SpoolFolder, SpoolReader};
use tempfile::TempDir;

use super::drafts::draft;
use super::folders::{NOW, spool_folder, waiting_in};
use super::plain_list::{Answer, PlainList, REFUSAL};
use super::scratch::in_memory;

pub const DAY_MS: i64 = 24 * 3600 * 1000;

/// How long a record may wait.
pub const RETENTION_MS: i64 = 10 * DAY_MS;

/// What a purge selects; the n-th record stands for its time, or the present if there is none.
#[derive(Clone, Debug)]
pub enum Condition {
    All,
    Dead,
    Instance(&'static str),
    IdOf(&'static str),
    Service(&'static str),
    BeforeRecord(usize),
}

#[derive(Clone, Debug)]
pub enum Step {
    Record {
        instance: &'static str,
        value: u64,
    },
    Deliver {
        most: usize,
        held: BTreeSet<String>,
        answer: Answer,
    },
    Purge(Vec<Condition>),
    PauseOrResume(&'static str),
    Revive,
    /// From the next record or batch on.
    SetMaxRecords(u64),
    MoveClock(i64),
    Reopen,
    /// The process dies, which loses what it did not commit.
    Die,
}

pub struct SpoolWorld {
    folder: SpoolFolder,
    /// `None` only while it is opened.
    spool: Option<Spool>,
    /// What the spool should hold.
    list: PlainList,
    /// What the last commit left.
    committed: PlainList,
    /// What was recorded since: durable all the same.
    recorded_since: Vec<Queued>,
    next_seq: u64,
    paused: BTreeSet<&'static str>,
    /// The times that records of each id have used.
    times: BTreeMap<String, BTreeSet<i64>>,
    /// The uuids of all that was ever delivered, whether or not a death followed.
    sent: BTreeSet<String>,
    now_ms: i64,
    /// The latest time that the clock ever showed.
    latest_ms: i64,
    _place: TempDir,
}

impl SpoolWorld {
    pub fn new() -> SpoolWorld {
        let place = in_memory();
        let mut folder = spool_folder(&place.path().join("spool"));
        folder.limits.retention = Duration::from_millis(RETENTION_MS as u64);
        SpoolWorld {
            spool: Some(folder.open(NOW).unwrap()),
            folder,
            list: PlainList::default(),
            committed: PlainList::default(),
            recorded_since: Vec::new(),
            next_seq: 1,
            paused: BTreeSet::new(),
            times: BTreeMap::new(),
            sent: BTreeSet::new(),
            now_ms: NOW,
            latest_ms: NOW,
            _place: place,
        }
    }

    pub fn apply(&mut self, step: Step) {
        match step {
            Step::Record { instance, value } => self.record(instance, value),
            Step::Deliver { most, held, answer } => self.deliver(most, &held, answer),
            Step::Purge(conditions) => self.purge(&conditions),
            Step::PauseOrResume(instance) => self.pause_or_resume(instance),
            Step::Revive => assert_eq!(self.spool().revive_dead(), self.list.revive_dead()),
            Step::SetMaxRecords(most) => {
                self.close();
                self.folder.limits.max_records = most;
                self.open();
            }
            Step::MoveClock(by_ms) => self.move_clock(by_ms),
            Step::Reopen => {
                self.close();
                self.assert_committed();
                self.open();
            }
            Step::Die => {
                self.spool = None;
                self.list = self.committed.clone();
                for queued in std::mem::take(&mut self.recorded_since) {
                    self.list.add(queued.seq, queued.record);
                }
                self.open();
                self.note_commit();
            }
        }
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn note_commit(&mut self) {
        self.committed = self.list.clone();
        self.recorded_since.clear();
    }

    fn close(&mut self) {
        self.spool.take().unwrap().close().unwrap();
        self.note_commit();
    }

    fn open(&mut self) {
        self.now_ms += 1000;
        self.latest_ms = self.latest_ms.max(self.now_ms);
        self.spool = Some(self.folder.open(self.now_ms).unwrap());
    }

    fn record(&mut self, instance: &'static str, value: u64) {
        let draft = draft_of(instance, value);
        let record = self.spool().record(instance, draft.clone(), Reason::Changed).unwrap();
        assert_eq!((&record.draft, record.instance.as_str()), (&draft, instance));
        let used = self.times.entry(draft.id).or_default();
        let latest_ms = used.last().copied().unwrap_or(i64::MIN);
        let is_kept = (self.now_ms..=self.now_ms.max(latest_ms + 1)).contains(&record.timestamp_ms);
        assert!(is_kept, "{} at {}", record.timestamp_ms, self.now_ms);
        assert!(used.insert(record.timestamp_ms), "a time was used twice");
        self.list.add(self.next_seq, record);
        self.recorded_since.extend(self.list.records.last().cloned());
        self.next_seq += 1;
        self.list.keep_limits(&self.folder.limits, self.now_ms);
    }

    /// Takes a batch and lets it be delivered, kept, refused in part, or forgotten.
    fn deliver(&mut self, most: usize, held: &BTreeSet<String>, answer: Answer) {
        let batch = self.spool().next_batch(most, held).unwrap();
        self.list.keep_limits(&self.folder.limits, self.now_ms);
        let seqs: Vec<u64> = batch.iter().map(|queued| queued.seq).collect();
        assert_eq!(seqs, self.list.next(most, held, self.now_ms), "the next batch");
        if batch.is_empty() {
            return;
        }
        self.spool().begin(&batch).unwrap();
        self.list.begin(&seqs);
        self.note_commit();
        let (acknowledged, outcome) = match answer {
            Answer::Delivered => (&batch[..], BatchOutcome::Delivered),
            Answer::FirstRefused => (&batch[..1], BatchOutcome::DeadLettered { words: REFUSAL.into() }),
            Answer::Kept => (&batch[..], BatchOutcome::Kept),
            Answer::None => (&batch[..], BatchOutcome::Uncertain),
        };
        if answer == Answer::Delivered {
            self.sent.extend(batch.iter().map(|queued| queued.record.uuid.clone()));
        }
        self.spool().acknowledge(acknowledged, &outcome).unwrap();
        self.list.acknowledge(&seqs, answer, self.now_ms);
    }

    fn purge(&mut self, conditions: &[Condition]) {
        let mut selector = Selector::default();
        for condition in conditions {
            match *condition {
                Condition::All => selector.all = true,
                Condition::Dead => selector.dead = true,
                Condition::Instance(name) => selector.instance = Some(name.into()),
                Condition::IdOf(name) => selector.id = Some(draft_of(name, 0).id),
                Condition::Service(name) => selector.service = Some(name.into()),
                Condition::BeforeRecord(n) => {
                    let nth = self.list.records.get(n);
                    selector.before_ms = Some(nth.map_or(self.now_ms, |nth| nth.record.timestamp_ms));
                }
            }
        }
        let would = self.spool().would_purge(&selector).unwrap();
        let mut receipt = self.spool().purge(&selector).unwrap().receipt;
        assert_eq!(would, receipt, "the plan of {selector:?}");
        let expected = self.list.purge(&selector, self.now_ms);
        self.note_commit();
        // When an id was last delivered is promised elsewhere.
        receipt.ids.values_mut().for_each(|delivered| delivered.last_ms = None);
        let seen = |of: &salver::spool::Receipt| (of.records, of.dead, of.may_be_delivered, of.span_ms);
        assert_eq!(seen(&receipt), seen(&expected), "{selector:?}");
        assert_eq!((&receipt.instances, &receipt.ids), (&expected.instances, &expected.ids));
    }

    /// As the commands do: a pause counts when the spool is closed.
    fn pause_or_resume(&mut self, name: &'static str) {
        let paused = !self.paused.remove(name);
        if paused {
            self.paused.insert(name);
        }
        let mut instance = self.spool().instance(name).unwrap_or_default();
        instance.paused = paused;
        self.spool().put_instance(name, instance);
        self.close();
        self.open();
    }

    /// Never by so much that the clock would not be believed. It is looked at before it moves again.
    fn move_clock(&mut self, by_ms: i64) {
        self.close();
        self.now_ms += by_ms;
        self.open();
        self.spool().keep_limits().unwrap();
        self.list.keep_limits(&self.folder.limits, self.now_ms);
        self.close();
        self.open();
    }

    /// The open spool equals the list, and a reader beside it shows what the last commit left.
    pub fn assert_whole(&mut self) {
        let found = waiting_in(self.spool()).unwrap();
        assert_equal(&found, &self.list.records);
        let (list, paused, next_seq) = (self.list.clone(), self.paused.clone(), self.next_seq);
        let spool = self.spool();
        assert_eq!(spool.next_seq(), next_seq);
        assert_state(spool, &list, &paused);
        self.assert_dedup();
        // On Windows the open segment is locked for as long as the spool is open.
        if cfg!(unix) {
            self.assert_committed();
        }
    }

    fn assert_committed(&mut self) {
        let mut reader = self.folder.read(self.now_ms).unwrap();
        let mut found = Vec::new();
        let _ = reader
            .each(0, u64::MAX, |queued| {
                found.push(queued);
                std::ops::ControlFlow::<()>::Continue(())
            })
            .unwrap();
        assert_equal(&found, &self.committed.records);
        assert_eq!(reader.doubts(), [""; 0]);
        assert_state(&mut reader, &self.committed, &self.paused);
    }

    fn assert_dedup(&mut self) {
        let mut is_known = |uuid: &str| {
            let uuid = uuid.parse().unwrap();
            self.spool.as_mut().unwrap().is_in_dedup(&uuid).unwrap()
        };
        for Queued { record, .. } in &self.list.records {
            assert!(self.sent.contains(&record.uuid) || !is_known(&record.uuid), "{} waits", record.uuid);
        }
        // They are forgotten when they are as old as what expires.
        let forgotten_ms = self.latest_ms - RETENTION_MS;
        for (uuid, at_ms) in &self.list.gone {
            assert!(*at_ms < forgotten_ms || is_known(uuid), "{uuid} was delivered or erased");
        }
    }
}

/// Says no more than the first difference.
fn assert_equal(found: &[Queued], expected: &[Queued]) {
    let seqs = |of: &[Queued]| -> Vec<u64> { of.iter().map(|queued| queued.seq).collect() };
    assert_eq!(seqs(found), seqs(expected));
    found.iter().zip(expected).for_each(|(found, expected)| assert_eq!(found, expected));
}

/// What is known beside the records.
fn assert_state(spool: &mut SpoolReader, list: &PlainList, paused: &BTreeSet<&str>) {
    let counts = spool.counts().unwrap();
    let dead = list.records.iter().filter(|queued| queued.dead.is_some()).count() as u64;
    assert_eq!((counts.queued, counts.dead), (list.records.len() as u64 - dead, dead));
    assert_eq!(spool.on_the_wire(), list.in_flight);
    let mut ledger = BTreeMap::<LedgerReason, u64>::new();
    for entry in spool.ledger() {
        *ledger.entry(entry.reason).or_default() += entry.records;
    }
    assert_eq!(ledger, list.ledger);
    for (name, instance) in spool.instances() {
        assert_eq!(instance.paused, paused.contains(name.as_str()), "{name}");
    }
    for Queued { record, .. } in &list.records {
        assert!(spool.ids()[&record.draft.id].instances.contains(&record.instance), "its id is known");
    }
    assert_eq!(spool.problems(), []);
}

/// A draft of an instance: a and b share an id, and b is of another service.
fn draft_of(instance: &str, value: u64) -> Draft {
    let mut draft = draft(value);
    draft.id = format!("{:064x}", if instance == "c" { 3 } else { 1 });
    if instance == "b" {
        Arc::make_mut(&mut draft.layout).service = "butler-sos".into();
    }
    draft
}

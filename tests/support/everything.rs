//! A process that does everything that changes a spool, and says in the words of [`super::said`] what it does: before, and when it
//! is done.

#![allow(clippy::unwrap_used, reason = "a child that fails should fail its test")]

use std::collections::BTreeSet;
use std::io::Write;

use salver::record::{Reason, Record};
use salver::spool::{Selector, Settled, SpoolFolder};

use super::dice::Dice;
use super::drafts::draft;
use super::folders::NOW;

/// The instances whose records are kept until they leave by the limits or by delivery, and those that are purged as well.
const KEPT: &str = "kept";
const OTHER: &str = "other";

/// How many records the limits allow when they are narrow.
const NARROW: u64 = 12;

/// Says a line in one call, so that a kill leaves the whole line or none.
pub fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// One round: some records, and one of the steps by which records leave.
pub fn round(folder: &SpoolFolder, dice: &mut Dice, number: usize) {
    let mut spool = folder.open(NOW).unwrap();
    for n in 0..3 + dice.roll(4) as u64 {
        let instance = if dice.chance(60) { KEPT } else { OTHER };
        say("recording 1");
        let record = spool.record(instance, draft(n), Reason::Changed).unwrap();
        say(&format!("recorded {instance} {}", record.uuid));
    }
    let many = 3 + dice.roll(4) as u64;
    say(&format!("recording {many}"));
    let records = spool.record_all(OTHER, (0..many).map(draft).collect(), Reason::Changed).unwrap();
    say(&format!("recorded {OTHER} {}", uuids(&records)));
    spool.close().unwrap();
    match number % 3 {
        0 => deliver(folder, dice),
        1 => purge(folder),
        _ => evict(folder),
    }
}

fn uuids<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    records.into_iter().map(|record| record.uuid.as_str()).collect::<Vec<_>>().join(" ")
}

fn deliver(folder: &SpoolFolder, dice: &mut Dice) {
    let mut spool = folder.open(NOW).unwrap();
    let batch = spool.next_batch(1 + dice.roll(5), &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    let named = uuids(batch.iter().map(|it| &it.record));
    say(&format!("delivering {named}"));
    spool.settle(&batch.into_iter().map(|it| (it, Settled::Delivered)).collect::<Vec<_>>()).unwrap();
    spool.close().unwrap();
    say(&format!("delivered {named}"));
}

fn purge(folder: &SpoolFolder) {
    let mut spool = folder.open(NOW).unwrap();
    say(&format!("purging {OTHER}"));
    spool.purge(&Selector::of_instance(OTHER)).unwrap();
    say(&format!("purged {OTHER}"));
    spool.close().unwrap();
}

fn evict(folder: &SpoolFolder) {
    let mut narrow = folder.clone();
    narrow.limits.max_records = NARROW;
    let mut spool = narrow.open(NOW).unwrap();
    say(&format!("evicting {NARROW}"));
    spool.keep_limits().unwrap();
    spool.close().unwrap();
    say(&format!("evicted {NARROW}"));
}

//! A process that does everything that changes a spool, and says in the words of [`super::said`] what it does: before, and when it
//! is done.

use std::collections::BTreeSet;
use std::io::Write;

use salver::record::BatchOutcome;
use salver::record::{Draft, Reason, Record};
use salver::spool::{Selector, SpoolFolder};

use super::dice::Dice;
use super::drafts::draft;
use super::folders::NOW;

/// The instances whose records are kept until they leave by the limits or by delivery, and those that are purged as well.
const KEPT: &str = "kept";
const OTHER: &str = "other";

/// The id of the instance that is purged, and stopped now and then.
fn id_of_other() -> String {
    format!("{:064x}", 0x07e8_u64)
}

/// A draft of an instance.
fn draft_of(instance: &str, n: u64) -> Draft {
    let draft = draft(n);
    if instance == OTHER { Draft { id: id_of_other(), ..draft } } else { draft }
}

/// Fills a spool with so many records, by turns of both instances in portions; tells uuid and instance of each.
pub fn fill(folder: &SpoolFolder, records: u64) -> Vec<(String, String)> {
    const PORTION: u64 = 100;
    let mut filled = Vec::new();
    let mut spool = folder.open(NOW).unwrap();
    for number in 0..records / PORTION {
        let instance = if number % 2 == 0 { KEPT } else { OTHER };
        let drafts = (0..PORTION).map(|n| draft_of(instance, n)).collect();
        let written = spool.record_all(instance, drafts, Reason::Changed).unwrap();
        filled.extend(written.into_iter().map(|record| (record.uuid, instance.to_owned())));
    }
    spool.close().unwrap();
    filled
}

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
        let record = spool.record(instance, draft_of(instance, n), Reason::Changed).unwrap();
        say(&format!("recorded {instance} {}", record.uuid));
    }
    let many = 3 + dice.roll(4) as u64;
    say(&format!("recording {many}"));
    let records =
        spool.record_all(OTHER, (0..many).map(|n| draft_of(OTHER, n)).collect(), Reason::Changed).unwrap();
    say(&format!("recorded {OTHER} {}", uuids(&records)));
    spool.close().unwrap();
    match number % 5 {
        0 => deliver(folder, dice),
        1 => purge(folder, false),
        2 => refuse(folder),
        3 => purge(folder, true),
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
    spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
    spool.close().unwrap();
    say(&format!("delivered {named}"));
}

/// What PostHog refuses alone is set apart.
fn refuse(folder: &SpoolFolder) {
    let mut spool = folder.open(NOW).unwrap();
    let batch = spool.next_batch(1, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    let named = uuids(batch.iter().map(|it| &it.record));
    spool.acknowledge(&batch, &BatchOutcome::DeadLettered { words: "400 Bad Request".into() }).unwrap();
    spool.close().unwrap();
    say(&format!("refused {named}"));
}

/// With `stop` the instance's id goes as well.
fn purge(folder: &SpoolFolder, stop: bool) {
    let mut spool = folder.open_to_release(NOW).unwrap();
    say(&format!("purging {OTHER}"));
    let mut purged = spool.purge(&Selector::of_instance(OTHER)).unwrap();
    say(&format!("purged {OTHER}"));
    if stop {
        spool.stop_collecting(OTHER, &mut purged);
    }
    spool.close().unwrap();
    if stop {
        say(&format!("forgot {}", id_of_other()));
    }
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

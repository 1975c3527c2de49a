//! A process that does everything that changes a spool, and says in the words of [`super::said`]
//! what it does: before, and when it is done.

use std::collections::BTreeSet;
use std::io::Write;

use salver::record::BatchOutcome;
use salver::record::{Draft, Reason, Record};
use salver::spool::{Selector, Spool, SpoolError, SpoolFolder};

use super::dice::Dice;
use super::drafts::draft;
use super::folders::NOW;

/// The instances whose records are kept until they leave by the limits or by delivery, and those
/// that are purged as well.
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

/// Fills a spool with so many records, by turns of both instances in portions; tells uuid and
/// instance of each.
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

/// Something that changes a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes one record.
    Record,
    /// Writes many records with few syncs.
    Bulk(u64),
    Deliver,
    /// What PostHog refuses alone becomes a dead letter.
    Refuse,
    /// With `stop` the instance's id goes as well.
    Purge {
        stop: bool,
    },
    Evict,
}

/// One round: some records, and one of the steps by which records leave.
pub fn round(folder: &SpoolFolder, dice: &mut Dice, number: usize) {
    let mut spool = folder.open(NOW).unwrap();
    for n in 0..3 + dice.roll(4) as u64 {
        let instance = if dice.chance(60) { KEPT } else { OTHER };
        record(&mut spool, instance, n).unwrap();
    }
    record_many(&mut spool, 3 + dice.roll(4) as u64).unwrap();
    spool.close().unwrap();
    let steps =
        [Step::Deliver, Step::Purge { stop: false }, Step::Refuse, Step::Purge { stop: true }, Step::Evict];
    step(folder, dice, steps[number % 5]).unwrap();
}

/// Carries out a step.
pub fn step(folder: &SpoolFolder, dice: &mut Dice, step: Step) -> Result<(), SpoolError> {
    match step {
        Step::Record => {
            let mut spool = folder.open(NOW)?;
            record(&mut spool, KEPT, 1)?;
            spool.close()
        }
        Step::Bulk(many) => {
            let mut spool = folder.open(NOW)?;
            record_many(&mut spool, many)?;
            spool.close()
        }
        Step::Deliver => deliver(folder, dice),
        Step::Refuse => refuse(folder),
        Step::Purge { stop } => purge(folder, stop),
        Step::Evict => evict(folder),
    }
}

fn record(spool: &mut Spool, instance: &str, n: u64) -> Result<(), SpoolError> {
    say("recording 1");
    let record = spool.record(instance, draft_of(instance, n), Reason::Changed)?;
    say(&format!("recorded {instance} {}", record.uuid));
    Ok(())
}

fn record_many(spool: &mut Spool, many: u64) -> Result<(), SpoolError> {
    say(&format!("recording {many}"));
    let drafts = (0..many).map(|n| draft_of(OTHER, n)).collect();
    let records = spool.record_all(OTHER, drafts, Reason::Changed)?;
    say(&format!("recorded {OTHER} {}", uuids(&records)));
    Ok(())
}

fn uuids<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    records.into_iter().map(|record| record.uuid.as_str()).collect::<Vec<_>>().join(" ")
}

fn deliver(folder: &SpoolFolder, dice: &mut Dice) -> Result<(), SpoolError> {
    let mut spool = folder.open(NOW)?;
    let batch = spool.next_batch(1 + dice.roll(5), &BTreeSet::new())?;
    spool.begin(&batch)?;
    let named = uuids(batch.iter().map(|it| &it.record));
    say(&format!("delivering {named}"));
    spool.acknowledge(&batch, &BatchOutcome::Delivered)?;
    spool.close()?;
    say(&format!("delivered {named}"));
    Ok(())
}

fn refuse(folder: &SpoolFolder) -> Result<(), SpoolError> {
    let mut spool = folder.open(NOW)?;
    let batch = spool.next_batch(1, &BTreeSet::new())?;
    spool.begin(&batch)?;
    let named = uuids(batch.iter().map(|it| &it.record));
    spool.acknowledge(&batch, &BatchOutcome::DeadLettered { words: "400 Bad Request".into() })?;
    spool.close()?;
    say(&format!("refused {named}"));
    Ok(())
}

fn purge(folder: &SpoolFolder, stop: bool) -> Result<(), SpoolError> {
    let mut spool = folder.open_to_release(NOW)?;
    say(&format!("purging {OTHER}"));
    let mut purged = spool.purge(&Selector::of_instance(OTHER))?;
    if stop {
        spool.stop_collecting(OTHER, &mut purged);
    }
    let (_, search) = spool.close_and_search(purged)?;
    if !search.left.is_empty() {
        // An admin is told which files still hold something.
        return Ok(());
    }
    say(&format!("purged {OTHER}"));
    if stop {
        say(&format!("forgot {}", id_of_other()));
    }
    Ok(())
}

fn evict(folder: &SpoolFolder) -> Result<(), SpoolError> {
    let mut narrow = folder.clone();
    narrow.limits.max_records = NARROW;
    let mut spool = narrow.open(NOW)?;
    say(&format!("evicting {NARROW}"));
    spool.keep_limits()?;
    spool.close()?;
    say(&format!("evicted {NARROW}"));
    Ok(())
}

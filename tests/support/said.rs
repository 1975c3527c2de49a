//! What a spool must, may and must not hold, worked out from nothing but what a process said that
//! it did.

use std::collections::{HashMap, HashSet};

use salver::spool::LedgerEntry;

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was acknowledged, and nothing was done to it.
    Waits,
    /// It is being delivered, purged or evicted.
    Leaving,
    /// It was delivered or evicted.
    Gone,
    /// It was purged.
    Erased,
}

#[derive(Clone)]
struct Known {
    uuid: String,
    instance: String,
    fate: Fate,
    /// It was delivered, or purged while it waited: the spool knows it again.
    for_good: bool,
}

impl Known {
    /// Whether it is named by its uuid or its instance.
    fn is_in(&self, named: &HashSet<&str>) -> bool {
        named.contains(self.uuid.as_str()) || named.contains(self.instance.as_str())
    }
}

/// How many records have left the queue by these entries of a ledger. Dead letters have not.
pub fn have_left(ledger: &[LedgerEntry]) -> u64 {
    let left = ledger.iter().filter(|entry| entry.reason != salver::spool::LedgerReason::DeadLettered);
    left.map(|entry| entry.records).sum()
}

/// All that was said so far. The lines: `recording N`, `recorded INSTANCE UUID...`, `delivering
/// UUID...` or an instance, `purging INSTANCE`, `evicting N` (the oldest, until N are left; never
/// the newest of an instance), each with `delivered`, `purged`, `evicted` once the step is done;
/// and `refused UUID...` once those were set apart as dead letters, `forgot ID` once an id has left
/// the files, until the next record. Other lines mean nothing.
#[derive(Clone, Default)]
pub struct Said {
    records: Vec<Known>,
    dead: HashSet<String>,
    forgotten: Vec<String>,
    /// How many records were begun and not acknowledged, now and by processes that failed before.
    unsaid: usize,
    unsaid_before: usize,
}

impl Said {
    /// A spool that holds these records, by uuid and instance, as it was found.
    pub fn of(queue: &[(String, String)]) -> Said {
        let known = |(uuid, instance): &(String, String)| Known {
            uuid: uuid.clone(),
            instance: instance.clone(),
            fate: Fate::Waits,
            for_good: false,
        };
        Said { records: queue.iter().map(known).collect(), ..Said::default() }
    }

    /// The same, without a record that was damaged.
    pub fn without(&self, uuid: Option<&str>) -> Said {
        let mut said = self.clone();
        said.records.retain(|it| Some(it.uuid.as_str()) != uuid);
        said
    }

    /// Takes in what was said.
    pub fn hear(&mut self, text: &str) {
        text.lines().for_each(|line| self.hear_line(line));
    }

    fn hear_line(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let named: HashSet<&str> = rest.split(' ').collect();
        if ["delivered", "purged"].contains(&verb) {
            self.records.iter_mut().filter(|it| it.fate == Fate::Leaving).for_each(|it| it.for_good = true);
        }
        match verb {
            "recording" => {
                self.unsaid = rest.parse().unwrap();
                self.forgotten.clear();
            }
            "recorded" => {
                let (instance, uuids) = rest.split_once(' ').unwrap();
                for uuid in uuids.split(' ') {
                    let (uuid, instance) = (uuid.to_owned(), instance.to_owned());
                    self.records.push(Known { uuid, instance, fate: Fate::Waits, for_good: false });
                    self.unsaid -= 1;
                }
            }
            "delivering" => self.turn(Fate::Leaving, |it| it.fate == Fate::Waits && it.is_in(&named)),
            "delivered" => self.turn(Fate::Gone, |it| it.fate == Fate::Leaving),
            // What was delivered before is erased with the rest.
            "purging" => self.turn(Fate::Leaving, |it| it.fate == Fate::Waits && it.is_in(&named)),
            "purged" => self.turn(Fate::Erased, |it| it.is_in(&named)),
            "evicting" => {
                let waiting = self.records.iter().filter(|it| it.fate == Fate::Waits).count();
                let mut leaving = waiting.saturating_sub(rest.parse().unwrap());
                let newest: HashMap<String, String> =
                    self.records.iter().map(|it| (it.instance.clone(), it.uuid.clone())).collect();
                self.turn(Fate::Leaving, |it| {
                    let spared = newest[&it.instance] == it.uuid;
                    let leaves = it.fate == Fate::Waits && leaving > 0 && !spared;
                    leaving -= usize::from(leaves);
                    leaves
                });
            }
            // The process failed, and another goes on.
            "failed" => self.unsaid_before += std::mem::take(&mut self.unsaid),
            "refused" => self.dead.extend(named.into_iter().map(str::to_owned)),
            "forgot" => self.forgotten.push(rest.to_owned()),
            "evicted" => self.turn(Fate::Gone, |it| it.fate == Fate::Leaving),
            _ => {}
        }
    }

    fn turn(&mut self, fate: Fate, mut which: impl FnMut(&Known) -> bool) {
        self.records.iter_mut().filter_map(|it| which(it).then_some(it)).for_each(|it| it.fate = fate);
    }

    /// The uuids that were erased, and the ids that were forgotten.
    pub fn erased(&self) -> Vec<&str> {
        let uuids = self.records.iter().filter(|it| it.fate == Fate::Erased).map(|it| it.uuid.as_str());
        uuids.chain(self.forgotten.iter().map(String::as_str)).collect()
    }

    /// Whether a record was set apart as a dead letter.
    pub fn is_dead(&self, uuid: &str) -> bool {
        self.dead.contains(uuid)
    }

    /// The uuids that the spool must know again: of what was delivered, or purged while it waited.
    pub fn for_good(&self) -> impl Iterator<Item = &str> {
        self.records.iter().filter(|it| it.for_good).map(|it| it.uuid.as_str())
    }

    /// How many records were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.records.len()
    }

    /// What is wrong with a queue that holds these records, and a ledger by which so many have left
    /// it.
    pub fn wrong_with(&self, queue: &[String], left: u64) -> Option<String> {
        let found: HashSet<&str> = queue.iter().map(String::as_str).collect();
        if found.len() < queue.len() {
            return Some("a record is there twice".into());
        }
        let fates: HashMap<&str, Fate> = self.records.iter().map(|it| (it.uuid.as_str(), it.fate)).collect();
        let (known, strange): (Vec<&str>, Vec<&str>) =
            found.iter().partition(|uuid| fates.contains_key(*uuid));
        if strange.len() > self.unsaid + self.unsaid_before {
            return Some(format!("{} strange records are there", strange.len()));
        }
        let of = |fate| self.records.iter().filter(move |it| it.fate == fate).map(|it| it.uuid.as_str());
        let lost = of(Fate::Waits).filter(|uuid| !found.contains(uuid)).count();
        let back = of(Fate::Gone).chain(of(Fate::Erased)).filter(|uuid| found.contains(uuid)).count();
        let leaving = of(Fate::Leaving).count();
        let not_left = of(Fate::Leaving).filter(|uuid| found.contains(uuid)).count();
        let in_order = self.records.iter().map(|it| it.uuid.as_str()).filter(|uuid| found.contains(uuid));
        if lost + back > 0 {
            Some(format!("{lost} of {} acknowledged records are lost, {back} are back", self.records.len()))
        } else if not_left > 0 && not_left < leaving {
            Some(format!("{not_left} of {leaving} records are left of a step that is one"))
        } else if !in_order.eq(queue.iter().map(String::as_str).filter(|uuid| fates.contains_key(uuid))) {
            Some("the order has changed".into())
        } else if !(self.records.len()..=self.records.len() + self.unsaid_before)
            .contains(&(left as usize + known.len()))
        {
            let gone = self.records.len() - known.len();
            Some(format!("{gone} records have left the queue, by the ledger {left}"))
        } else {
            None
        }
    }
}

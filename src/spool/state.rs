//! `state/`: the summary beside the segments.
//!
//! What it knows of an instance (last digest, last time) can be rebuilt from the records, which are the truth; what cannot
//! (pauses, what is done) is copied into the witness. So a crash between a record and its summary loses nothing: the
//! next opening catches up.
//!
//! Changes collect in memory and become durable together in [`State::commit`].
//!
//! Keys: `m` the [`Meta`], `c` the clock's [`Era`], `h` the host's [`Fingerprint`], `f` the [`LinkState`], `i` + name an [`Instance`], `d` + hex id an
//! [`IdHistory`], `x` + sequence number a [`DeadLetter`], `l` + number a [`LedgerEntry`], `e` + fate
//! the sum of earlier ones.

mod rebuild;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::codec;
use super::era::Era;
use super::error::SpoolError;
use super::ledger::{self, LedgerEntry};
use super::store::{Changes, Checksum, Store};
use crate::record::identity::Fingerprint;
use crate::record::{Draft, Record};
pub(super) use rebuild::restore;
use table::Table;

pub use values::{DeadLetter, FlushMemory, IdHistory, Instance, LinkState, Pin, Problem};
pub(super) use values::{Intent, Meta};

const VERSION: u8 = 1;
const META: &[u8] = b"m";

/// The folder's name.
pub(super) const FOLDER: &str = "state";

/// The open summary.
pub(super) struct State {
    store: Store,
    pub meta: Meta,
    saved: Meta,
    instances: Table<Instance>,
    host: Table<Fingerprint>,
    ids: Table<IdHistory>,
    dead: Table<DeadLetter>,
    ledger: Table<LedgerEntry>,
    /// The sums of its earlier entries, by fate.
    earlier: Table<LedgerEntry>,
    clock: Table<Era>,
    line: Table<LinkState>,
    /// The last draft of each instance whose digest is not in its entry yet: a digest takes longer than all else that the summary
    /// does for a record, and only the last one counts.
    undigested: BTreeMap<String, Draft>,
    /// What is known of the clock, once it was looked at.
    seen: Option<Era>,
    /// Ids, pins or the host differ from what was last copied beside the summary.
    pub identities_changed: bool,
    /// Segments whose files were found to be as the witness knew them, since the spool was opened.
    pub compared: BTreeSet<u64>,
}

impl State {
    /// Opens the summary of a spool, or makes an empty one.
    pub(super) fn open(spool: &Path) -> Result<State, SpoolError> {
        Self::at(&spool.join(FOLDER))
    }

    pub(super) fn at(path: &Path) -> Result<State, SpoolError> {
        let store = Store::open(path)?;
        let meta: Meta = match store.get(META)? {
            None => Meta::default(),
            Some(bytes) => decode(path, &bytes)?,
        };
        Ok(State {
            store,
            saved: meta.clone(),
            meta,
            instances: Table::new(b'i'),
            host: Table::new(b'h'),
            ids: Table::new(b'd'),
            dead: Table::new(b'x'),
            ledger: Table::new(b'l'),
            earlier: Table::new(b'e'),
            clock: Table::new(b'c'),
            line: Table::new(b'f'),
            undigested: BTreeMap::new(),
            seen: None,
            identities_changed: false,
            compared: BTreeSet::new(),
        })
    }

    /// Makes all changes durable.
    pub(super) fn commit(&mut self) -> Result<(), SpoolError> {
        if self.is_unchanged() {
            return Ok(());
        }
        for (name, draft) in std::mem::take(&mut self.undigested) {
            let instance = self.instances.edit(&self.store, name.as_bytes(), Instance::default)?;
            instance.last_digest = Some(draft.digest());
        }
        self.meta.commits += 1;
        let mut changes = Changes::default();
        changes.put(META, codec::encode(VERSION, &self.meta));
        self.instances.drain(&mut changes);
        self.host.drain(&mut changes);
        self.ids.drain(&mut changes);
        self.dead.drain(&mut changes);
        self.ledger.drain(&mut changes);
        self.earlier.drain(&mut changes);
        self.clock.drain(&mut changes);
        self.line.drain(&mut changes);
        self.saved = self.meta.clone();
        self.store.commit(changes)
    }

    fn is_unchanged(&self) -> bool {
        self.meta == self.saved
            && self.instances.is_unchanged()
            && self.host.is_unchanged()
            && self.ids.is_unchanged()
            && self.dead.is_unchanged()
            && self.ledger.is_unchanged()
            && self.earlier.is_unchanged()
            && self.clock.is_unchanged()
            && self.line.is_unchanged()
    }

    /// Commits, closes, and tells the checksum of the files and how often it was committed.
    pub(super) fn close(mut self) -> Result<(Checksum, u64), SpoolError> {
        self.commit()?;
        let commits = self.meta.commits;
        Ok((self.store.close()?, commits))
    }

    // Instances ------------------------------------------------------------------------------------------------------

    pub(super) fn instance(&self, name: &str) -> Result<Option<Instance>, SpoolError> {
        let known = self.instances.get(&self.store, name.as_bytes())?;
        Ok(known.map(|instance| self.digested(name, instance)))
    }

    /// An entry with the digest that it still lacks, if it does.
    fn digested(&self, name: &str, mut instance: Instance) -> Instance {
        if let Some(draft) = self.undigested.get(name) {
            instance.last_digest = Some(draft.digest());
        }
        instance
    }

    pub(super) fn put_instance(&mut self, name: &str, instance: &Instance) {
        let before = self.instances.get(&self.store, name.as_bytes()).ok().flatten();
        self.identities_changed |= before.and_then(|before| before.pin) != instance.pin;
        self.undigested.remove(name);
        self.instances.put(name.as_bytes(), instance.clone());
    }

    pub(super) fn instances(&self) -> Result<Vec<(String, Instance)>, SpoolError> {
        let all = named(self.instances.all(&self.store)?);
        Ok(all.into_iter().map(|(name, it)| (name.clone(), self.digested(&name, it))).collect())
    }

    // The clock ------------------------------------------------------------------------------------------------------

    /// Looks at the clock, once while the summary is open, and tells what is known of it since.
    pub(super) fn see_clock(&mut self, now_ms: i64) -> Result<Era, SpoolError> {
        if let Some(seen) = self.seen {
            return Ok(seen);
        }
        let known = self.clock.get(&self.store, b"")?;
        let seen = known.map_or_else(|| Era::new(now_ms), |known| known.see(now_ms));
        if known != Some(seen) {
            self.clock.put(b"", seen);
        }
        self.seen = Some(seen);
        Ok(seen)
    }

    // The line -------------------------------------------------------------------------------------------------------

    pub(super) fn line(&self) -> Result<LinkState, SpoolError> {
        Ok(self.line.get(&self.store, b"")?.unwrap_or_default())
    }

    pub(super) fn put_line(&mut self, line: &LinkState) -> Result<(), SpoolError> {
        if self.line()? != *line {
            self.line.put(b"", line.clone());
        }
        Ok(())
    }

    // The host -------------------------------------------------------------------------------------------------------

    pub(super) fn host(&self) -> Result<Option<Fingerprint>, SpoolError> {
        self.host.get(&self.store, b"")
    }

    pub(super) fn put_host(&mut self, host: &Fingerprint) {
        self.identities_changed = true;
        self.host.put(b"", host.clone());
    }

    // Ids ------------------------------------------------------------------------------------------------------------

    pub(super) fn id(&self, id: &str) -> Result<Option<IdHistory>, SpoolError> {
        self.ids.get(&self.store, id.as_bytes())
    }

    /// The time of the last record with an id.
    pub(super) fn last_ms(&self, id: &str) -> Result<Option<i64>, SpoolError> {
        self.ids.ask(&self.store, id.as_bytes(), |history| history.last_ms)
    }

    pub(super) fn put_id(&mut self, id: &str, history: &IdHistory) {
        let before = self.id(id).ok().flatten();
        self.identities_changed |= before.is_none_or(|before| {
            before.instances != history.instances
                || before.delivered_ms.is_none() != history.delivered_ms.is_none()
        });
        self.ids.put(id.as_bytes(), history.clone());
    }

    pub(super) fn remove_id(&mut self, id: &str) {
        self.identities_changed = true;
        self.ids.remove(id.as_bytes());
    }

    pub(super) fn ids(&self) -> Result<Vec<(String, IdHistory)>, SpoolError> {
        Ok(named(self.ids.all(&self.store)?))
    }

    // Dead letters ---------------------------------------------------------------------------------------------------

    pub(super) fn put_dead(&mut self, seq: u64, letter: &DeadLetter) {
        self.dead.put(&seq.to_be_bytes(), letter.clone());
    }

    pub(super) fn remove_dead(&mut self, seq: u64) {
        self.dead.remove(&seq.to_be_bytes());
    }

    pub(super) fn dead(&self) -> Result<BTreeMap<u64, DeadLetter>, SpoolError> {
        let all = self.dead.all(&self.store)?;
        Ok(all
            .into_iter()
            .filter_map(|(key, letter)| Some((u64::from_be_bytes(key.try_into().ok()?), letter)))
            .collect())
    }

    // Ledger ---------------------------------------------------------------------------------------------------------

    pub(super) fn enter(&mut self, entry: &LedgerEntry) -> Result<(), SpoolError> {
        let number = self.meta.next_ledger;
        self.meta.next_ledger += 1;
        self.ledger.put(&number.to_be_bytes(), entry.clone());
        let Some(oldest) = number.checked_sub(ledger::KEPT).map(u64::to_be_bytes) else { return Ok(()) };
        if let Some(old) = self.ledger.get(&self.store, &oldest)? {
            let fate = old.fate.as_str().as_bytes();
            let sum = self.earlier.get(&self.store, fate)?;
            self.earlier.put(fate, sum.map_or(old.clone(), |sum| sum.plus(&old)));
            self.ledger.remove(&oldest);
        }
        Ok(())
    }

    /// The sums of earlier entries, and then the entries.
    pub(super) fn ledger(&self) -> Result<Vec<LedgerEntry>, SpoolError> {
        let earlier = self.earlier.all(&self.store)?.into_values();
        Ok(earlier.chain(self.ledger.all(&self.store)?.into_values()).collect())
    }

    // Catching up ----------------------------------------------------------------------------------------------------

    /// Takes a record into the summary. Done again for the same record, it changes nothing.
    pub(super) fn apply(&mut self, seq: u64, record: &Record) -> Result<(), SpoolError> {
        self.apply_all(&[(seq, record)])
    }

    /// Takes records into the summary, in their order. Of an instance only the last of them tells what was reported.
    pub(super) fn apply_all(&mut self, records: &[(u64, &Record)]) -> Result<(), SpoolError> {
        let mut last_of: BTreeMap<&str, (u64, &Record)> = BTreeMap::new();
        for (seq, record) in records {
            self.use_id(record)?;
            last_of.insert(&record.instance, (*seq, record));
            self.meta.applied = self.meta.applied.max(seq + 1);
            self.meta.next_seq = self.meta.next_seq.max(seq + 1);
        }
        last_of.into_values().try_for_each(|(seq, record)| self.last_record(seq, record))
    }

    /// Takes note that a record carries its id.
    fn use_id(&mut self, record: &Record) -> Result<(), SpoolError> {
        let first = || IdHistory {
            first_ms: record.timestamp_ms,
            last_ms: record.timestamp_ms,
            ..IdHistory::default()
        };
        let history = self.ids.edit(&self.store, record.draft.id.as_bytes(), first)?;
        // Not the latest: after a clock that was set back the next time has to differ from this one.
        history.last_ms = record.timestamp_ms;
        if !history.instances.contains(&record.instance) {
            history.instances.insert(record.instance.clone());
            self.identities_changed = true;
        }
        Ok(())
    }

    /// Takes note of the last record of its instance.
    fn last_record(&mut self, seq: u64, record: &Record) -> Result<(), SpoolError> {
        let draft = &record.draft;
        let instance = self.instances.edit(&self.store, record.instance.as_bytes(), Instance::default)?;
        instance.service.clone_from(&draft.layout.service);
        instance.service_version.clone_from(&draft.service_version);
        if instance.pin.is_none() {
            // Only a summary that was lost has no pin here; then the id of the records is the one to keep.
            instance.pin = Some(Pin { id: draft.id.clone(), readable: None, fixed: true });
            self.identities_changed = true;
        }
        instance.last_record_ms = Some(record.timestamp_ms);
        instance.last_seq = Some(seq);
        self.undigested.insert(record.instance.clone(), draft.clone());
        Ok(())
    }
}

fn named<T>(entries: BTreeMap<Vec<u8>, T>) -> Vec<(String, T)> {
    entries.into_iter().map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value)).collect()
}

fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, SpoolError> {
    codec::decode(VERSION, bytes)
        .map_err(|error| SpoolError::Damaged { path: path.to_owned(), what: error.to_string() })
}

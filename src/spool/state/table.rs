//! Entries of one kind in the summary, with the changes that are not durable yet laid over what is.
//!
//! Why: a record changes the same two entries as the record before it. They are read and written once for each time the spool
//! is opened, however many records there are.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FOLDER, VERSION, decode};
use crate::spool::codec;
use crate::spool::error::SpoolError;
use crate::spool::store::{Changes, Go, Store};

/// All entries whose keys start with the same letter.
pub(super) struct Table<T> {
    kind: u8,
    /// By the key without the letter; `None` for what is removed.
    changed: BTreeMap<Vec<u8>, Option<T>>,
}

impl<T: Clone + Serialize + DeserializeOwned> Table<T> {
    pub(super) fn new(kind: u8) -> Self {
        Table { kind, changed: BTreeMap::new() }
    }

    pub(super) fn get(&self, store: &Store, key: &[u8]) -> Result<Option<T>, SpoolError> {
        match self.changed.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.stored(store, key),
        }
    }

    /// What is asked about a value; unlike [`Table::get`] it does not copy it.
    pub(super) fn ask<A>(
        &self,
        store: &Store,
        key: &[u8],
        ask: impl FnOnce(&T) -> A,
    ) -> Result<Option<A>, SpoolError> {
        match self.changed.get(key) {
            Some(value) => Ok(value.as_ref().map(ask)),
            None => Ok(self.stored(store, key)?.as_ref().map(ask)),
        }
    }

    /// The value to be changed in place; `absent` makes it where there is none.
    pub(super) fn edit(
        &mut self,
        store: &Store,
        key: &[u8],
        absent: impl FnOnce() -> T,
    ) -> Result<&mut T, SpoolError> {
        if !self.changed.contains_key(key) {
            let stored = self.stored(store, key)?;
            self.changed.insert(key.to_vec(), stored);
        }
        Ok(self.changed.entry(key.to_vec()).or_default().get_or_insert_with(absent))
    }

    pub(super) fn put(&mut self, key: &[u8], value: T) {
        self.changed.insert(key.to_vec(), Some(value));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.changed.insert(key.to_vec(), None);
    }

    /// All entries, by the key without the letter.
    pub(super) fn all(&self, store: &Store) -> Result<BTreeMap<Vec<u8>, T>, SpoolError> {
        let mut all = BTreeMap::new();
        store.scan(&[self.kind], &[self.kind], |key, value| {
            all.insert(key[1..].to_vec(), decode(Path::new(FOLDER), value)?);
            Ok(Go::On)
        })?;
        for (key, value) in &self.changed {
            match value {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        Ok(all)
    }

    pub(super) fn is_unchanged(&self) -> bool {
        self.changed.is_empty()
    }

    /// Hands the changes over.
    pub(super) fn drain(&mut self, changes: &mut Changes) {
        for (key, value) in std::mem::take(&mut self.changed) {
            let key = self.stored_key(&key);
            match value {
                Some(value) => changes.put(&key, codec::encode(VERSION, &value)),
                None => changes.remove(&key),
            }
        }
    }

    fn stored(&self, store: &Store, key: &[u8]) -> Result<Option<T>, SpoolError> {
        let bytes = store.get(&self.stored_key(key))?;
        bytes.map(|bytes| decode(Path::new(FOLDER), &bytes)).transpose()
    }

    fn stored_key(&self, key: &[u8]) -> Vec<u8> {
        let mut stored = vec![self.kind];
        stored.extend(key);
        stored
    }
}

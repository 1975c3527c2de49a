//! Building the summary anew: the only way to get rid of bytes that were overwritten, and of room that is no longer needed.

use std::path::Path;

use super::{FOLDER, State};
use crate::spool::error::{Doing, SpoolError};
use crate::spool::store::{self, Changes, Go, Store};

impl State {
    /// Copies everything into a fresh database at `path`.
    pub(in crate::spool) fn copy_to(&mut self, path: &Path) -> Result<(), SpoolError> {
        self.commit()?;
        let mut changes = Changes::default();
        self.store.scan(b"", b"", |key, value| {
            changes.put(key, value.to_vec());
            Ok(Go::On)
        })?;
        let copy = Store::open(path)?;
        copy.commit(changes)?;
        copy.close()?;
        Ok(())
    }
}

/// Finishes or takes back a replacement of `state/` that was interrupted: the old one is the way back until the new one stands.
pub(in crate::spool) fn restore(spool: &Path) -> Result<(), SpoolError> {
    let place = spool.join(FOLDER);
    let old = place.with_extension("old");
    if !old.exists() {
        return Ok(());
    }
    if place.exists() {
        return store::remove_folder(&old);
    }
    std::fs::rename(&old, &place).doing("move back", &old)
}

//! Committing and closing: what was done becomes durable, and what is obsolete leaves the folder.
//!
//! The order: the active segment is closed, the manifest is written, folders that it no longer
//! names are removed, and at last the reserve gets its size. Before a folder goes, both slots of
//! the manifest name it no more: so a damaged slot never leads to a segment that is not there.

use super::error::SpoolError;
use super::manifest::slots;
use super::queue::Spool;
use super::{files, reserve, segment};

impl Spool {
    /// Closes the spool. When this returns, everything that was done is durable.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.checkpoint()?;
        // The step is durable by now; a missing reserve must not make it look failed.
        let allowed = reserve::allowed(&self.manifest, self.bytes_beside_segments(), self.limits.max_bytes);
        if let Err(error) = reserve::keep(&self.folder, allowed, self.released) {
            tracing::warn!("the spool is without its reserve for a full disk: {error}");
        }
        Ok(())
    }

    /// Makes everything durable and removes the folders that nothing refers to any more.
    pub(super) fn checkpoint(&mut self) -> Result<(), SpoolError> {
        self.close_active()?;
        let Spool { reader, obsolete, .. } = self;
        reader.manifest.segments.retain(|entry| {
            let keep = entry.live_count() > 0;
            if !keep {
                obsolete.push(entry.number);
            }
            keep
        });
        self.commit()?;
        if !self.obsolete.is_empty() || self.into_both_slots {
            self.write_manifest()?;
            self.into_both_slots = false;
        }
        self.remove_obsolete()
    }

    /// Writes the manifest if it changed.
    pub(super) fn commit(&mut self) -> Result<(), SpoolError> {
        self.digest();
        if self.reader.manifest == self.committed { Ok(()) } else { self.write_manifest() }
    }

    fn write_manifest(&mut self) -> Result<(), SpoolError> {
        if self.failed {
            let cause = std::io::Error::other("an earlier write of this command failed");
            return Err(SpoolError::Io { path: self.folder.clone(), doing: "write to the spool", cause });
        }
        self.manifest.generation += 1;
        let written = slots::write(&self.folder, &self.reader.manifest);
        match written {
            Ok(()) => self.committed = self.manifest.clone(),
            Err(_) => self.manifest.generation -= 1,
        }
        written
    }

    /// Closes the active segment, if it is open, and notes its checksum.
    pub(super) fn close_active(&mut self) -> Result<(), SpoolError> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let number = active.number();
        let closed = active.close();
        self.failed |= closed.is_err();
        let checksum = closed?;
        if let Some(at) = self.manifest.position(number) {
            self.manifest.segments[at].checksum = Some(checksum);
        }
        Ok(())
    }

    /// Closes the active segment if it is this one, before it is read: on Windows the database's lock
    /// keeps this process from reading it as well.
    pub(super) fn close_if_active(&mut self, number: u64) -> Result<(), SpoolError> {
        let is_active = self.active.as_ref().is_some_and(|active| active.number() == number);
        if is_active { self.close_active() } else { Ok(()) }
    }

    /// Removes obsolete folders. One that cannot be removed now is tried again at the next opening.
    fn remove_obsolete(&mut self) -> Result<(), SpoolError> {
        if self.obsolete.is_empty() {
            return Ok(());
        }
        for number in std::mem::take(&mut self.obsolete) {
            let folder = segment::folder(&self.folder, number);
            if let Err(error) = files::remove_folder(&folder) {
                tracing::warn!("an obsolete folder of the spool is left for now: {error}");
            }
        }
        // A removed folder must not be back after a power failure: a purge counts on that.
        files::sync_folder(&self.folder)
    }
}

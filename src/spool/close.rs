//! Closing: all that was done becomes durable, and what is done with leaves the folder.
//!
//! The order: the identities are copied if one of them changed, `state/` commits (done records and ledger in one step), the
//! witness is replaced, only then are folders removed that nothing refers to any more, and at last the reserve gets its size.
//!
//! When that was the last of a backlog, `state/` is built anew if it has grown: sled's file keeps the size of the most that was ever
//! in it, such as thousands of dead letters, and the folder is to shrink with its backlog.

use std::collections::BTreeSet;

use super::error::SpoolError;
use super::limit::SMALL_FILES;
use super::queue::Spool;
use super::{identities, reserve, segment, state, store, witness};

/// The summary of an empty queue is built anew if it has more bytes. In ordinary use, with a full ledger, it has half of them.
const GROWN: u64 = 1024 * 1024;

impl Spool {
    /// Closes the spool. When this returns, all that was done is durable, and what is done with is gone from the folder.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.checkpoint()?;
        if self.drained && store::bytes(&self.folder.join(state::FOLDER))? > GROWN {
            self.scrub_state()?;
        }
        let Spool { folder, state, mut witness, written, left, limits, given_up, .. } = self;
        (witness.state, witness.state_commits) = state.close()?;
        if written.as_ref() != Some(&witness) {
            witness::write(&folder, &witness)?;
        }
        // What was done is durable by now, and to be told so is worth more than the reserve.
        let allowed = reserve::allowed(&witness, left.bytes() + SMALL_FILES, limits.max_bytes);
        if let Err(error) = reserve::keep(&folder, allowed, given_up) {
            tracing::warn!("the spool is without its reserve for a full disk: {error}");
        }
        Ok(())
    }

    /// Makes everything durable and removes the folders of segments that nothing refers to any more.
    pub(super) fn checkpoint(&mut self) -> Result<(), SpoolError> {
        self.close_segment()?;
        let doomed = &mut self.doomed;
        self.witness.segments.retain(|entry| {
            let keep = entry.live() > 0;
            if !keep {
                doomed.push(entry.number);
            }
            keep
        });
        // Those that are about to go are remembered as done until the witness no longer names them.
        let mut existing: BTreeSet<u64> = self.witness.segments.iter().map(|entry| entry.number).collect();
        existing.extend(&self.doomed);
        self.state.meta.done.retain(|number, _| existing.contains(number));
        self.state.meta.next_segment = self.witness.next_segment;
        self.state.meta.next_seq = self.witness.next_seq;
        if std::mem::take(&mut self.state.identities_changed) {
            identities::write(&self.folder, &self.state)?;
        }
        self.state.commit()?;
        if self.doomed.is_empty() {
            return Ok(());
        }
        self.drained = self.witness.segments.is_empty();
        witness::write(&self.folder, &self.witness)?;
        self.written = Some(self.witness.clone());
        for number in std::mem::take(&mut self.doomed) {
            store::remove_folder(&segment::folder(&self.folder, number))?;
        }
        // A receipt is given for this: a removed folder must not be back after a power cut.
        store::sync_folder(&self.folder)
    }

    /// Closes the open segment, if there is one, and takes note of its checksum.
    pub(super) fn close_segment(&mut self) -> Result<(), SpoolError> {
        let Some(segment) = self.open.take() else {
            return Ok(());
        };
        let number = segment.number();
        let checksum = segment.close()?;
        if let Some(entry) = self.witness.segments.iter_mut().find(|entry| entry.number == number) {
            entry.checksum = Some(checksum);
            self.state.compared.insert(number);
        }
        Ok(())
    }
}

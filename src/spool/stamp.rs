//! A stamp of the spool's state: changes with every commit, and differs for another spool.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{Doing, SpoolError};
use super::folder::SpoolFolder;
use super::witness;

/// The state of one spool after one commit. Only good for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStamp([u8; 32]);

impl SpoolStamp {
    /// The stamp of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> SpoolStamp {
        SpoolStamp(Sha256::digest(bytes).into())
    }
}

impl SpoolFolder {
    /// The stamp of the spool as last committed; `None` if there is no spool. Takes no lock.
    pub fn stamp(&self) -> Result<Option<SpoolStamp>, SpoolError> {
        let path = self.path.join(witness::FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(SpoolStamp::of(&bytes))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).doing("read", &path),
        }
    }
}

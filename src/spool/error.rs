//! What can go wrong with a spool, each with its next step.

use std::path::PathBuf;
use std::time::Duration;

use crate::rights::Exposed;

/// Why a spool could not be used. No variant carries anything of a record but its sequence number.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process holds the spool for longer than the wait allows.
    #[error(
        "{}: the spool is busy (held by {holder}) and was not free within {}; try again, or allow a longer `spool.wait`",
        folder.display(), seconds(.waited)
    )]
    Busy {
        folder: PathBuf,
        /// `process 1234`, or `another process` where that is not known.
        holder: String,
        waited: Duration,
    },
    /// Another flush, or a purge that keeps flushes away, went on for longer than the wait allows.
    #[error(
        "{}: another flush is under way ({holder}) and did not end within {}; `salver status` shows how far it is, and what it leaves \
         can be flushed afterwards",
        folder.display(), seconds(.waited)
    )]
    Flushing {
        folder: PathBuf,
        /// See [`SpoolError::Busy`].
        holder: String,
        waited: Duration,
    },
    /// There is no spool in the folder.
    #[error("{}: there is no spool here yet; `salver record` or `salver run` makes one", folder.display())]
    Absent {
        /// The folder that was looked at.
        folder: PathBuf,
    },
    /// The folder holds something else.
    #[error("{}: this folder is not a spool of salver ({what}); name an empty or new folder", folder.display())]
    Foreign { folder: PathBuf, what: String },
    /// The spool was written by a later version.
    #[error("{}: the spool has format {format}, this salver knows {}; update salver", folder.display(), super::FORMAT)]
    Newer { folder: PathBuf, format: u32 },
    /// The spool was written by a version before the first release.
    #[error(
        "{}: the spool has format {format}, which this salver no longer reads; move the folder away (`salver record` makes a new \
         one), or name another with `spool.directory`",
        folder.display()
    )]
    Older { folder: PathBuf, format: u32 },
    /// The clock shows a time that no record can carry.
    #[error(
        "the clock of this server shows a time before 1970 or after 9999, so nothing can be recorded; set its date and time"
    )]
    Clock,
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// Others may read or change the folder, or it is somebody else's.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// The operating system refused a file operation.
    #[error("{}: cannot {doing}: {cause}{}", path.display(), hint(.cause))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// The operating system's answer.
        cause: std::io::Error,
    },
    /// A file of the spool is damaged.
    #[error(
        "{}: the spool is damaged ({what}); `salver record` or `salver flush` saves the records that are whole, and `salver status` \
         then says what is lost",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
}

impl SpoolError {
    /// Whether there was no room left on the disk, or in the account's share of it.
    pub fn is_full(&self) -> bool {
        matches!(self, SpoolError::Io { cause, .. } if is_full(cause))
    }

    /// Whether somebody else keeps others from the file for now.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self, SpoolError::Io { cause, .. } if is_in_use(cause))
    }
}

/// Whether somebody has the file locked, or opened without sharing it. On Windows both keep others
/// from reading it.
fn is_in_use(cause: &std::io::Error) -> bool {
    const ERROR_SHARING_VIOLATION: i32 = 32;
    const ERROR_LOCK_VIOLATION: i32 = 33;
    cfg!(windows) && matches!(cause.raw_os_error(), Some(ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION))
}

pub(super) fn is_full(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// A value is too large for the spool, or cannot be encoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record is too large, or holds something that cannot be stored, and was not recorded; check the size of the catalogue and \
     the names in the settings"
)]
pub struct Unencodable;

fn seconds(duration: &Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn hint(cause: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match cause.kind() {
        PermissionDenied => {
            "; give the account that runs salver the right to write there, or name another folder"
        }
        ReadOnlyFilesystem => "; the spool needs a file system that can be written",
        _ if is_in_use(cause) => {
            "; another program keeps it open, such as a backup or a virus scanner: try again"
        }
        _ if is_full(cause) => "; free some space, what is spooled already is safe",
        _ => "",
    }
}

/// Turns an [`std::io::Error`] into a [`SpoolError`] that names the path and what was tried.
pub(super) trait Doing<T> {
    /// Names what was tried, and where.
    fn doing(self, doing: &'static str, path: &std::path::Path) -> Result<T, SpoolError>;
}

impl<T> Doing<T> for Result<T, std::io::Error> {
    fn doing(self, doing: &'static str, path: &std::path::Path) -> Result<T, SpoolError> {
        self.map_err(|cause| SpoolError::Io { path: path.to_owned(), doing, cause })
    }
}

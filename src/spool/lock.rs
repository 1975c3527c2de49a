//! The lock that orders the processes which use one spool.
//!
//! Why: sled lets one process in at a time and turns the others away at once; here they wait their turn, for a bounded
//! time. The operating system drops the lock when its holder dies, so a dead holder never blocks anybody.
//!
//! Invariant: the lock file is made once and never replaced or removed, otherwise two processes could each hold "the" lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{Doing, SpoolError};

/// Held while the spool is open; dropping it lets the next process in.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// How often a waiting process looks again. Cycles of others take a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

impl Lock {
    /// Waits for the lock file `name` in `folder`, at most for `wait`.
    pub(super) fn acquire(folder: &Path, name: &str, wait: Duration) -> Result<Lock, SpoolError> {
        let path = folder.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .doing("open the lock file", &path)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < wait => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(SpoolError::Busy {
                        folder: folder.to_owned(),
                        holder: holder(&mut file),
                        waited: started.elapsed(),
                    });
                }
                Err(TryLockError::Error(cause)) => return Err(cause).doing("lock", &path),
            }
        }
        // For a message only, so it is no loss if a full disk does not take it.
        _ = note_holder(&mut file);
        Ok(Lock { _file: file })
    }
}

fn note_holder(file: &mut File) -> std::io::Result<()> {
    file.rewind()?;
    // Fixed width, so that an overwritten number leaves no digits behind and the file needs no truncation.
    writeln!(file, "{:>10}", std::process::id())
}

/// Who holds the lock, for a message only. On Windows a locked file cannot be read by others.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(process)) => format!("process {process}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_and_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::acquire(folder.path(), "lock", Duration::ZERO).unwrap();
        let busy = Lock::acquire(folder.path(), "lock", Duration::from_millis(20)).unwrap_err();
        assert!(matches!(busy, SpoolError::Busy { .. }), "{busy}");
        drop(held);
        Lock::acquire(folder.path(), "lock", Duration::ZERO).unwrap();
    }
}

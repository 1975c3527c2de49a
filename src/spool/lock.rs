//! The locks that order the processes which use one spool, and the line in which they wait.
//!
//! Why: sled lets one process in at a time and turns the others away at once; here they wait their
//! turn, for a bounded time.
//!
//! Why a line: neither system says who gets a lock next. Of eight processes that only looked again
//! and again some waited two hundred times as long as others worked, and gave up. So in front of a
//! lock stand places, each a lock of its own. A process takes the last place first, and moves up
//! one place at a time: it releases a place once it holds the next. Only one process at a time can
//! want a place, so nobody is overtaken, least of all by a holder that comes back. Behind the last
//! place, where a ninth waits, it is chance again.
//!
//! # Invariants
//!
//! 1. The lock file and the places are made once and never replaced or removed, otherwise two
//!    processes could each hold "the" lock.
//! 2. A process holds the lock or one place, but for the moment in which it moves up. A process
//!    that dies or gives up leaves nothing behind: the operating system drops what it held, and
//!    those behind it move up.
//! 3. Nothing stands in a file that matters. The holder's number is for a message; it has a file of
//!    its own since on Windows a locked file cannot be read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Doing, SpoolError};

/// The folder in which the places are.
const LINE: &str = "line";

/// How many processes can wait in order.
const PLACES: u32 = 8;

/// How often the one at the head of the line looks again; the others, who have longer to wait, look
/// less often. Cycles of others take a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Held while the spool is open, or while somebody flushes; dropping it lets the next process in.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    /// The place of the one who is next.
    next: PathBuf,
}

impl Lock {
    /// Waits in line for the lock file `name` in `folder`, at most for `wait`.
    pub(super) fn acquire(folder: &Path, name: &str, wait: Duration) -> Result<Lock, SpoolError> {
        let line = folder.join(LINE);
        make_line(&line)?;
        let holder = line.join(format!("{name}.holder"));
        let started = Instant::now();
        let may_wait = || match started.elapsed() {
            waited if waited < wait => Ok(()),
            waited => Err(SpoolError::Busy { folder: folder.to_owned(), holder: who_holds(&holder), waited }),
        };
        // Giving each place a new value lets go of the one before, once the next is held.
        let mut _place = take(&line.join(format!("{name}.{PLACES}")), PLACES, may_wait)?;
        for number in (1..PLACES).rev() {
            _place = take(&line.join(format!("{name}.{number}")), number, may_wait)?;
        }
        let file = take(&folder.join(name), 0, may_wait)?;
        note_holder(&holder);
        Ok(Lock { _file: file, next: line.join(format!("{name}.1")) })
    }

    /// Whether another process waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        open(&self.next).is_ok_and(|place| matches!(place.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

/// Locks a file as soon as nobody else has it locked. `ahead` others may be waiting for the lock
/// before this one is next.
fn take(path: &Path, ahead: u32, may_wait: impl Fn() -> Result<(), SpoolError>) -> Result<File, SpoolError> {
    let file = open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => may_wait()?,
            Err(TryLockError::Error(cause)) => return Err(cause).doing("lock", path),
        }
        std::thread::sleep(LOOK_AGAIN * (ahead + 1));
    }
}

/// Makes the folder of the places where there is none yet, in a spool that is there.
fn make_line(line: &Path) -> Result<(), SpoolError> {
    if line.is_dir() {
        return Ok(());
    }
    match std::fs::create_dir(line) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.doing("make the folder", line),
    }
}

/// Opens a lock file, or makes it where it was never used.
fn open(path: &Path) -> Result<File, SpoolError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.doing("open the lock file", path)
}

/// Writes down who holds the lock. Of fixed width, so that no digit of another is left behind and a
/// full disk has room for it; and if it cannot be written, a message says less.
fn note_holder(path: &Path) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    _ = file.and_then(|mut file| writeln!(file, "{:>10}", std::process::id()));
}

/// Who holds the lock, for a message only.
fn who_holds(path: &Path) -> String {
    let noted = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    noted.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Waits until another process stands at a place.
    fn until_taken(folder: &Path, place: u32) {
        let place = folder.join(format!("{LINE}/lock.{place}"));
        while open(&place).unwrap().try_lock().is_ok() {
            thread::sleep(LOOK_AGAIN);
        }
    }

    #[test]
    fn a_second_holder_waits_and_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::acquire(folder.path(), "lock", Duration::ZERO).unwrap();
        assert!(!held.is_wanted());
        let busy = Lock::acquire(folder.path(), "lock", Duration::from_millis(20)).unwrap_err();
        assert!(
            matches!(&busy, SpoolError::Busy { holder, .. } if *holder == format!("process {}", std::process::id()))
        );
        drop(held);
        Lock::acquire(folder.path(), "lock", Duration::ZERO).unwrap();
    }

    #[test]
    fn the_first_to_come_is_next_and_a_holder_that_comes_back_is_last() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let held = Lock::acquire(folder, "lock", LONG).unwrap();
            for number in 1..PLACES {
                let order = &order;
                scope.spawn(move || {
                    let _lock = Lock::acquire(folder, "lock", LONG).unwrap();
                    order.lock().unwrap().push(number);
                });
                until_taken(folder, number);
            }
            drop(held);
            let _lock = Lock::acquire(folder, "lock", LONG).unwrap();
            order.lock().unwrap().push(PLACES);
        });
        assert_eq!(order.into_inner().unwrap(), Vec::from_iter(1..=PLACES));
    }

    #[test]
    fn the_place_of_one_that_gives_up_is_taken_by_the_one_behind() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let held = Lock::acquire(folder, "lock", LONG).unwrap();
        thread::scope(|scope| {
            let impatient = open(&folder.join(format!("{LINE}/lock.1"))).unwrap();
            impatient.lock().unwrap();
            let waiting = scope.spawn(|| Lock::acquire(folder, "lock", LONG).map(drop));
            until_taken(folder, 2);
            drop(impatient);
            until_taken(folder, 1);
            assert!(held.is_wanted());
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}

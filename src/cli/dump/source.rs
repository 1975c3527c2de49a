//! Where a dump's records come from.
//!
//! The spool is opened for a portion at a time and closed while the portion is written, so a long dump (or a reader that
//! pauses) never holds up a record, and a million records need no more memory than ten. What is recorded after the dump
//! began is not part of it.
//!
//! A spool that cannot be written to is shown as its witness knows it, without opening it; one whose disk fills up under the dump
//! is shown so from there on.

use anyhow::Result;

use super::Arguments;
use crate::clock;
use crate::spool::{Queued, Spool, SpoolError, SpoolFolder, SpoolView};

/// So many records are read at a time.
const PORTION: usize = 500;

/// Where the records come from.
pub(super) enum Source {
    /// A spool that is opened for each portion.
    Folder(SpoolFolder),
    /// One that cannot be written to.
    View(Box<SpoolView>),
}

impl Source {
    /// Finds out before the first byte of output: a spool that cannot be read never empties a file that was there.
    pub(super) fn of(folder: SpoolFolder) -> Result<Source, SpoolError> {
        Ok(match folder.open_existing(clock::now_ms()).and_then(Spool::close) {
            Ok(()) => Source::Folder(folder),
            Err(error) => Source::View(Box::new(SpoolView::instead_of(&folder, error)?)),
        })
    }

    /// All records that are wanted.
    pub(super) fn each(
        &mut self,
        arguments: &Arguments,
        write: &mut dyn FnMut(&Queued) -> Result<()>,
    ) -> Result<()> {
        let mut rest = Rest { from: 0, end: u64::MAX, left: arguments.limit.unwrap_or(u64::MAX) };
        if let Source::Folder(folder) = self {
            loop {
                match rest.portion(folder, arguments) {
                    Ok(None) => return Ok(()),
                    Ok(Some(portion)) => portion.iter().try_for_each(&mut *write)?,
                    Err(error) if error.is_full() => {
                        *self = Source::View(Box::new(SpoolView::instead_of(folder, error)?));
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let Source::View(view) = self else { return Ok(()) };
        view.each(|queued| {
            if rest.left > 0 && rest.holds(&queued) && arguments.wants(&queued) {
                write(&queued)?;
                rest.left -= 1;
            }
            Ok(rest.left > 0)
        })
    }
}

/// What was not dumped yet: sequence numbers from `from` to before `end`, and how many of them are wanted at most.
struct Rest {
    from: u64,
    end: u64,
    left: u64,
}

impl Rest {
    fn holds(&self, queued: &Queued) -> bool {
        (self.from..self.end).contains(&queued.seq)
    }

    /// The next records that are wanted; `None` at the end. The spool is open while they are read, and closed while they are written.
    fn portion(
        &mut self,
        folder: &SpoolFolder,
        arguments: &Arguments,
    ) -> Result<Option<Vec<Queued>>, SpoolError> {
        let most = usize::try_from(self.left).unwrap_or(PORTION).min(PORTION);
        let mut spool = folder.open_existing(clock::now_ms())?;
        self.end = self.end.min(spool.next_seq());
        let mut portion = Vec::new();
        let mut next = self.from;
        let mut read = 0;
        spool.each(self.from, |queued| {
            if !self.holds(&queued) || self.left == 0 {
                return false;
            }
            next = queued.seq + 1;
            read += 1;
            if arguments.wants(&queued) {
                portion.push(queued);
            }
            portion.len() < most && read < PORTION * 8
        })?;
        match spool.close() {
            // Only what was read counts.
            Err(error) if error.is_full() => {}
            closed => closed?,
        }
        self.from = next;
        self.left -= portion.len() as u64;
        Ok((read > 0).then_some(portion))
    }
}

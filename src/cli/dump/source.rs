//! Where a dump's records come from.
//!
//! The spool is opened for a portion at a time and closed while the portion is written, so a long dump (or a reader that
//! pauses) never holds up a record, and a million records need no more memory than ten. What is recorded after the dump
//! began is not part of it.
//!
//! A spool that cannot be written to is shown as its witness knows it, without opening it.

use anyhow::Result;

use super::Arguments;
use crate::clock;
use crate::record::Layout;
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
        match self {
            Source::Folder(folder) => each_portion(folder, arguments, write),
            Source::View(view) => {
                let mut left = arguments.limit.unwrap_or(u64::MAX);
                view.each(|queued| {
                    if left > 0 && arguments.wants(&queued) {
                        write(&queued)?;
                        left -= 1;
                    }
                    Ok(left > 0)
                })
            }
        }
    }
}

/// As [`Source::each`], portion by portion: the spool is open while one is read, and closed while it is written.
fn each_portion(
    folder: &SpoolFolder,
    arguments: &Arguments,
    write: &mut dyn FnMut(&Queued) -> Result<()>,
) -> Result<()> {
    let mut from = 0;
    let mut until_seq = None;
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PORTION).min(PORTION);
        let mut spool = folder.open_existing(clock::now_ms())?;
        let end = *until_seq.get_or_insert(spool.next_seq());
        let mut portion = Portion::default();
        let mut read = 0;
        spool.each(from, |queued| {
            if queued.seq >= end {
                return false;
            }
            from = queued.seq + 1;
            read += 1;
            if arguments.wants(&queued) {
                portion.add(queued);
            }
            portion.records.len() < most && read < PORTION * 8
        })?;
        spool.close()?;
        if read == 0 {
            break;
        }
        left -= portion.records.len() as u64;
        portion.write(write)?;
    }
    Ok(())
}

/// Records that were read at a time. Each came with a copy of its layout, which takes many times the room of its values; here
/// they share it.
#[derive(Default)]
struct Portion {
    layouts: Vec<Layout>,
    records: Vec<(Queued, usize)>,
}

impl Portion {
    fn add(&mut self, mut queued: Queued) {
        let layout = std::mem::take(&mut queued.record.draft.layout);
        let at = self.layouts.iter().position(|known| *known == layout).unwrap_or_else(|| {
            self.layouts.push(layout);
            self.layouts.len() - 1
        });
        self.records.push((queued, at));
    }

    fn write(self, write: &mut dyn FnMut(&Queued) -> Result<()>) -> Result<()> {
        for (mut queued, at) in self.records {
            queued.record.draft.layout = self.layouts[at].clone();
            write(&queued)?;
        }
        Ok(())
    }
}

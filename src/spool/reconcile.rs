//! Bringing the parts of a spool into agreement when it is opened, whatever was interrupted.
//!
//! Why at each opening: a process may die between any two steps, and none of them may need a repair by hand. Each step leaves
//! a state from which the next opening can tell whether to finish it or to take it back:
//!
//! - a record without its summary: taken in from the record;
//! - a segment that the witness does not know: newer than all it knows, so it was begun before the crash, or it is a finished
//!   rewrite, whose header names the segment it replaces; older, so it is left over and goes;
//! - a segment that the witness knows and the disk does not have: gone, and said so, unless all of it was done;
//! - a half-built folder (`.tmp`): was never begun.

use std::collections::BTreeSet;
use std::path::Path;

use super::check::{Check, Raw, aside_of, name};
use super::error::{Doing, SpoolError};
use super::identities;
use super::segment;
use super::state::{self, DeadLetter, Problem, State};
use super::store::{self, Go};
use super::witness::{Entry, Witness};

/// Opens `state/`. If it cannot be read it is set aside, and an empty one takes its place: the witness and the records know
/// all that matters.
pub(super) fn open_state(spool: &Path, known: Option<&Witness>, now_ms: i64) -> Result<State, SpoolError> {
    let path = spool.join(state::FOLDER);
    let (mut state, what) = match State::open(spool) {
        Err(SpoolError::Damaged { .. }) if known.is_none() && tidy(spool)?.is_empty() => {
            // The spool was being made when its process died: there is nothing yet that could be lost.
            store::remove_folder(&path)?;
            (State::open(spool)?, None)
        }
        Err(SpoolError::Damaged { .. }) => {
            let aside = aside_of(&path, now_ms);
            std::fs::rename(&path, &aside).doing("set aside", &path)?;
            (State::open(spool)?, Some(format!("was damaged and was set aside as {}", name(&aside))))
        }
        Ok(state) => {
            let behind = known.is_some_and(|known| state.meta.commits < known.state_commits);
            (state, behind.then(|| "has lost its last changes".to_owned()))
        }
        Err(error) => return Err(error),
    };
    if what.is_some() || state.meta.commits == 0 {
        identities::restore(spool, &mut state)?;
    }
    if let Some(what) = what {
        restore_dead(&mut state, known)?;
        // The records say what it should know; taking them in again changes nothing that it still knows.
        state.meta.applied = 0;
        state.meta.commits = state.meta.commits.max(known.map_or(0, |known| known.state_commits));
        state.meta.problems.push(Problem {
            at_ms: now_ms,
            text: format!(
                "the summary of the spool {what}; no record is concerned, entries of the ledger and the words that dead letters \
                 were refused with may be gone"
            ),
        });
    }
    Ok(state)
}

/// Gives a `state` that was lost the dead letters that the witness knows, and no others: it is the newer of the two, and without
/// it they would be sent again.
fn restore_dead(state: &mut State, known: Option<&Witness>) -> Result<(), SpoolError> {
    let letters = state.dead()?;
    let segments = known.into_iter().flat_map(|known| &known.segments);
    let dead: BTreeSet<u64> = segments.flat_map(|entry| entry.dead.iter()).collect();
    letters.keys().filter(|seq| !dead.contains(seq)).for_each(|seq| state.remove_dead(*seq));
    let unknown = dead.into_iter().filter(|seq| !letters.contains_key(seq));
    unknown.for_each(|seq| state.put_dead(seq, &DeadLetter::default()));
    Ok(())
}

/// Brings witness, summary and folders into agreement, whatever was interrupted.
pub(super) fn reconcile(
    spool: &Path,
    known: Option<Witness>,
    state: &mut State,
    now_ms: i64,
) -> Result<Witness, SpoolError> {
    let on_disk = tidy(spool)?;
    let complete = known.is_some();
    let mut witness = known.unwrap_or_default();
    // The summary may know of later segments: those were begun after the witness was written.
    let begun = witness.next_segment;
    witness.next_segment = witness.next_segment.max(state.meta.next_segment).max(1);
    witness.next_seq = witness.next_seq.max(state.meta.next_seq).max(1);

    for entry in &mut witness.segments {
        if let Some(done) = state.meta.done.get(&entry.number) {
            done.iter().filter(|seq| entry.present.contains(*seq)).for_each(|seq| entry.done.insert(seq));
        }
    }
    let mut agreed = complete && witness.state_commits == state.meta.commits;
    for number in on_disk.iter().copied() {
        if witness.segments.iter().any(|entry| entry.number == number) {
            continue;
        }
        if complete && number < begun {
            // Left behind by a rewrite or a drain whose last step was interrupted.
            store::remove_folder(&segment::folder(spool, number))?;
        } else {
            agreed = false;
            adopt(&mut Check { spool, witness: &mut witness, state, now_ms }, number)?;
        }
    }
    missing(spool, &mut witness, &on_disk, state, now_ms);
    witness.segments.sort_by_key(|entry| entry.present.first());
    for (name, instance) in state.instances()? {
        if instance.paused {
            witness.paused.insert(name);
        }
    }
    for name in witness.paused.clone() {
        let mut instance = state.instance(&name)?.unwrap_or_default();
        if !instance.paused {
            instance.paused = true;
            state.put_instance(&name, &instance);
        }
    }
    catch_up(&mut Check { spool, witness: &mut witness, state, now_ms })?;
    // Last, when the witness knows all records again.
    if !agreed {
        mark_dead(&mut witness, state)?;
    }
    Ok(witness)
}

/// Marks as dead what the summary has for a dead letter: it is as new as the witness or newer.
fn mark_dead(witness: &mut Witness, state: &mut State) -> Result<(), SpoolError> {
    let letters = state.dead()?;
    for entry in &mut witness.segments {
        entry.dead = letters.keys().copied().filter(|seq| entry.is_live(*seq)).collect();
    }
    for seq in letters.keys().filter(|seq| !witness.segments.iter().any(|entry| entry.dead.contains(**seq))) {
        state.remove_dead(*seq);
    }
    Ok(())
}

/// Removes what an interrupted step left half made, and tells the numbers of the segments on disk.
fn tidy(spool: &Path) -> Result<Vec<u64>, SpoolError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(spool).doing("list", spool)? {
        let entry = entry.doing("list", spool)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = segment::number(name) {
            numbers.push(number);
        } else if name.ends_with(".tmp") && entry.path().is_dir() {
            store::remove_folder(&entry.path())?;
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes note of segments that the witness knows and the disk does not have.
fn missing(spool: &Path, witness: &mut Witness, on_disk: &[u64], state: &mut State, now_ms: i64) {
    witness.segments.retain(|entry| {
        // What was salvaged a moment ago is newer than the listing.
        if on_disk.contains(&entry.number) || segment::folder(spool, entry.number).is_dir() {
            return true;
        }
        if entry.live() > 0 {
            state.meta.problems.push(Problem { at_ms: now_ms, text: entry.gone() });
        }
        entry.dead.iter().for_each(|seq| state.remove_dead(seq));
        false
    });
}

/// Takes in a segment that the witness does not know: written just before a crash, or after the witness was lost.
fn adopt(check: &mut Check<'_>, number: u64) -> Result<(), SpoolError> {
    let header = Raw::read(&segment::folder(check.spool, number))?.header;
    if let Some(old) = header.and_then(|header| header.replaces) {
        // A finished rewrite whose switch was interrupted: finish it.
        check.witness.segments.retain(|entry| entry.number != old);
        store::remove_folder(&segment::folder(check.spool, old))?;
    }
    check.witness.next_segment = check.witness.next_segment.max(number + 1);
    let done = check.state.meta.done.get(&number).cloned().unwrap_or_default();
    let mut entry = Entry { number, done, ..Entry::default() };
    entry.checksum = Some(check.verify(&mut entry)?.close()?);
    check.witness.next_seq = check.witness.next_seq.max(entry.present.last().map_or(0, |last| last + 1));
    check.witness.segments.push(entry);
    Ok(())
}

/// Takes records into the summary that were written after it was last committed.
fn catch_up(check: &mut Check<'_>) -> Result<(), SpoolError> {
    let applied = check.state.meta.applied;
    for at in 0..check.witness.segments.len() {
        let mut entry = check.witness.segments[at].clone();
        let behind = entry.present.last().is_some_and(|last| last >= applied);
        // Only the last segment is written to, so only there the witness may know less than the disk.
        let active = at + 1 == check.witness.segments.len();
        let changed = active && check.differs(&entry)?;
        if !behind && !changed {
            continue;
        }
        let mut segment = check.open(&mut entry)?;
        let mut records = Vec::new();
        segment.each(applied, |seq, record| {
            records.push((seq, record));
            Ok(Go::On)
        })?;
        for (seq, record) in &records {
            check.state.apply(*seq, record)?;
        }
        entry.checksum = Some(segment.close()?);
        check.witness.next_seq = check.witness.next_seq.max(entry.present.last().map_or(0, |last| last + 1));
        check.witness.segments[at] = entry;
    }
    Ok(())
}

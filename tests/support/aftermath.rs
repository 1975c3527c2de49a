//! What a spool holds after a process died or failed, compared with what the process had said by
//! then.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aho_corasick::AhoCorasick;
use salver::spool::SpoolFolder;

use super::folders::{NOW, files, spool_folder, waiting_in};
use super::said::{Said, have_left};

/// What a spool holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The uuids of the records in the queue, and those of them that are dead letters.
    pub queue: Vec<String>,
    pub dead: BTreeSet<String>,
    /// The number of records that have left it by its ledger.
    pub left: u64,
    pub problems: Vec<String>,
}

/// What is wrong with a spool, as it is found and as it opens by itself. `damaged`: a record was
/// damaged before, which is said and is no loss.
pub fn wrong_with(path: &Path, said: &Said, damaged: Option<&str>) -> Option<String> {
    let folder = spool_folder(path);
    // Before the opening, which removes what is left over: a receipt was given for its being gone.
    if let Some(file) = holding(said, path) {
        return Some(format!("something purged is still in {file}"));
    }
    if said.acknowledged() == 0 && !folder.exists() {
        return None;
    }
    let found = match looked_at(&folder) {
        Ok(found) => found,
        Err(what) => return Some(what),
    };
    let is_expected = |text: &String| damaged.is_some() && text.contains("was damaged");
    if let Some(problem) = found.problems.iter().find(|text| !is_expected(text)) {
        return Some(problem.clone());
    }
    let mut queue = found.queue.clone();
    // A damaged record counts as lost once, and its fate is of no interest any more.
    let said = said.without(damaged);
    queue.retain(|uuid| Some(uuid.as_str()) != damaged);
    if let Some(what) = said.wrong_with(&queue, found.left) {
        return Some(what);
    }
    if let Some(uuid) = found.queue.iter().find(|uuid| said.is_dead(uuid) && !found.dead.contains(*uuid)) {
        return Some(format!("{uuid} was refused and is no dead letter"));
    }
    if let Some(file) = holding(&said, path) {
        return Some(format!("something purged is back in {file}"));
    }
    let mut spool = folder.open(NOW).unwrap();
    if let Some(uuid) = said.for_good().find(|uuid| !spool.is_in_dedup(&uuid.parse().unwrap()).unwrap()) {
        return Some(format!("{uuid} has left and is not known again"));
    }
    spool.close().unwrap();
    let again = looked_at(&folder);
    (again.as_ref() != Ok(&found)).then(|| format!("the second opening differs: {again:?}"))
}

/// A file that holds something erased.
fn holding(said: &Said, path: &Path) -> Option<String> {
    let erased = AhoCorasick::new(said.erased()).unwrap();
    let all = if path.exists() { files(path) } else { Vec::new() };
    let holds = |file: &std::path::PathBuf| erased.is_match(&fs::read(file).unwrap());
    all.into_iter().find(holds).map(|file| file.display().to_string())
}

/// Opens a spool. A slot of the manifest that is cut short cannot be told from a damaged one; that
/// is said, and harmless after a failure.
pub fn looked_at(folder: &SpoolFolder) -> Result<Found, String> {
    let mut spool = folder.open(NOW).map_err(|error| format!("cannot be opened: {error}"))?;
    let waiting = waiting_in(&mut spool).unwrap();
    let dead = waiting.iter().filter(|queued| queued.dead.is_some());
    let dead = dead.map(|queued| queued.record.uuid.clone()).collect();
    let queue = waiting.into_iter().map(|queued| queued.record.uuid).collect();
    let left = have_left(&spool.ledger());
    let mut problems: Vec<String> = spool.problems().iter().map(|problem| problem.text.clone()).collect();
    problems.retain(|text| !text.contains("after a power failure nothing is lost by that"));
    spool.close().unwrap();
    Ok(Found { queue, dead, left, problems })
}

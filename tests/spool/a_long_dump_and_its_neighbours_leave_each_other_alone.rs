//! Promise: a dump, however long it takes, holds nobody up, and whatever others do meanwhile, it
//! shows each record that waited when it began at most once, and each that waited all the time. It
//! needs no more memory for many records than for few.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::NOW;
use crate::support::salver_in;
use salver::record::BatchOutcome;
use salver::record::{Draft, Reason};
use salver::spool::{Selector, SpoolFolder, SpoolLimits};
use serde_json::Value as Json;

/// Somebody who records, delivers and purges, and keeps a list of it. Nobody makes it wait for
/// long.
struct Neighbour {
    folder: SpoolFolder,
    known: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl Neighbour {
    fn of(place: &tempfile::TempDir, wait: Duration) -> Neighbour {
        let limits = SpoolLimits {
            max_bytes: 1 << 40,
            max_records: 10_000_000,
            retention: Duration::from_secs(1_000_000_000),
        };
        let folder = SpoolFolder { path: place.path().join("spool"), limits, wait };
        Neighbour { folder, known: BTreeSet::new(), gone: BTreeSet::new() }
    }

    fn record(&mut self, records: u64) {
        self.record_drafts((0..records).map(draft).collect());
    }

    fn record_drafts(&mut self, drafts: Vec<Draft>) {
        let mut spool = self.folder.open(NOW).unwrap();
        let written = spool.record_all("a", drafts, Reason::Changed).unwrap();
        spool.close().unwrap();
        self.known.extend(written.into_iter().map(|record| record.uuid));
    }

    fn deliver(&mut self, records: usize) {
        let mut spool = self.folder.open(NOW).unwrap();
        let batch = spool.next_batch(records, &BTreeSet::new()).unwrap();
        self.gone.extend(batch.iter().map(|queued| queued.record.uuid.clone()));
        spool.acknowledge(&batch, &BatchOutcome::Delivered).unwrap();
        spool.close().unwrap();
    }

    /// The segment of the oldest records is written anew, under another number.
    fn purge_the_oldest(&mut self) {
        let mut spool = self.folder.open(NOW).unwrap();
        let oldest = spool.next_batch(10, &BTreeSet::new()).unwrap();
        let before_ms = oldest.last().map(|queued| queued.record.timestamp_ms);
        let erased = oldest.iter().filter(|queued| Some(queued.record.timestamp_ms) < before_ms);
        self.gone.extend(erased.map(|queued| queued.record.uuid.clone()));
        spool.purge(&Selector { before_ms, ..Selector::default() }).unwrap();
        spool.close().unwrap();
    }

    fn waiting(&self) -> BTreeSet<String> {
        self.known.difference(&self.gone).cloned().collect()
    }

    /// What a dump has shown that began when `queued` waited.
    fn assert_fair(&self, shown: &[Json], queued: &BTreeSet<String>) {
        let seqs: Vec<u64> = shown.iter().map(|record| record["spool"]["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted_by(|one, next| one < next), "each once, in order");
        let uuid = |record: &Json| record["spool"]["uuid"].as_str().unwrap().to_owned();
        let shown: BTreeSet<String> = shown.iter().map(uuid).collect();
        assert!(shown.is_subset(queued), "none is newer than the dump");
        assert!(queued.difference(&self.gone).all(|uuid| shown.contains(uuid)), "none that waited is missed");
    }
}

/// A dump that is read as slowly as one likes.
struct Dump {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    shown: Vec<Json>,
}

impl Dump {
    fn start(command: &mut Command) -> Dump {
        let command =
            command.args(["dump", "--format", "ndjson"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Dump { child, lines, shown: Vec::new() }
    }

    /// Reads so many records.
    fn read(&mut self, records: usize) {
        for line in self.lines.by_ref().lines().take(records) {
            self.shown.push(serde_json::from_str(&line.unwrap()).unwrap());
        }
    }

    /// Reads the rest; gives all records, and what was said on stderr.
    fn end(mut self) -> (Vec<Json>, String) {
        self.read(usize::MAX);
        let output = self.child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        (self.shown, told)
    }
}

#[test]
fn others_record_deliver_and_purge_while_a_dump_waits_for_its_reader() {
    let place = tempfile::tempdir().unwrap();
    let mut neighbour = Neighbour::of(&place, Duration::from_secs(30));
    neighbour.record(5000);
    let queued = neighbour.waiting();
    let mut dump = Dump::start(&mut salver_in(&neighbour.folder.path));
    for step in 1..=3 {
        dump.read(300);
        // The dump has read its portion and cannot write it all: the pipe is full, and stays so.
        neighbour.record(10);
        neighbour.purge_the_oldest();
        // A whole segment and more, so that one that the dump has not come to vanishes.
        neighbour.deliver(if step == 2 { 4200 } else { 10 });
    }
    let (shown, told) = dump.end();
    assert_eq!(told, "");
    assert!(shown.len() < queued.len(), "what was delivered before the dump came to it is not shown");
    neighbour.assert_fair(&shown, &queued);
}

/// Its mount is read-only for the reader alone, so others can work on the same files meanwhile.
#[cfg(target_os = "linux")]
#[test]
fn a_dump_of_a_read_only_spool_is_as_fair_while_others_write_to_it_elsewhere() {
    use crate::support::read_only::{Way, ways};

    if !ways().contains(&Way::Mounted) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut neighbour = Neighbour::of(&place, Duration::from_secs(30));
    for _ in 0..2 {
        neighbour.record(5000);
        let queued = neighbour.waiting();
        let mut dump = Dump::start(&mut Way::Mounted.salver(&neighbour.folder.path));
        for step in 1..=3 {
            dump.read(100);
            neighbour.record(300);
            // The segment that the dump is in vanishes, and the next one is written anew before the
            // dump comes to it.
            neighbour.deliver(if step == 2 { 4200 } else { 10 });
            neighbour.purge_the_oldest();
        }
        let (shown, told) = dump.end();
        assert_eq!(told, "", "nothing was amiss");
        neighbour.assert_fair(&shown, &queued);
    }
    let quiet = Dump::start(&mut Way::Mounted.salver(&neighbour.folder.path)).end().0;
    assert_eq!(quiet.len(), neighbour.waiting().len());
    neighbour.assert_fair(&quiet, &neighbour.waiting());
}

/// A draft with as many values as one of Butler.
#[cfg(target_os = "linux")]
fn wide(n: u64) -> Draft {
    use std::sync::Arc;

    use salver::record::{Slot, Value};

    let mut wide = draft(n);
    let slot = |at| Slot {
        property: Some(format!("feature_number_{at}_of_many")),
        nested: Some(format!("feature.number.{at}.of.many")),
        missing: Some(Value::Text("null".into())),
    };
    Arc::make_mut(&mut wide.layout).slots = (0..100).map(slot).collect();
    wide.values = (0..100).map(|at| Value::Bool(at % 3 == 0)).collect();
    wide
}

/// How many records are dumped where memory is measured.
#[cfg(target_os = "linux")]
fn many() -> u64 {
    crate::support::scratch::how_many("SALVER_TEST_RECORDS", 1100) as u64
}

/// Linux tells the most memory that a process ever had; elsewhere nobody does without help.
#[cfg(target_os = "linux")]
#[test]
fn a_dump_of_many_records_stays_within_64_megabytes() {
    use crate::support::read_only::{Way, ways};

    let place = tempfile::tempdir().unwrap();
    let mut neighbour = Neighbour::of(&place, Duration::from_secs(30));
    for first in (0..many()).step_by(4000) {
        neighbour.record_drafts((first..many().min(first + 4000)).map(wide).collect());
    }
    let mut dumps = vec![Dump::start(&mut salver_in(&neighbour.folder.path))];
    if ways().contains(&Way::Mounted) {
        dumps.push(Dump::start(&mut Way::Mounted.salver(&neighbour.folder.path)));
    }
    for mut dump in dumps {
        // It goes on with the last ones, more than a pipe holds, when it is asked.
        dump.read(many() as usize - 500);
        let status = std::fs::read_to_string(format!("/proc/{}/status", dump.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        eprintln!("{} records: {kilobytes} kB", many());
        assert!(kilobytes < 64 * 1024, "{kilobytes} kB");
        assert_eq!(dump.end().0.len() as u64, many());
    }
}

//! Promise 2: processes that wait for the spool get it in the order in which they came, whatever
//! becomes of those in front of them; so the wait of each is what those before it need, and nobody
//! starves.
//!
//! The processes are this test program in another role, since most commands open the spool more
//! than once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::dump;
use crate::support::folders::{NOW, spool_folder};
use crate::support::role::role;
use crate::support::service::{Service, until};
use salver::record::Reason;
use salver::spool::{SpoolError, SpoolFolder};

const SPOOL: &str = "SALVER_TEST_SPOOL";
const INSTANCE: &str = "SALVER_TEST_INSTANCE";

/// A spool that waits for longer than any test.
fn patient(path: &Path) -> SpoolFolder {
    SpoolFolder { wait: Duration::from_secs(600), ..spool_folder(path) }
}

#[test]
#[ignore = "not a test but the child that records once"]
fn child_that_records() {
    let (Some(spool), Ok(instance)) = (std::env::var_os(SPOOL), std::env::var(INSTANCE)) else { return };
    let mut spool = patient(Path::new(&spool)).open(NOW).unwrap();
    spool.record(&instance, draft(1), Reason::Changed).unwrap();
    spool.close().unwrap();
}

/// A spool that somebody holds.
struct Held {
    _place: tempfile::TempDir,
    spool: PathBuf,
    lock: File,
}

impl Held {
    fn new() -> Held {
        let place = tempfile::tempdir().unwrap();
        let spool = place.path().join("spool");
        patient(&spool).open(NOW).unwrap().close().unwrap();
        let lock = file(&spool.join("lock"));
        until("the lock", || lock.try_lock().is_ok());
        Held { _place: place, spool, lock }
    }

    /// Starts a process that records, and waits until it stands at a place in the line, counted
    /// from the front.
    fn queue(&self, instance: usize, place: usize) -> Service {
        let mut child = role(module_path!(), "child_that_records");
        let child = Service::start(child.env(SPOOL, &self.spool).env(INSTANCE, instance.to_string()));
        let place = file(&self.spool.join(format!("line/lock.{place}")));
        until("a process in line", || {
            let taken = place.try_lock().is_err();
            _ = place.unlock();
            taken
        });
        child
    }

    /// Lets the others in; tells in which order they recorded.
    fn released(self, waiting: Vec<Service>) -> Vec<usize> {
        drop(self.lock);
        for mut child in waiting {
            let ended = child.ended();
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        let instance = |record: &serde_json::Value| record["spool"]["instance"].as_str().unwrap().parse();
        dump(&self.spool).iter().map(|record| instance(record).unwrap()).collect()
    }
}

fn file(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn those_who_wait_are_let_in_one_after_the_other() {
    let held = Held::new();
    let order = [3, 1, 4, 8, 5, 2, 7, 6];
    let waiting = order.iter().zip(1..).map(|(instance, place)| held.queue(*instance, place)).collect();
    assert_eq!(held.released(waiting), order);
}

#[test]
fn a_process_that_dies_in_line_leaves_its_place_to_those_behind() {
    let held = Held::new();
    let mut waiting: Vec<Service> = (1..=5).map(|number| held.queue(number, number)).collect();
    for dead in [3, 0] {
        waiting.remove(dead).kill();
    }
    assert_eq!(held.released(waiting), [2, 3, 5]);
}

#[test]
fn a_process_that_waited_too_long_is_told_who_holds_the_spool() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let _held = folder.open(NOW).unwrap();
    let hasty = SpoolFolder { wait: Duration::from_millis(50), ..folder.clone() };
    let Err(SpoolError::Busy { holder, .. }) = hasty.open(NOW).map(drop) else { panic!("it is held") };
    assert_eq!(holder, format!("process {}", std::process::id()));
}

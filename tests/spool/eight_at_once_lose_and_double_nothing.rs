//! Promises 2 and 4: eight processes that record, dump, flush and purge one spool at the same time lose nothing, double nothing, and
//! none of them waits longer than it may.
//!
//! The recorders are this test program in another role, the others the real program, which sends to a PostHog that counts.
//! `SALVER_TEST_SECONDS` sets for how long; then they wait as long as the settings say by default, and else longer, since a slow and
//! busy machine is no fault.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::spool_folder;
use crate::support::posthog::PostHog;
use crate::support::role::role;
use crate::support::scratch::how_many;
use crate::support::service::{Ended, Service};
use crate::support::site::Site;
use crate::support::{expect, json};
use salver::clock;
use salver::record::Reason;
use salver::spool::SpoolFolder;

const SPOOL: &str = "SALVER_TEST_SPOOL";
const INSTANCE: &str = "SALVER_TEST_INSTANCE";
const UNTIL_MS: &str = "SALVER_TEST_UNTIL";

/// Instances that are only ever delivered, and one that is purged as well.
const KEPT: [&str; 2] = ["first", "second"];
const PURGED: &str = "purged";

/// Records that each recorder writes at least, however slow the machine is.
const FEWEST: u64 = 6;

/// How long each may wait, in seconds.
fn most_wait() -> u64 {
    if std::env::var_os("SALVER_TEST_SECONDS").is_some() { 10 } else { 60 }
}

fn folder(path: &Path) -> SpoolFolder {
    SpoolFolder { wait: Duration::from_secs(most_wait()), ..spool_folder(path) }
}

/// Records one by one until its time is up. An error ends it, and so does a wait that was too long.
#[test]
#[ignore = "not a test but the child that records"]
fn child_that_records() {
    let (Some(spool), Ok(instance)) = (std::env::var_os(SPOOL), std::env::var(INSTANCE)) else { return };
    let until: i64 = std::env::var(UNTIL_MS).unwrap().parse().unwrap();
    let mut n = 0;
    while clock::now_ms() < until || n < FEWEST {
        let mut spool = folder(Path::new(&spool)).open(clock::now_ms()).unwrap();
        let mut own = draft(n);
        own.id = format!("{:064x}", instance.len());
        let record = spool.record(&instance, own, Reason::Changed).unwrap();
        spool.close().unwrap();
        std::io::stdout().write_all(format!("\nacknowledged {}\n", record.uuid).as_bytes()).unwrap();
        n += 1;
    }
}

/// Starts a recorder of an instance.
fn recorder(spool: &Path, instance: &str, until: i64) -> Service {
    let mut child = role(module_path!(), "child_that_records");
    Service::start(child.env(SPOOL, spool).env(INSTANCE, instance).env(UNTIL_MS, until.to_string()))
}

fn acknowledged(ended: &Ended) -> Vec<String> {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = ended.stdout.iter();
    lines.filter_map(|line| Some(line.strip_prefix("acknowledged ")?.to_owned())).collect()
}

/// Ends the others when the recorders have ended, also by a panic.
struct Recording<'a>(&'a AtomicBool);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a command again and again until the recorders have `ended`; all its ends must be good ones. Tells what it said on stdout.
fn again_and_again(site: &Site, arguments: &[&str], time: Duration, ended: &AtomicBool) -> Vec<String> {
    let mut said = Vec::new();
    while !ended.load(Ordering::SeqCst) {
        // The recorders are quicker than a flush, so one may go on to the end.
        let ended = Service::start(site.salver().args(arguments)).ended_after(time);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr.join("\n"));
        said.push(ended.stdout.join("\n"));
    }
    said
}

/// How many records a receipt says were erased.
fn erased(receipt: &str) -> usize {
    receipt.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[test]
fn nothing_is_lost_or_doubled_and_nobody_waits_too_long() {
    let posthog = PostHog::start();
    let site = Site::new();
    let posthog_section = format!("posthog: {{host: '{}', apiKey: phc_test}}", posthog.url());
    let spool_section = format!("spool: {{directory: spool, wait: {}s}}", most_wait());
    site.write("salver.yaml", &format!("{spool_section}\nflush: {{batchEvents: 20}}\n{posthog_section}\n"));
    let spool = site.spool();
    spool_folder(&spool).open(clock::now_ms()).unwrap().close().unwrap();
    let time = Duration::from_secs(how_many("SALVER_TEST_SECONDS", 4) as u64);
    let until_ms = clock::now_ms() + time.as_millis() as i64;

    let recorded = AtomicBool::new(false);
    let (kept, purged, receipts) = thread::scope(|scope| {
        let run = |arguments: &'static [&'static str]| {
            let (site, recorded) = (&site, &recorded);
            scope.spawn(move || again_and_again(site, arguments, time, recorded))
        };
        let dumps = [run(&["dump", "--format", "ndjson"]), run(&["status", "--format", "json"])];
        let flushes = [run(&["flush", "--limit", "40"]), run(&["flush", "--limit", "400"])];
        let purges = run(&["purge", "--instance", PURGED, "--yes"]);
        let recording = Recording(&recorded);
        let mut recorders = [KEPT[0], KEPT[1], PURGED].map(|instance| recorder(&spool, instance, until_ms));
        let [first, second, other] = recorders.each_mut().map(|it| it.ended_after(time));
        drop(recording);
        let [first, second, other] = [first, second, other].map(|ended| acknowledged(&ended));
        dumps.into_iter().chain(flushes).for_each(|it| assert!(!it.join().unwrap().is_empty()));
        ([first, second].concat(), other, purges.join().unwrap())
    });
    expect(site.salver().arg("flush"), 0);

    println!("{} and {} records, {} purges", kept.len(), purged.len(), receipts.len());
    let arrived = posthog.uuids();
    let mut times = BTreeMap::<&str, usize>::new();
    arrived.iter().for_each(|uuid| *times.entry(uuid).or_default() += 1);
    assert!(times.values().all(|count| *count == 1), "a record was delivered twice");
    assert!(kept.iter().all(|uuid| times.contains_key(uuid.as_str())), "a record was lost");
    let all: BTreeSet<&str> = kept.iter().chain(&purged).map(String::as_str).collect();
    assert!(times.keys().all(|uuid| all.contains(uuid)), "a record was made up");
    let delivered = purged.iter().filter(|uuid| times.contains_key(uuid.as_str())).count();
    let erased: usize = receipts.iter().map(|receipt| erased(receipt)).sum();
    assert_eq!(delivered + erased, purged.len(), "{receipts:?}");

    let status = json(&expect(site.salver().args(["status", "--format", "json"]), 0));
    assert_eq!((&status["problems"], &status["spool"]["records"]), (&serde_json::json!([]), &0.into()));
}

//! Promises 1 and 4: what was acknowledged survives a kill at any moment, in order and exactly
//! once, and a killed sender sends at most the one batch again that was on the wire.
//!
//! The processes are real and so are the kills: the tests start this test program again in the role
//! of somebody who records, or `salver` itself, and kill it wherever it is. `SALVER_TEST_KILLS`
//! sets how many kills each test makes.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use salver::clock;
use salver::record::Reason;
use salver::spool::SpoolFolder;
use serde_json::{Value as Json, json};

use crate::support::drafts::draft;
use crate::support::folders::spool_folder;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::role::role;
use crate::support::scratch::how_many;
use crate::support::service::{Service, until};
use crate::support::site::{SOS, SWITCHES, Site, features, flip, reports};
use crate::support::{dump, expect, json as stdout_json, salver_in};

/// Tells a child where to record.
const SPOOL: &str = "SALVER_TEST_SPOOL";

/// The instance whose records must survive, and one whose records are purged meanwhile.
const KEPT: &str = "kept";
const OTHER: &str = "other";

/// How many kills a test makes.
fn kills() -> usize {
    how_many("SALVER_TEST_KILLS", 38)
}

/// An evenly spread number below `below`. Not seeded: no seed would bring the same moment of
/// another process back.
fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

fn folder(path: &Path) -> SpoolFolder {
    SpoolFolder { wait: Duration::from_secs(60), ..spool_folder(path) }
}

// The child ---------------------------------------------------------------------------------------

/// Says that a record is acknowledged, in one write, so that a kill leaves the whole line or none.
fn acknowledge(uuid: &str) {
    std::io::stdout().write_all(format!("\nacknowledged {uuid}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

fn acknowledged(stdout: &[String]) -> Vec<String> {
    stdout.iter().filter_map(|line| Some(line.strip_prefix("acknowledged ")?.to_owned())).collect()
}

/// Records until it is killed, and closes the spool after each record.
#[test]
#[ignore = "not a test but the child that the tests kill"]
fn child_that_closes_after_each_record() {
    let Some(spool) = std::env::var_os(SPOOL) else { return };
    for n in 0.. {
        let mut spool = folder(Path::new(&spool)).open(clock::now_ms()).unwrap();
        let record = spool.record(KEPT, draft(n), Reason::Changed).unwrap();
        spool.close().unwrap();
        acknowledge(&record.uuid);
    }
}

/// Records until it is killed, with the spool held open for a while: `record` alone acknowledges.
#[test]
#[ignore = "not a test but the child that the tests kill"]
fn child_that_holds_the_spool_open() {
    let Some(spool) = std::env::var_os(SPOOL) else { return };
    loop {
        let mut spool = folder(Path::new(&spool)).open(clock::now_ms()).unwrap();
        for n in 0..random(100) {
            let record = spool.record(KEPT, draft(n), Reason::Changed).unwrap();
            acknowledge(&record.uuid);
        }
        spool.close().unwrap();
    }
}

/// As above, with records of another instance in between, which somebody purges.
#[test]
#[ignore = "not a test but the child that the tests kill"]
fn child_that_records_two_instances() {
    let Some(spool) = std::env::var_os(SPOOL) else { return };
    loop {
        let mut spool = folder(Path::new(&spool)).open(clock::now_ms()).unwrap();
        for n in 0..random(20) {
            spool.record(OTHER, draft(n), Reason::Changed).unwrap();
            let record = spool.record(KEPT, draft(n), Reason::Changed).unwrap();
            acknowledge(&record.uuid);
        }
        spool.close().unwrap();
    }
}

// The one who kills -------------------------------------------------------------------------------

/// Starts a child in a role, kills it somewhere within so many milliseconds, and tells what it had
/// acknowledged.
fn kill_within(ms: u64, child: &str, spool: &Path) -> Vec<String> {
    let mut command = role(module_path!(), child);
    let mut child = Service::start(command.env(SPOOL, spool));
    // Now and then anywhere from its first moment on, mostly in the middle of its work.
    if random(5) > 0 {
        child.wait_for("a record", |it| !acknowledged(&it.stdout()).is_empty());
    }
    thread::sleep(Duration::from_micros(random(ms * 1000)));
    let ended = child.kill();
    assert!(!ended.by_itself(), "{ended:?}");
    acknowledged(&ended.stdout)
}

fn uuids(records: &[Json]) -> Vec<String> {
    records.iter().map(|record| record["spool"]["uuid"].as_str().unwrap().to_owned()).collect()
}

/// That the queue holds all that was acknowledged, in order, once, and beside it at most one record
/// for each kill, which was written and not yet acknowledged; and that nobody thinks that the spool
/// is damaged.
fn assert_nothing_is_lost(spool: &Path, acknowledged: &[String], kills: usize) {
    // The next process that writes adopts what the last one had not committed.
    folder(spool).open(clock::now_ms()).unwrap().close().unwrap();
    let status = stdout_json(&expect(salver_in(spool).args(["status", "--format", "json"]), 0));
    assert_eq!(status["problems"], json!([]));
    let records = dump(spool);
    let kept = uuids(&records);
    let wanted: HashSet<&String> = acknowledged.iter().collect();
    let found: Vec<&String> = kept.iter().filter(|uuid| wanted.contains(uuid)).collect();
    assert!(found.iter().copied().eq(acknowledged), "{} of {}", found.len(), acknowledged.len());
    assert_eq!(kept.iter().collect::<HashSet<_>>().len(), kept.len(), "no uuid twice");
    assert!(kept.len() <= acknowledged.len() + kills, "{} and {}", kept.len(), acknowledged.len());
    assert!(records.is_sorted_by_key(|record| record["spool"]["seq"].as_u64().unwrap()));
    let times: HashSet<&str> = records.iter().map(|record| record["ts"].as_str().unwrap()).collect();
    assert_eq!(times.len(), records.len(), "all have one id, so no two may share their time");
}

#[test]
fn a_kill_between_open_and_close_loses_no_record() {
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("spool");
    let mut acknowledged = Vec::new();
    for _ in 0..kills() {
        acknowledged.extend(kill_within(40, "child_that_closes_after_each_record", &spool));
    }
    assert!(acknowledged.len() >= kills() / 2, "{} records are too few to say anything", acknowledged.len());
    assert_nothing_is_lost(&spool, &acknowledged, kills());
}

#[test]
fn a_kill_while_the_spool_is_held_open_loses_no_record() {
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("spool");
    let mut acknowledged = Vec::new();
    for _ in 0..kills() {
        acknowledged.extend(kill_within(40, "child_that_holds_the_spool_open", &spool));
    }
    assert!(acknowledged.len() >= kills(), "{} records are too few to say anything", acknowledged.len());
    assert_nothing_is_lost(&spool, &acknowledged, kills());
}

#[test]
fn a_kill_while_others_read_and_purge_loses_no_record() {
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("spool");
    folder(&spool).open(clock::now_ms()).unwrap().close().unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..kills() {
        let recorder = {
            let spool = spool.clone();
            thread::spawn(move || kill_within(150, "child_that_records_two_instances", &spool))
        };
        let mut dumping = Service::start(salver_in(&spool).args(["dump", "--format", "ndjson"]));
        let mut purging = Service::start(salver_in(&spool).args(["purge", "--instance", OTHER, "--yes"]));
        match random(2) {
            0 => {
                thread::sleep(Duration::from_micros(random(200_000)));
                purging.kill();
            }
            _ => assert_eq!(purging.ended().code, Some(0)),
        }
        assert_eq!(dumping.ended().code, Some(0));
        acknowledged.extend(recorder.join().unwrap());
    }
    expect(salver_in(&spool).args(["purge", "--instance", OTHER, "--yes"]), 0);
    assert!(dump(&spool).iter().all(|record| record["spool"]["instance"] == KEPT));
    assert_nothing_is_lost(&spool, &acknowledged, kills());
}

/// sled 0.34.7 leaves such a file when it dies in the middle of writing it, and then cannot open
/// its own database.
#[test]
fn a_half_written_snapshot_of_sled_is_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("spool");
    let mut open = folder(&spool).open(clock::now_ms()).unwrap();
    let recorded: Vec<String> =
        (0..3).map(|n| open.record(KEPT, draft(n), Reason::Changed).unwrap().uuid).collect();
    open.close().unwrap();
    std::fs::write(spool.join("seg-00000001/snap.00000000FFFFFFFF.generating"), b"half").unwrap();
    assert_nothing_is_lost(&spool, &recorded, 0);
}

#[test]
fn a_killed_service_loses_no_record_and_misses_no_change() {
    let mut config = SOS.to_owned();
    let site = Site::of_sos(&config);
    site.settings("watch: {settle: 10ms}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n");
    let mut recorded = Vec::new();
    let mut edits = 0;
    for _ in 0..kills() {
        let mut service = Service::start(site.salver().arg("run"));
        if random(5) > 0 {
            service.wait_for("the service to listen", |it| !it.stdout().is_empty());
        }
        for _ in 0..random(6) {
            config = flip(&config, SWITCHES[edits % SWITCHES.len()].0);
            edits += 1;
            site.replace("config/sos.yaml", &config);
            thread::sleep(Duration::from_millis(random(60)));
        }
        let ended = service.kill();
        assert!(!ended.by_itself(), "{ended:?}");
        recorded.extend(ended.recorded());
    }
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for("the final state", |it| it.idle_looks() > 0 || !it.recorded().is_empty());
    recorded.extend(service.stop().recorded());

    assert_nothing_is_lost(&site.spool(), &recorded, kills());
    let records = site.dump();
    assert!(records.len() > 1, "no change was seen in {} kills", kills());
    assert!(reports(records.last().unwrap(), &config), "the last record is what the file says");
    for pair in records.windows(2) {
        assert_ne!(features(&pair[0]), features(&pair[1]), "nothing unchanged is recorded again");
    }
}

/// Settings that lead to a server, with a batch of this size.
fn lead_to(site: &Site, posthog: &PostHog, batch: usize) {
    site.settings(&format!(
        "flush: {{batchEvents: {batch}}}\nposthog: {{host: '{}', apiKey: phc_test}}\n",
        posthog.url()
    ));
}

/// Writes so many records; tells their uuids.
fn record(site: &Site, count: u64) -> Vec<String> {
    let mut spool = folder(&site.spool()).open(clock::now_ms()).unwrap();
    let uuids = (0..count).map(|n| spool.record(KEPT, draft(n), Reason::Changed).unwrap().uuid).collect();
    spool.close().unwrap();
    uuids
}

/// Kills a flush in the middle of a request that is never answered.
fn kill_while_it_waits(site: &Site, posthog: &PostHog) {
    posthog.answer_next(Scripted::Stall(Duration::from_secs(3600)));
    let before = posthog.requests();
    let flush = Service::start(site.salver().arg("flush"));
    until("a request", || posthog.requests() > before);
    flush.kill();
}

#[test]
fn the_batch_that_was_on_the_wire_goes_out_again_by_itself() {
    let posthog = PostHog::start();
    let site = Site::new();
    lead_to(&site, &posthog, 10);
    let recorded = record(&site, 25);
    kill_while_it_waits(&site, &posthog);
    assert_eq!(uuids(&site.dump()), recorded, "nothing is acknowledged without an answer");
    // Larger batches now, and yet the next one is the one that PostHog may have already.
    lead_to(&site, &posthog, 100);
    expect(site.salver().arg("flush"), 0);
    let sizes: Vec<usize> = posthog.bodies().iter().map(|body| batch(body).len()).collect();
    assert_eq!((sizes, posthog.uuids()), (vec![10, 10, 15], recorded));
    assert_repeats_are_whole_batches(&posthog);
}

#[test]
fn a_killed_flush_delivers_all_and_repeats_at_most_the_batch_on_the_wire() {
    const RECORDS: u64 = 2000;
    const BATCH: usize = 80;
    let posthog = PostHog::start();
    let site = Site::new();
    lead_to(&site, &posthog, BATCH);
    let recorded = record(&site, RECORDS);
    kill_while_it_waits(&site, &posthog);
    let mut killed = 1;
    // A few requests for each, so that they end early and late in their work, on however fast a
    // machine.
    while killed < kills().min(12) && posthog.uuids().len() < recorded.len() - 8 * BATCH {
        let further = posthog.requests() + 1 + random(4) as usize;
        let flush = Service::start(site.salver().arg("flush"));
        until("some requests", || posthog.requests() >= further);
        thread::sleep(Duration::from_micros(random(5_000)));
        flush.kill();
        killed += 1;
    }
    assert!(killed >= 3, "{killed} kills are too few to say anything");
    let report = stdout_json(&expect(site.salver().args(["flush", "--format", "json"]), 0));
    assert_eq!((&report["outcome"], &report["remaining"]), (&json!("drained"), &json!(0)));

    assert!(site.dump().is_empty());
    let mut arrived: Vec<String> = posthog.uuids();
    let stored = arrived.len();
    assert!(stored <= recorded.len() + killed * BATCH, "{stored} arrived after {killed} kills");
    arrived.sort();
    arrived.dedup();
    let mut wanted = recorded.clone();
    wanted.sort();
    assert_eq!(arrived, wanted);
    assert_repeats_are_whole_batches(&posthog);
    assert_eq!(site.status()["problems"], json!([]));
}

fn batch(body: &Json) -> Vec<String> {
    body["batch"].as_array().unwrap().iter().map(|event| event["uuid"].to_string()).collect()
}

/// That each request carries either what the one before it carried, to the byte, or nothing that
/// was carried before.
fn assert_repeats_are_whole_batches(posthog: &PostHog) {
    let bodies = posthog.bodies();
    let mut seen = HashSet::new();
    for (number, body) in bodies.iter().enumerate() {
        let batch = batch(body);
        if batch.iter().any(|uuid| seen.contains(uuid)) {
            assert_eq!(body, &bodies[number - 1], "request {number} repeats something else");
        }
        seen.extend(batch);
    }
}

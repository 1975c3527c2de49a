//! Promise 4, for a long time: records are written, the line fails in every way at random, and the flusher is killed again and again.
//! In the end PostHog has exactly what was acknowledged. `SALVER_TEST_SECONDS` is how long it goes on (default 8).

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use salver::clock;
use salver::record::Reason;
use salver::spool::SpoolFolder;

use crate::support::drafts::draft;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::folders::spool_folder;
use crate::support::posthog::PostHog;
use crate::support::scratch::how_many;
use crate::support::site::{SOS, Site};

/// Each of the ways, with places of its own.
fn any_fault(random: &mut fastrand::Rng) -> Fault {
    match random.u8(..8) {
        0 => Fault::Refused,
        1 => Fault::RequestCut(random.usize(..5_000)),
        2 => Fault::StallBefore,
        3 => Fault::StallAfter,
        4 => Fault::AnswerLost,
        5 => Fault::AnswerCut(random.usize(..120)),
        6 => Fault::Twice,
        _ => Fault::Drip,
    }
}

fn flusher(site: &Site) -> Child {
    site.salver().arg("flush").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Records until it is told to stop; tells what was acknowledged.
fn record(folder: &SpoolFolder, stop: &AtomicBool) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    let mut random = fastrand::Rng::with_seed(3);
    while !stop.load(Ordering::Relaxed) {
        let mut spool = folder.open(clock::now_ms()).unwrap();
        let drafts = (0..random.u64(1..20)).map(draft).collect();
        let records = spool.record_all("busy", drafts, Reason::Changed).unwrap();
        acknowledged.extend(records.into_iter().map(|record| record.uuid.to_string()));
        spool.close().unwrap();
        thread::sleep(Duration::from_millis(random.u64(..30)));
    }
    acknowledged
}

/// Whether it came to its end in this time.
fn ended_within(flusher: &mut Child, time: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < time {
        if flusher.try_wait().unwrap().is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    flusher.try_wait().unwrap().is_some()
}

#[test]
fn what_was_acknowledged_is_what_arrived() {
    let seconds = how_many("SALVER_TEST_SECONDS", 8) as u64;
    let posthog = PostHog::start();
    let line = FaultProxy::to(posthog.address(), &[]);
    let site = Site::of_sos(SOS);
    site.settings(&format!(
        "flush: {{batchEvents: 50, timeout: 2s, patience: 1s}}\nposthog: {{host: '{}', apiKey: phc_test}}\n",
        line.url()
    ));
    let folder = SpoolFolder { wait: Duration::from_secs(60), ..spool_folder(&site.spool()) };
    folder.open(clock::now_ms()).unwrap().close().unwrap();

    let stop = AtomicBool::new(false);
    let mut random = fastrand::Rng::with_seed(5);
    let (mut kills, mut ends) = (0, 0);
    let acknowledged = thread::scope(|scope| {
        let recorder = scope.spawn(|| record(&folder, &stop));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            let faults: Vec<Fault> = (0..random.usize(..3)).map(|_| any_fault(&mut random)).collect();
            line.fail(&faults);
            let mut flusher = flusher(&site);
            // One that is left alone is so for long enough. On a line that drips it would never catch up with the recorder.
            let most = if random.u8(..4) == 0 { 2_500 } else { random.u64(..600) };
            match ended_within(&mut flusher, Duration::from_millis(most)) {
                true => ends += 1,
                false => kills += 1,
            }
            flusher.kill().unwrap();
            flusher.wait().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        recorder.join().unwrap()
    });
    line.heal();
    while !site.uuids().is_empty() {
        flusher(&site).wait().unwrap();
    }
    let arrived: BTreeSet<String> = posthog.uuids().into_iter().collect();
    let lost = acknowledged.difference(&arrived).count();
    let strange = arrived.difference(&acknowledged).count();
    assert_eq!((lost, strange), (0, 0), "of {} acknowledged", acknowledged.len());
    println!(
        "{} records, {kills} flushers killed, {ends} came to their end; {} requests, {} events arrived again",
        acknowledged.len(),
        posthog.requests(),
        posthog.uuids().len() - arrived.len()
    );
    assert!(kills > 0 && line.connections() > 0 && !acknowledged.is_empty());
}

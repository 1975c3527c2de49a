//! Promise: a line that breaks every request over some size is drained all the same, although each
//! flush ends at its first failures: the next one begins with what got through before. Each record
//! arrives once, whatever happens to the spool in between.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::support::drafts::draft;
use crate::support::folders::spool_folder;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::site::Site;
use salver::clock;
use salver::forward::flush::{self, FlushHooks, FlushReport, FlushTarget};
use salver::forward::plan::FlushLimits;
use salver::forward::transport::{Endpoint, EndpointSettings};
use salver::forward::verdict::FlushOutcome;
use salver::forward::wire::RequestOptions;
use salver::record::Reason;
use salver::secret::Secret;
use salver::spool::{Selector, SpoolError, SpoolFolder};

/// What the line takes: some dozen events.
const NARROW: usize = 2_000;

/// A full batch, which it never takes.
const BATCH: usize = 400;

/// More flushes than it needs.
const MOST: usize = 40;

/// Writes records of an instance; tells their uuids.
fn record(folder: &SpoolFolder, instance: &str, count: u64) -> Vec<String> {
    let mut spool = folder.open(clock::now_ms()).unwrap();
    let drafts = (0..count).map(draft).collect();
    let records = spool.record_all(instance, drafts, Reason::Changed).unwrap();
    spool.close().unwrap();
    records.into_iter().map(|record| record.uuid.to_string()).collect()
}

/// A spool and its line, with the patience of the service: a run ends at the first failure.
struct Impatient {
    _site: Site,
    folder: SpoolFolder,
    endpoint: Endpoint,
}

/// Everybody's records may be sent.
struct Anybody;

impl FlushHooks for Anybody {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        Ok(BTreeSet::new())
    }

    fn progress(&mut self, _: u64) {}
}

impl Impatient {
    fn new(posthog: &PostHog) -> Impatient {
        let site = Site::new();
        let folder = spool_folder(&site.spool());
        let timeout = Duration::from_secs(60);
        let settings = EndpointSettings { host: posthog.url(), proxy: None, ca_file: None, timeout };
        Impatient { _site: site, folder, endpoint: Endpoint::new(&settings).unwrap() }
    }

    fn flush(&self) -> FlushReport {
        let shape = RequestOptions {
            api_key: Secret::new("phc_test"),
            batch_bytes: 8 << 20,
            historical_after: Duration::from_secs(48 * 3600),
            geoip: false,
        };
        let limits = FlushLimits { batch_events: BATCH, patience: Duration::ZERO, records: None };
        let target = FlushTarget { folder: &self.folder, endpoint: &self.endpoint, request: shape, limits };
        flush::run(&target, &mut Anybody).unwrap()
    }

    /// What the spool knows of the line.
    fn learned(&self) -> Option<u64> {
        let spool = self.folder.open(clock::now_ms()).unwrap();
        let learned = spool.link_state().batch_events;
        spool.close().unwrap();
        learned
    }
}

#[test]
fn by_flushes_by_hand_that_are_soon_out_of_patience() {
    let posthog = PostHog::start();
    let site = Site::new();
    let flush = format!("flush: {{batchEvents: {BATCH}, patience: 1s}}\n");
    site.settings(&format!("{flush}posthog: {{host: '{}', apiKey: phc_test}}\n", posthog.url()));
    let written = record(&spool_folder(&site.spool()), "one", BATCH as u64);
    posthog.answer_next(Scripted::Narrow(NARROW));
    // Each has the time for one or two failures, and the way down to what passes is longer.
    let drained = (0..MOST).find(|_| match site.salver().arg("flush").output().unwrap().status.code() {
        Some(0) => true,
        code => {
            assert_eq!(code, Some(4));
            false
        }
    });
    assert!(drained.is_some_and(|failed| failed > 0), "{drained:?} flushes failed");
    assert_eq!(posthog.uuids(), written);
}

#[test]
fn also_when_something_is_purged_or_the_manifest_is_lost_meanwhile() {
    let posthog = PostHog::start();
    let line = Impatient::new(&posthog);
    let (one, two) = (record(&line.folder, "one", 400), record(&line.folder, "two", 400));
    posthog.answer_next(Scripted::Narrow(NARROW));
    let mut failed = 0;
    while line.flush().outcome == FlushOutcome::Unreachable {
        failed += 1;
        assert!(failed < MOST);
        match failed {
            2 => {
                let mut spool = line.folder.open(clock::now_ms()).unwrap();
                assert_eq!(spool.purge(&Selector::of_instance("two")).unwrap().receipt.records, 400);
                spool.close().unwrap();
                assert_eq!(line.learned(), Some(100));
            }
            4 => {
                for slot in ["manifest.0", "manifest.1"] {
                    fs::remove_file(line.folder.path.join(slot)).unwrap();
                }
                assert_eq!(line.learned(), None);
            }
            _ => {}
        }
    }
    assert!(failed > 6, "{failed}");
    assert_eq!(posthog.uuids(), one);
    assert!(!posthog.uuids().iter().any(|uuid| two.contains(uuid)));
}

#[test]
fn and_full_batches_go_out_again_once_it_is_a_good_line() {
    let posthog = PostHog::start();
    let line = Impatient::new(&posthog);
    let written = record(&line.folder, "one", 2_000);
    (0..3).for_each(|_| posthog.answer_next(Scripted::HangUp));
    (0..3).for_each(|_| assert_eq!(line.flush().outcome, FlushOutcome::Unreachable));
    assert_eq!((line.learned(), posthog.requests()), (Some(50), 3));
    assert_eq!(line.flush().outcome, FlushOutcome::Drained);
    let sizes: Vec<usize> =
        posthog.bodies()[3..].iter().map(|body| body["batch"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [50, 50, 50, 50, 50, 50, 50, 50, 100, 200, 400, 400, 400, 100]);
    assert_eq!((line.learned(), posthog.uuids()), (None, written));
}

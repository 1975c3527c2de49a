//! Promise 5: nobody has to wait for a whole flush. Between two batches it gives way to whoever waits for it: a purge erases what
//! was not sent yet, with nothing on the wire, and another flush takes its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::drafts::draft;
use crate::support::folders::spool_folder;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Ended, Service, until};
use crate::support::site::Site;
use crate::support::{err, expect};
use salver::clock;
use salver::record::Reason;
use serde_json::Value as Json;

/// Records in the queue, and in a batch.
const WRITTEN: u64 = 40;
const BATCH: u64 = 10;

/// A flush whose first request waits for its answer.
struct Flushing {
    posthog: PostHog,
    site: Site,
    written: Vec<String>,
    flush: Service,
    answer: Arc<AtomicBool>,
}

impl Flushing {
    fn start() -> Flushing {
        let posthog = PostHog::start();
        let site = Site::new();
        let flush = format!("flush: {{batchEvents: {BATCH}, timeout: 5m}}\n");
        site.settings(&format!("{flush}posthog: {{host: '{}', apiKey: phc_test}}\n", posthog.url()));
        let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
        let mut record = |n| spool.record("one", draft(n), Reason::Changed).unwrap().uuid;
        let written = (0..WRITTEN).map(&mut record).collect();
        spool.close().unwrap();
        let answer = Arc::new(AtomicBool::new(false));
        posthog.answer_next(Scripted::Held(answer.clone()));
        let flush = Service::start(site.salver().args(["flush", "--format", "json"]));
        until("the first request", || posthog.requests() == 1);
        Flushing { posthog, site, written, flush, answer }
    }

    /// Starts a command and waits until it stands in line, then lets the request have its answer.
    fn meet(&mut self, arguments: &[&str]) -> (Json, Ended) {
        let mut other = Service::start(self.site.salver().args(arguments));
        other.wait_for_its_place_in_line(&self.site.spool());
        self.answer.store(true, Ordering::SeqCst);
        let (flush, other) = (self.flush.ended(), other.ended());
        assert_eq!((flush.code, other.code), (Some(0), Some(0)), "{flush:?} {other:?}");
        (report(&flush), other)
    }
}

fn report(ended: &Ended) -> Json {
    serde_json::from_str(&ended.stdout.join("\n")).unwrap()
}

#[test]
fn a_purge_waits_for_the_batch_on_the_wire_and_no_longer() {
    let mut flushing = Flushing::start();
    let (flush, purge) = flushing.meet(&["purge", "--all", "--yes"]);
    assert_eq!((&flush["sent"], &flush["remaining"]), (&BATCH.into(), &0.into()));
    let receipt = purge.stdout.join("\n");
    assert!(receipt.starts_with(&format!("{} records erased", WRITTEN - BATCH)), "{receipt}");
    assert!(!receipt.contains("may have arrived"), "{receipt}");
    assert_eq!(flushing.posthog.uuids(), flushing.written[..BATCH as usize]);
}

#[test]
fn another_flush_sends_its_share_and_each_record_arrives_once_in_order() {
    let mut flushing = Flushing::start();
    let (flush, other) = flushing.meet(&["flush", "--format", "json"]);
    let sent = [&flush, &report(&other)].map(|it| it["sent"].as_u64().unwrap());
    assert_eq!(sent[0] + sent[1], WRITTEN);
    assert!(sent.iter().all(|sent| *sent >= BATCH), "{sent:?}");
    assert_eq!(flushing.posthog.uuids(), flushing.written);
}

#[test]
fn a_flush_that_may_not_wait_so_long_says_what_it_waited_for() {
    let mut flushing = Flushing::start();
    let text = std::fs::read_to_string(flushing.site.path("salver.yaml")).unwrap();
    flushing.site.write("salver.yaml", &text.replacen("spool: {", "spool: {wait: 100ms, ", 1));
    let output = expect(flushing.site.salver().arg("flush"), 5);
    assert!(err(&output).contains("another flush is under way"), "{}", err(&output));
    flushing.answer.store(true, Ordering::SeqCst);
    assert_eq!(flushing.flush.ended().code, Some(0));
    assert_eq!(flushing.posthog.uuids(), flushing.written);
}

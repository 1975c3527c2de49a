//! Promise: what is taken back in the middle of a flush, by consent that is withdrawn, by a purge, or by a config file that is no longer
//! whole, does not go out any more: of that instance nothing is sent after the batch that is on the wire. The others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::drafts::draft;
use crate::support::folders::{files_with, spool_folder};
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Ended, Service, until};
use crate::support::site::{BUTLER, SOS, Site};
use salver::clock;
use salver::record::Reason;
use serde_json::Value as Json;

/// Records in a batch, half of them of each instance.
const BATCH: usize = 4;

/// Records of each instance.
const EACH: u64 = 10;

/// What becomes of the request that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is stored, and answered late.
    Stored,
    /// It is lost, so the same records would be sent again.
    Lost,
}

/// A flush with its first request on the wire.
struct Flushing {
    posthog: PostHog,
    site: Site,
    sos: Vec<String>,
    butler: Vec<String>,
    flush: Service,
    gate: Arc<AtomicBool>,
}

impl Flushing {
    fn start(answer: Answer) -> Flushing {
        let posthog = PostHog::start();
        let site = Site::of_sos(SOS);
        site.write("config/butler.yaml", BUTLER);
        site.settings(&format!(
            "flush: {{batchEvents: {BATCH}, timeout: 5m, patience: 1m}}\nposthog: {{host: '{}', apiKey: phc_test}}\ninstances:\n  \
             - {{name: butler, configFile: config/butler.yaml}}\n  - {{name: sos, configFile: config/sos.yaml}}\n",
            posthog.url()
        ));
        let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
        let mut record =
            |instance, n| spool.record(instance, draft(n), Reason::Changed).unwrap().uuid.to_string();
        let (mut sos, mut butler) = (Vec::new(), Vec::new());
        for n in 0..EACH {
            sos.push(record("sos", n));
            butler.push(record("butler", n));
        }
        spool.close().unwrap();
        let gate = Arc::new(AtomicBool::new(false));
        posthog.answer_next(match answer {
            Answer::Stored => Scripted::Held(gate.clone()),
            Answer::Lost => Scripted::HeldThenLost(gate.clone()),
        });
        let flush = Service::start(site.salver().args(["flush", "--format", "json"]));
        until("the first request", || posthog.requests() == 1);
        Flushing { posthog, site, sos, butler, flush, gate }
    }

    /// Lets the request under way have its end, and the flush too; tells what it reports.
    fn go_on(&mut self) -> Json {
        self.gate.store(true, Ordering::SeqCst);
        report(&self.flush.ended())
    }

    /// The uuids of an instance that arrived.
    fn arrived(&self, instance: &[String]) -> Vec<String> {
        self.posthog.uuids().into_iter().filter(|uuid| instance.contains(uuid)).collect()
    }

    /// Those of Butler SOS that were in the batch on the wire.
    fn on_the_wire(&self, answer: Answer) -> &[String] {
        &self.sos[..if answer == Answer::Stored { BATCH / 2 } else { 0 }]
    }

    /// No uuid of Butler SOS is left in the spool.
    fn assert_gone(&self) {
        for uuid in &self.sos {
            assert!(files_with(&self.site.spool(), uuid.as_bytes()).is_empty(), "{uuid}");
        }
    }
}

fn report(ended: &Ended) -> Json {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout.join("\n")).unwrap()
}

#[test]
fn by_consent_that_is_withdrawn() {
    for answer in [Answer::Stored, Answer::Lost] {
        let mut flushing = Flushing::start(answer);
        let withdrawn = SOS.replace("anonTelemetry: true", "anonTelemetry: false");
        flushing.site.write("config/sos.yaml", &withdrawn);
        let report = flushing.go_on();
        assert_eq!((&report["outcome"], &report["remaining"]), (&"drained".into(), &0.into()), "{answer:?}");
        assert_eq!(flushing.arrived(&flushing.sos), flushing.on_the_wire(answer), "{answer:?}");
        assert_eq!(flushing.arrived(&flushing.butler), flushing.butler, "{answer:?}");
        flushing.assert_gone();
    }
}

#[test]
fn by_a_purge_of_one_instance() {
    for answer in [Answer::Stored, Answer::Lost] {
        let mut flushing = Flushing::start(answer);
        let mut purge = Service::start(flushing.site.salver().args(["purge", "--instance", "sos", "--yes"]));
        purge.wait_for_its_place_in_line(&flushing.site.spool());
        let report = flushing.go_on();
        let purge = purge.ended();
        assert_eq!(purge.code, Some(0), "{purge:?}");
        let erased = flushing.sos.len() - flushing.on_the_wire(answer).len();
        let receipt = purge.stdout.join("\n");
        assert!(receipt.starts_with(&format!("{erased} records erased")), "{answer:?}: {receipt}");
        assert_eq!((&report["outcome"], &report["remaining"]), (&"drained".into(), &0.into()), "{answer:?}");
        assert_eq!(flushing.arrived(&flushing.sos), flushing.on_the_wire(answer), "{answer:?}");
        assert_eq!(flushing.arrived(&flushing.butler), flushing.butler, "{answer:?}");
        flushing.assert_gone();
    }
}

#[test]
fn by_a_config_file_that_is_cut_off_until_it_is_whole_again() {
    for answer in [Answer::Stored, Answer::Lost] {
        let mut flushing = Flushing::start(answer);
        flushing.site.write("config/sos.yaml", "");
        let report = flushing.go_on();
        let sent = flushing.on_the_wire(answer).len();
        assert_eq!(report["remaining"], flushing.sos.len() - sent, "{answer:?}");
        assert_eq!(flushing.arrived(&flushing.sos), flushing.sos[..sent], "{answer:?}");
        assert_eq!(flushing.arrived(&flushing.butler), flushing.butler, "{answer:?}");
        flushing.site.write("config/sos.yaml", SOS);
        crate::support::two_instances::flushed(&flushing.site, 0, &[]);
        assert_eq!(flushing.arrived(&flushing.sos), flushing.sos, "{answer:?}");
    }
}

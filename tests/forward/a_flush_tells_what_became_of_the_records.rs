//! Promise: `flush` and `status` say what was delivered, what is left and why, and when it is tried again.

use std::sync::Arc;

use crate::support::drafts::draft;
use crate::support::folders::{files_with, spool_folder};
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Service, until};
use crate::support::site::{SOS, Site};
use crate::support::tcp_server::UNREACHABLE;
use crate::support::two_instances::flushed;
use crate::support::{err, expect, out};
use salver::clock;
use salver::record::BatchOutcome;
use salver::record::Reason;
use serde_json::{Value as Json, json};

const DAY: i64 = 24 * 3600 * 1000;

/// A site whose settings lead to this host.
fn site(host: &str, flush: &str) -> Site {
    let site = Site::of_sos(SOS);
    lead_to(&site, host, flush);
    site
}

fn lead_to(site: &Site, host: &str, flush: &str) {
    site.settings(&format!(
        "flush: {{{flush}}}\nposthog: {{host: '{host}', apiKey: phc_test}}\n\
         instances: [{{name: sos, configFile: config/sos.yaml}}]\n"
    ));
}

/// Writes records, stamped at another time than now.
fn record(site: &Site, instance: &str, count: u64, shift_ms: i64) {
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms() + shift_ms).unwrap();
    spool.record_all(instance, (0..count).map(draft).collect(), Reason::Changed).unwrap();
    spool.close().unwrap();
}

/// The text of a flush and of the status after it: what it prints, what it says beside it, and the status.
fn told(site: &Site, code: i32) -> [String; 3] {
    let flush = expect(site.salver().arg("flush"), code);
    [out(&flush), err(&flush), out(&expect(site.salver().arg("status"), 0))]
}

#[test]
fn why_nothing_arrived_and_that_the_next_try_is_by_hand_or_by_the_service_at_a_time() {
    let site = site(UNREACHABLE, "patience: 1s");
    record(&site, "one", 3, 0);
    let [flush, beside, status] = told(&site, 4);
    assert!(flush.starts_with("unreachable: 0 records delivered in "), "{flush}");
    assert!(flush.ends_with(" requests of 0 bytes, 3 waiting\n"), "what nobody took was not sent: {flush}");
    for said in [&beside, &status] {
        assert!(said.contains("the connection was refused; check the network"), "{said}");
        assert!(said.contains("by hand") || said.contains("by the next `salver flush`"), "{said}");
    }
    let report = flushed(&site, 4, &[]);
    assert!(report["why"].as_str().unwrap().contains("refused"), "{report}");
    assert_eq!((&report["nextAttempt"], &site.status()["flush"]["nextAttempt"]), (&Json::Null, &Json::Null));

    lead_to(&site, UNREACHABLE, "patience: 1s, mode: auto");
    let report = flushed(&site, 4, &[]);
    let next = report["nextAttempt"].as_str().unwrap();
    assert_eq!(site.status()["flush"]["nextAttempt"], next);
    let [_, beside, status] = told(&site, 4);
    assert!(beside.contains("the service tries again at 20"), "{beside}");
    assert!(status.contains("next       at 20") && status.contains("by the service"), "{status}");

    let posthog = PostHog::start();
    lead_to(&site, &posthog.url(), "mode: auto");
    let limited = expect(site.salver().args(["flush", "--limit", "1"]), 0);
    assert!(err(&limited).contains("the service sends the next records within 15m"), "{}", err(&limited));
    let [flush, beside, status] = told(&site, 0);
    assert_eq!(flush.split(" in ").next().unwrap(), "drained: 2 records delivered");
    assert_eq!(beside, "", "nothing is left to speak of");
    assert!(!status.contains("refused") && !status.contains("\nnext "), "{status}");
    assert_eq!(site.status()["flush"]["why"], Json::Null);
}

#[test]
fn what_is_held_stamped_in_the_future_or_set_apart_is_named_apart() {
    let posthog = PostHog::start();
    let site = site(&posthog.url(), "");
    record(&site, "one", 2, 0);
    record(&site, "sos", 1, 0);
    record(&site, "one", 1, 2 * DAY);
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
    let first = spool.next_batch(1, &["sos".to_owned()].into()).unwrap().remove(0);
    spool.acknowledge(&[first], &BatchOutcome::DeadLettered { words: "400: because".into() }).unwrap();
    spool.close().unwrap();
    site.write("config/sos.yaml", "");

    let [flush, beside, status] = told(&site, 0);
    assert!(flush.starts_with("drained: 1 records delivered in 1 requests of "), "{flush}");
    assert!(flush.ends_with(", 2 waiting\n"), "{flush}");
    assert!(beside.contains("the records of sos are held"), "{beside}");
    assert!(beside.contains("1 of them were stamped in the future"), "{beside}");
    assert!(beside.contains("1 dead letters wait apart"), "{beside}");
    assert!(
        status.contains("2 records, 1 dead letters") && status.contains("ahead      1 of them"),
        "{status}"
    );
    let report = flushed(&site, 0, &[]);
    let apart = ["remaining", "held", "ahead", "dead", "outcome"].map(|key| report[key].clone());
    assert_eq!(apart, [json!(2), json!(["sos"]), json!(1), json!(1), json!("empty")]);
    // Nothing is said where nobody wants to hear it.
    let quiet = expect(site.salver().args(["--quiet", "flush"]), 0);
    assert_eq!(err(&quiet), "");
}

#[test]
fn a_request_that_is_not_answered_yet_is_not_taken_for_the_end_of_a_flush() {
    let posthog = PostHog::start();
    let site = site(&posthog.url(), "");
    record(&site, "one", 1, 0);
    flushed(&site, 0, &[]);
    let status = || out(&expect(site.salver().arg("status"), 0));
    assert!(status().contains("last       drained at 20"), "{}", status());
    record(&site, "one", 2, 0);
    posthog.answer_next(Scripted::Held(Arc::default()));
    let flush = Service::start(site.salver().arg("flush"));
    until("the request", || posthog.requests() == 2);
    let under_way = "sent       2 records without an answer";
    assert!(status().contains(under_way) && status().contains("last       drained; last try at 20"));
    assert_eq!(site.status()["flush"]["onTheWire"], 2);
    flush.kill();
    assert!(status().contains(under_way), "{}", status());
    // An answer that was lost leaves it as open as a flush that died.
    (0..20).for_each(|_| posthog.answer_next(Scripted::HangUp));
    lead_to(&site, &posthog.url(), "patience: 1s");
    flushed(&site, 4, &[]);
    let told = status();
    assert!(
        told.contains(" records without an answer") && told.contains("last       unreachable; last try"),
        "{told}"
    );
    let posthog = PostHog::start();
    lead_to(&site, &posthog.url(), "");
    flushed(&site, 0, &[]);
    assert!(status().contains("last       drained at 20"), "{}", status());
}

#[test]
fn a_servers_words_are_told_and_not_kept() {
    let posthog = PostHog::start();
    let site = site(&posthog.url(), "patience: 1s");
    record(&site, "one", 1, 0);
    posthog.answer_next(Scripted::Status(401, "words of the server"));
    let [_, beside, status] = told(&site, 4);
    assert!(beside.contains("posthog.apiKey") && beside.contains("words of the server"), "{beside}");
    assert!(status.contains("posthog.apiKey"), "{status}");
    // A purge erases records and dead letters; what a server said of them must not lie elsewhere.
    assert_eq!(files_with(&site.spool(), b"words of the server"), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_long_flush_without_a_terminal_tells_its_progress_in_a_few_lines() {
    let posthog = PostHog::start();
    let site = site(&posthog.url(), "batchEvents: 3");
    record(&site, "one", 100, 0);
    let lines = |arguments: &[&str]| {
        let output = expect(site.salver().args(arguments), 0);
        let said = err(&output).lines().filter(|line| line.contains(" records delivered")).count();
        (said, posthog.requests())
    };
    assert_eq!(lines(&["--quiet", "flush", "--limit", "9"]), (0, 3));
    assert_eq!(lines(&["flush", "--format", "json", "--limit", "1"]), (0, 4));
    assert_eq!(lines(&["flush"]), (9, 34));
}

#[test]
fn the_service_logs_once_why_nothing_arrives() {
    let posthog = PostHog::start();
    let site = site(&posthog.url(), "every: 1s");
    record(&site, "one", 1, 0);
    (0..2).for_each(|_| posthog.answer_next(Scripted::Status(503, "busy")));
    let mut service = Service::start(site.salver().args(["run", "--flush", "auto"]));
    service
        .wait_for("a delivery", |service| service.stderr().iter().any(|line| line.contains("delivered rec")));
    let said = service.stop().stderr;
    let why: Vec<&String> = said.iter().filter(|line| line.contains("not delivered")).collect();
    assert!(why.len() == 1 && why[0].contains("out of order (503)"), "{said:#?}");
}

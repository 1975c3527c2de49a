//! Promise 4, for single answers: after each of them the records that it did not take wait as they
//! were, and `flush` names the cause.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::forwarding::{KEY, lead_to, record_fast, site};
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::Service;
use crate::support::site::{SOS, Site};
use crate::support::tcp_server::UNREACHABLE;
use crate::support::two_instances::{flushed, record};
use crate::support::{err, expect, json as stdout_json, out};

#[test]
fn after_a_503_the_same_request_goes_out_again() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    record(&site, 1);
    let written = site.uuids();
    posthog.answer_next(Scripted::Status(503, "transient error, please retry"));
    let report = flushed(&site, 0, &[]);
    assert_eq!((&report["outcome"], &report["batches"]), (&json!("drained"), &json!(2)));
    let bodies = posthog.bodies();
    assert_eq!(bodies[0], bodies[1], "to the byte");
    assert_eq!(posthog.uuids(), written);
    assert!(site.dump().is_empty());
}

#[test]
fn a_flush_by_hand_bears_no_silence_longer_than_its_patience() {
    let posthog = PostHog::start();
    let site = site(&posthog, "timeout: 5m, patience: 1s");
    let written = record_fast(&site, 10);
    // Hanging up would be told from silence, if it ever came to that.
    posthog.answer_next(Scripted::Stall(Duration::from_secs(20)));
    let output = expect(site.salver().arg("flush"), 4);
    assert!(err(&output).contains("flush.patience"), "{}", err(&output));
    assert_eq!((posthog.events().len(), site.uuids()), (0, written.clone()));
    flushed(&site, 0, &[]);
    assert_eq!(posthog.uuids(), written);
}

#[test]
fn after_a_lost_answer_the_same_events_arrive_again_and_leave_the_queue_then() {
    for lost in [Scripted::StoreThenHangUp, Scripted::Truncated] {
        let posthog = PostHog::start();
        let site = site(&posthog, "");
        record(&site, 2);
        let mut written = site.uuids();
        posthog.answer_next(lost.clone());
        flushed(&site, 0, &[]);
        assert!(site.dump().is_empty(), "{lost:?}");
        // Equal in everything, so that PostHog makes one of the two.
        let mut copies: HashMap<String, Vec<Json>> = HashMap::new();
        for event in posthog.events() {
            copies.entry(event["uuid"].as_str().unwrap().to_owned()).or_default().push(event);
        }
        assert!(copies.values().all(|events| events.len() == 2 && events[0] == events[1]), "{lost:?}");
        let mut arrived: Vec<String> = copies.into_keys().collect();
        arrived.sort();
        written.sort();
        assert_eq!(arrived, written);
    }
}

#[test]
fn a_login_page_is_no_acceptance() {
    let posthog = PostHog::start();
    let site = site(&posthog, "patience: 1s");
    record(&site, 1);
    let written = site.uuids();
    (0..100).for_each(|_| posthog.answer_next(Scripted::Html));
    assert_eq!(flushed(&site, 4, &[])["outcome"], "unreachable");
    assert_eq!((site.uuids(), posthog.uuids()), (written, vec![]));
    assert_eq!(site.status()["flush"]["lastOutcome"], "unreachable");
}

#[test]
fn a_refused_key_keeps_everything_and_names_the_setting() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    record(&site, 1);
    let written = site.uuids();
    posthog.answer_next(Scripted::Status(401, "API key is not valid: personal_api_key"));
    let output = expect(site.salver().arg("flush"), 4);
    assert!(err(&output).contains("posthog.apiKey"), "{}", err(&output));
    assert!(out(&output).starts_with("refused: 0 records delivered"), "{}", out(&output));
    assert_eq!((site.uuids(), posthog.requests()), (written, 1));
}

#[test]
fn a_poison_record_is_set_apart_with_the_servers_words_and_can_be_tried_again() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    let written = record_fast(&site, 20);
    let poison = &written[13];
    posthog.answer_next(Scripted::Poison(poison.clone()));
    let report = flushed(&site, 0, &[]);
    assert_eq!(
        (&report["sent"], &report["deadLettered"], &report["remaining"]),
        (&json!(19), &json!(1), &json!(0))
    );
    let others: Vec<String> = written.iter().filter(|uuid| *uuid != poison).cloned().collect();
    assert_eq!(posthog.uuids(), others, "all others, once and in order");

    let dump = |state: &str| {
        let arguments = ["dump", "--state", state, "--format", "ndjson"];
        out(&expect(site.salver().args(arguments), 0))
    };
    assert_eq!(dump("queued"), "");
    let dead: Json = serde_json::from_str(&dump("dead")).unwrap();
    assert_eq!((&dead["spool"]["uuid"], &dead["spool"]["state"]), (&json!(poison), &json!("dead")));
    assert!(dead["spool"]["words"].as_str().unwrap().contains("poison"), "{dead}");
    assert_eq!(flushed(&site, 0, &[])["outcome"], "empty", "a dead letter is not sent by itself");

    let mended = PostHog::start();
    lead_to(&site, &mended.url(), "");
    expect(site.salver().args(["flush", "--retry-dead"]), 0);
    assert_eq!(mended.uuids(), [poison.as_str()]);
    assert!(site.dump().is_empty());
}

#[test]
fn a_host_that_cannot_be_reached_keeps_everything() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    record(&site, 1);
    let written = site.uuids();
    lead_to(&site, UNREACHABLE, "patience: 1s");
    let output = expect(site.salver().args(["flush", "--format", "json"]), 4);
    assert_eq!(stdout_json(&output)["outcome"], "unreachable");
    assert!(
        err(&output).contains("cannot be reached") || err(&output).contains("can't be reached"),
        "{}",
        err(&output)
    );
    assert_eq!(site.uuids(), written);
    lead_to(&site, &posthog.url(), "");
    flushed(&site, 0, &[]);
    assert_eq!(posthog.uuids(), written);
}

#[test]
fn without_a_host_and_a_key_nothing_is_sent() {
    let site = Site::of_sos(SOS);
    let posthog = PostHog::start();
    for missing in ["host", "apiKey"] {
        let has =
            if missing == "host" { format!("apiKey: {KEY}") } else { format!("host: '{}'", posthog.url()) };
        site.settings(&format!(
            "posthog: {{{has}}}\ninstances: [{{name: sos, configFile: config/sos.yaml}}]\n"
        ));
        expect(site.salver().args(["record", "--force"]), 0);
        let output = expect(site.salver().arg("flush"), 2);
        assert!(err(&output).contains(&format!("posthog.{missing}")), "{}", err(&output));
        let service = Service::start(site.salver().args(["run", "--flush", "auto"])).ended();
        assert_eq!(service.code, Some(2), "{service:?}");
    }
    assert_eq!((posthog.connections(), site.uuids().len()), (0, 2));
}

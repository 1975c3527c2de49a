//! Promise 4, at least once on the wire and once in PostHog: whatever the line and the server do,
//! each record arrives, none is lost and none changes between two attempts.

use std::collections::BTreeSet;
use std::time::Duration;

use salver::forward::wire::{self, RequestOptions};
use salver::record::{Reason, Record};
use salver::secret::Secret;
use salver::spool::Queued;
use serde_json::{Value as Json, json};

use crate::support::drafts::draft;
use crate::support::forwarding::{KEY, record_fast, site};
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Service, until};
use crate::support::site::{SOS, SWITCHES, flip};
use crate::support::two_instances::{flushed, record};
use crate::support::{expect, json as stdout_json, out};

fn batch(body: &Json) -> Vec<String> {
    body["batch"].as_array().unwrap().iter().map(|event| event["uuid"].as_str().unwrap().to_owned()).collect()
}

// The event ---------------------------------------------------------------------------------------

#[test]
fn a_record_arrives_as_the_event_that_it_was_when_it_was_written() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    record(&site, 1);
    let records = site.dump();
    flushed(&site, 0, &[]);
    let events = posthog.events();
    assert_eq!(events.len(), records.len());
    for (event, record) in events.iter().zip(&records) {
        let (data, system) = (&record["data"], &record["data"]["system"]);
        let keys: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["distinct_id", "event", "properties", "timestamp", "uuid"]));
        assert_eq!(event["event"], "telemetry sent");
        assert_eq!(event["distinct_id"], system["id"]);
        assert_eq!(event["uuid"], record["spool"]["uuid"]);
        assert_eq!(event["timestamp"], record["ts"]);
        let properties = &event["properties"];
        assert_eq!(properties["service"], data["service"]);
        assert_eq!(properties["serviceVersion"], data["serviceVersion"]);
        for (key, value) in system.as_object().unwrap() {
            assert_eq!(&properties[format!("system_{key}")], value, "{key}");
        }
        let nested = json!({ "system": system, "enabledFeatures": data["enabledFeatures"] });
        assert_eq!(properties["telemetry_json"], nested);
        assert_eq!(properties["feature_mqtt"], false);
        assert_eq!(properties["$lib"], "salver");
        assert_eq!(properties["$lib_version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(properties["$geoip_disable"], true);
        assert_eq!(properties.get("$ip"), Some(&Json::Null));
        assert_eq!(properties["salver_reason"], record["spool"]["reason"]);
        assert_eq!(properties["salver_recordedAt"], record["ts"]);
        assert_eq!(properties["salver_agentVersion"], env!("CARGO_PKG_VERSION"));
    }
    let body = &posthog.bodies()[0];
    let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["api_key", "batch"], "no sent_at, and fresh records are not historical");
    assert_eq!(body["api_key"], KEY);
    assert_eq!(posthog.headers("content-encoding"), ["gzip"]);
}

#[test]
fn all_records_arrive_once_in_the_order_of_writing_and_no_id_repeats_a_time() {
    let posthog = PostHog::start();
    let site = site(&posthog, "batchEvents: 30");
    let written = record_fast(&site, 100);
    let report = flushed(&site, 0, &[]);
    assert_eq!(posthog.uuids(), written);
    let times: BTreeSet<String> =
        posthog.events().iter().map(|event| event["timestamp"].to_string()).collect();
    assert_eq!(times.len(), written.len(), "one id, two instances, and as fast as it goes");
    assert_eq!(
        report,
        json!({ "sent": 100, "batches": 4, "wireBytes": posthog.wire_bytes(), "deadLettered": 0, "remaining": 0, "outcome": "drained",
            "why": null, "nextAttempt": null, "held": [], "ahead": 0, "dead": 0 })
    );
    assert!(site.dump().is_empty());
    let again = flushed(&site, 0, &[]);
    assert_eq!((&again["outcome"], &again["batches"]), (&json!("empty"), &json!(0)));
    assert_eq!(posthog.requests(), 4, "an empty queue makes no request");
}

#[test]
fn a_limit_and_a_dry_run_are_kept_to_the_letter() {
    let posthog = PostHog::start();
    let site = site(&posthog, "batchEvents: 2");
    let written = record_fast(&site, 6);
    let shown = out(&expect(site.salver().args(["flush", "--dry-run"]), 0));
    assert_eq!((posthog.connections(), site.uuids().len()), (0, 6));
    assert!(!shown.contains(KEY), "{shown}");
    let report = stdout_json(&expect(site.salver().args(["flush", "--limit", "3", "--format", "json"]), 0));
    assert_eq!((&report["outcome"], &report["remaining"]), (&json!("limit"), &json!(3)));
    assert_eq!((posthog.uuids(), site.uuids()), (written[..3].to_vec(), written[3..].to_vec()));
    flushed(&site, 0, &[]);
    assert_eq!(posthog.uuids(), written);
    let planned: Vec<Json> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(planned.iter().flat_map(batch).collect::<Vec<_>>(), written, "it sends what it showed");
}

#[test]
fn a_limit_that_leaves_nothing_to_send_is_told_from_one_that_leaves_some() {
    for (limit, sent, outcome) in
        [("0", 0, "limit"), ("3", 3, "limit"), ("4", 4, "drained"), ("5", 4, "drained")]
    {
        let posthog = PostHog::start();
        let site = site(&posthog, "");
        let written = record_fast(&site, 4);
        // One more that may not be sent now: its config file is no longer whole.
        expect(site.salver().args(["record", "sos"]), 0);
        site.write("config/sos.yaml", "");
        let report = flushed(&site, 0, &["--limit", limit]);
        let told = ["outcome", "sent", "remaining"].map(|key| report[key].clone());
        assert_eq!(told, [json!(outcome), json!(sent), json!(5 - sent)], "{limit}");
        assert_eq!(posthog.uuids(), written[..sent]);
        if outcome == "drained" {
            assert_eq!(flushed(&site, 0, &["--limit", "0"])["outcome"], "empty");
        }
    }
}

#[test]
fn old_and_fresh_records_never_share_a_request() {
    const HOUR: i64 = 3_600_000;
    let now_ms = 1_800_000_000_000;
    let queued = |(seq, hours): (u64, i64)| Queued {
        seq,
        record: Record {
            uuid: format!("{seq}"),
            timestamp_ms: now_ms - hours * HOUR,
            instance: "sos".into(),
            reason: Reason::Changed,
            agent_version: "0.1.0".into(),
            draft: draft(seq),
        },
        attempts: 0,
        dead: None,
    };
    let ages = [(1, 900), (2, 49), (3, 47), (4, 1), (5, 300), (6, 0)];
    let queue: Vec<Queued> = ages.into_iter().map(queued).collect();
    let shape = RequestOptions {
        api_key: Secret::new(KEY),
        batch_bytes: 8 << 20,
        historical_after: Duration::from_secs(48 * 3600),
        geoip: false,
    };
    let mut requests = Vec::new();
    let mut rest = queue.as_slice();
    while !rest.is_empty() {
        let mut body = Vec::new();
        let events =
            wire::write(rest.iter().map(|queued| &queued.record), &shape, now_ms, &mut body).unwrap();
        rest = &rest[events..];
        let body: Json = serde_json::from_slice(&body).unwrap();
        requests.push((body.get("historical_migration").cloned(), batch(&body).concat()));
    }
    let (old, fresh) = (Some(json!(true)), None);
    let expected = [(old.clone(), "12"), (fresh.clone(), "34"), (old, "5"), (fresh, "6")];
    assert_eq!(requests, expected.map(|(flag, uuids)| (flag, uuids.to_owned())));
}

// Several at once ---------------------------------------------------------------------------------

#[test]
fn two_flushes_at_once_send_each_record_once() {
    let posthog = PostHog::start();
    let site = site(&posthog, "batchEvents: 20");
    let written = record_fast(&site, 100);
    let start = || Service::start(site.salver().args(["flush", "--format", "json"]));
    let sent = [start(), start()].map(|mut flush| {
        let ended = flush.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report: Json = serde_json::from_str(&ended.stdout.join("\n")).unwrap();
        report["sent"].as_u64().unwrap()
    });
    assert_eq!(sent[0] + sent[1], 100);
    assert_eq!(posthog.uuids(), written);
}

#[test]
fn a_flush_by_hand_works_while_the_service_records() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    let mut service = Service::start(site.salver().arg("run"));
    service.wait_for_records(2);
    let mut config = SOS.to_owned();
    for (edit, (block, _)) in SWITCHES[..5].iter().enumerate() {
        config = flip(&config, block);
        site.replace("config/sos.yaml", &config);
        service.wait_for_records(3 + edit);
        flushed(&site, 0, &[]);
    }
    let recorded = service.stop().recorded();
    assert_eq!(recorded.len(), 7);
    assert_eq!(posthog.uuids(), recorded);
    assert!(site.dump().is_empty());
}

#[test]
fn the_service_delivers_by_itself_and_stops_in_the_middle_of_a_request() {
    let posthog = PostHog::start();
    let site = site(&posthog, "every: 1s");
    let run = || Service::start(site.salver().args(["run", "--flush", "auto"]));
    let mut service = run();
    until("the first two records", || posthog.uuids().len() == 2);
    let config = flip(SOS, "heartbeat");
    site.replace("config/sos.yaml", &config);
    until("the third record", || posthog.uuids().len() == 3);

    posthog.answer_next(Scripted::Stall(Duration::from_secs(3600)));
    let before = posthog.requests();
    site.replace("config/sos.yaml", &flip(&config, "prometheus"));
    service.wait_for("a request", |_| posthog.requests() > before);
    // It would wait for an hour.
    let ended = service.stop();
    if cfg!(unix) {
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let recorded = ended.recorded();
    assert_eq!(recorded.len(), 4);
    assert_eq!(site.uuids(), recorded[3..], "what was on the way is kept");

    let service = run();
    until("the fourth record", || posthog.uuids().len() == 4);
    until("an empty queue", || site.dump().is_empty());
    service.stop();
    assert_eq!(posthog.uuids(), recorded, "each once");
}

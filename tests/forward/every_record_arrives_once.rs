//! Promise 4, at least once on the wire and once in PostHog: whatever the line and the server do, each record arrives, none is
//! lost and none changes between two attempts.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use salver::clock;
use salver::forward::wire::{self, RequestOptions};
use salver::record::{Reason, Record};
use salver::secret::Secret;
use salver::spool::Queued;
use serde_json::{Value as Json, json};

use crate::support::drafts::draft;
use crate::support::folders::spool_folder;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Service, until};
use crate::support::site::{BUTLER, SOS, SWITCHES, Site, flip};
use crate::support::tcp_server::UNREACHABLE;
use crate::support::two_instances::{flushed, record};
use crate::support::{err, expect, json as stdout_json, out};

const KEY: &str = "phc_test";

/// A site with a Butler and a Butler SOS, whose settings lead to this server. `flush` are further settings of that section.
fn site(posthog: &PostHog, flush: &str) -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    lead_to(&site, &posthog.url(), flush);
    site
}

fn lead_to(site: &Site, url: &str, flush: &str) {
    site.settings(&format!(
        "watch: {{settle: 50ms}}\nflush: {{{flush}}}\nposthog: {{host: '{url}', apiKey: {KEY}}}\ninstances:\n  \
         - {{name: butler, configFile: config/butler.yaml}}\n  - {{name: sos, configFile: config/sos.yaml}}\n"
    ));
}

/// Writes so many records of two instances with one id, as fast as it goes; tells their uuids.
fn record_fast(site: &Site, count: u64) -> Vec<String> {
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
    let mut record =
        |n: u64| spool.record(&format!("instance-{}", n % 2), draft(n), Reason::Changed).unwrap().uuid;
    let uuids = (0..count).map(&mut record).collect();
    spool.close().unwrap();
    uuids
}

/// Flushes; panics if the exit code is another.
fn flush(site: &Site, code: i32) -> Json {
    stdout_json(&expect(site.salver().args(["flush", "--format", "json"]), code))
}

fn batch(body: &Json) -> Vec<String> {
    body["batch"].as_array().unwrap().iter().map(|event| event["uuid"].as_str().unwrap().to_owned()).collect()
}

// The event ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_record_arrives_as_the_event_that_it_was_when_it_was_written() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    record(&site, 1);
    let records = site.dump();
    flush(&site, 0);
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
    let report = flush(&site, 0);
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
    let again = flush(&site, 0);
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
    flush(&site, 0);
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

// Answers -----------------------------------------------------------------------------------------------------------------

#[test]
fn after_a_503_the_same_request_goes_out_again() {
    let posthog = PostHog::start();
    let site = site(&posthog, "");
    record(&site, 1);
    let written = site.uuids();
    posthog.answer_next(Scripted::Status(503, "transient error, please retry"));
    let report = flush(&site, 0);
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
    flush(&site, 0);
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
        flush(&site, 0);
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
    assert_eq!(flush(&site, 4)["outcome"], "unreachable");
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
    let report = flush(&site, 0);
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
    assert_eq!(flush(&site, 0)["outcome"], "empty", "a dead letter is not sent by itself");

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
    flush(&site, 0);
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

// Several at once ---------------------------------------------------------------------------------------------------------

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
        flush(&site, 0);
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
    // An hour's wait is ahead of it, and nobody has that much time.
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

//! Promise: `flush --dry-run` and `preview --as request` show the bytes that go out, every one of them, and the project key only to
//! those who ask for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::drafts::draft;
use crate::support::folders::spool_folder;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::{Service, until};
use crate::support::site::{SOS, Site};
use crate::support::two_instances::flushed;
use crate::support::{err, expect, out};
use salver::clock;
use salver::record::Reason;
use serde_json::Value as Json;

const KEY: &str = "phc_shown_to_those_who_ask";
const DAY: i64 = 24 * 3600 * 1000;

fn site(posthog: &PostHog) -> Site {
    let site = Site::of_sos(SOS);
    site.settings(&format!(
        "flush: {{batchEvents: 40, batchBytes: 64 KiB}}\nposthog: {{host: '{}', apiKey: {KEY}}}\n\
         instances: [{{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}]\n",
        posthog.url()
    ));
    site
}

/// Writes records that are so old.
fn record(site: &Site, instance: &str, count: u64, age_ms: i64) {
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms() - age_ms).unwrap();
    spool.record_all(instance, (0..count).map(draft).collect(), Reason::Changed).unwrap();
    spool.close().unwrap();
}

/// The bodies that a dry run shows.
fn shown(site: &Site, arguments: &[&str]) -> Vec<String> {
    let output = expect(site.salver().args(["flush", "--dry-run"]).args(arguments), 0);
    assert_eq!(out(&output).contains(KEY), arguments.contains(&"--reveal"));
    assert!(!err(&output).contains(KEY));
    out(&output).lines().map(str::to_owned).collect()
}

#[test]
fn a_dry_run_shows_the_bodies_of_the_flush_after_it() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    // Old ones and fresh ones, more than a batch of each, and one whose config file is not whole any more.
    record(&site, "one", 60, 10 * DAY);
    record(&site, "sos", 1, 0);
    record(&site, "one", 100, 0);
    site.write("config/sos.yaml", "");

    let limited = shown(&site, &["--reveal", "--limit", "70"]);
    let all = shown(&site, &["--reveal"]);
    let hidden = shown(&site, &[]);
    assert_eq!(posthog.connections(), 0);
    assert_eq!(hidden, all.iter().map(|body| body.replace(KEY, "***")).collect::<Vec<_>>());

    flushed(&site, 0, &["--limit", "70"]);
    assert_eq!(posthog.raw_bodies(), limited);
    let rest = shown(&site, &["--reveal"]);
    flushed(&site, 0, &[]);
    assert_eq!(posthog.raw_bodies(), [limited.clone(), rest].concat());
    // That it is worth comparing.
    let flags: Vec<bool> = all.iter().map(|body| body.contains("historical_migration")).collect();
    assert_eq!(flags, [true, true, false, false, false]);
    assert_eq!((all.len(), limited.len()), (5, 3));
}

#[test]
fn also_of_what_is_sent_once_more_and_on_a_weak_line() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    record(&site, "one", 100, 0);
    // A flush that dies with three records on the wire.
    let gate = Arc::new(AtomicBool::new(false));
    posthog.answer_next(Scripted::Held(gate));
    let flush = Service::start(site.salver().args(["flush", "--limit", "3"]));
    until("the request", || posthog.requests() == 1);
    flush.kill();
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
    let mut line = spool.link_state().clone();
    line.batch_events = Some(7);
    spool.put_link_state(line);
    spool.close().unwrap();

    let all = shown(&site, &["--reveal"]);
    flushed(&site, 0, &[]);
    assert_eq!(posthog.raw_bodies()[1..], all);
    assert_eq!(posthog.raw_bodies()[0], all[0], "the same three once more");
    let events = |body: &String| body.matches("distinct_id").count();
    assert_eq!(all.iter().map(events).take(9).collect::<Vec<_>>(), [3, 7, 7, 7, 7, 7, 7, 7, 14]);
}

#[test]
fn a_preview_shows_the_request_of_the_record_to_come() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    let preview = |arguments: &[&str]| {
        let output = expect(site.salver().args(["preview", "sos", "--as", "request"]).args(arguments), 0);
        out(&output).trim_end().to_owned()
    };
    let (hidden, revealed) = (preview(&[]), preview(&["--reveal"]));
    assert!(!hidden.contains(KEY) && hidden.contains("***") && revealed.contains(KEY));
    expect(site.salver().args(["record", "sos", "--force"]), 0);
    flushed(&site, 0, &[]);
    // Only what every record has of its own differs: its name, its time, and why it was written.
    let text = |event: &Json, key: &str| match key.strip_prefix("properties.") {
        Some(key) => event["properties"][key].as_str().unwrap().to_owned(),
        None => event[key].as_str().unwrap().to_owned(),
    };
    let sent = posthog.raw_bodies().remove(0);
    let event = |body: &str| serde_json::from_str::<Json>(body).unwrap()["batch"][0].clone();
    let mut told = revealed.clone();
    for key in ["uuid", "timestamp", "properties.salver_reason"] {
        let (before, after) = (text(&event(&revealed), key), text(&event(&sent), key));
        told = told.replace(&format!("\"{before}\""), &format!("\"{after}\""));
    }
    assert_eq!(told, sent);
}

#[test]
fn the_key_is_shown_in_a_dry_run_only() {
    let posthog = PostHog::start();
    let output = expect(site(&posthog).salver().args(["flush", "--reveal"]), 2);
    assert!(err(&output).contains("--dry-run"), "{}", err(&output));
    assert_eq!(posthog.connections(), 0);
}

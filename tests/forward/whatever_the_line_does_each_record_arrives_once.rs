//! Promise 4 on every bad line there is: 2,000 records wait, the line fails in one way, then it heals. Every record arrives, none is
//! missing, and at most one batch arrives twice for each answer that was lost. PostHog tells those by their uuids.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;

use salver::clock;
use salver::record::Reason;
use serde_json::Value as Json;

use crate::support::drafts::draft;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::folders::spool_folder;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::site::{BUTLER, SOS, Site};
use crate::support::tls::{Certificate, Tls, can_trust_a_ca_file};
use crate::support::{err, json, out};

const RECORDS: u64 = 2000;
const BATCH: usize = 500;

/// More flushes than any case here needs.
const PATIENCE: usize = 12;

/// A spool with 2,000 records, and the uuids in their order.
fn waiting() -> (Site, Vec<String>) {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
    let drafts = (0..RECORDS).map(draft).collect();
    let records = spool.record_all("fast", drafts, Reason::Changed).unwrap();
    spool.close().unwrap();
    (site, records.into_iter().map(|record| record.uuid.to_string()).collect())
}

fn lead_to(site: &Site, posthog: &str) {
    lead_with_patience(site, posthog, "30s");
}

/// A short patience only where a flush is to give up: on a busy machine it would lose answers that are merely late.
fn lead_with_patience(site: &Site, posthog: &str, patience: &str) {
    site.settings(&format!(
        "flush: {{batchEvents: {BATCH}, timeout: 60s, patience: {patience}}}\nposthog: {{{posthog}, apiKey: phc_test}}\n"
    ));
}

/// Flushes until the queue is empty; tells how the flushes before that ended. Whatever fails, the rest is still there.
fn flush_until_drained(site: &Site) -> Vec<String> {
    let mut outcomes = Vec::new();
    for _ in 0..PATIENCE {
        let output = site.salver().args(["flush", "--format", "json"]).output().unwrap();
        let report: Json = json(&output);
        let outcome = report["outcome"].as_str().unwrap().to_owned();
        let code = if ["drained", "empty"].contains(&outcome.as_str()) { 0 } else { 4 };
        assert_eq!(output.status.code(), Some(code), "{}", out(&output));
        assert_eq!(report["deadLettered"], 0, "{report}");
        if code == 0 {
            assert_eq!(report["remaining"], 0);
            return outcomes;
        }
        outcomes.push(outcome);
    }
    panic!("the queue is not empty after {PATIENCE} flushes: {outcomes:?}");
}

/// Every record has arrived, in the order of writing, and no more than `again` of them twice.
fn assert_arrived(posthog: &PostHog, written: &[String], again: usize, case: &str) {
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut first = Vec::new();
    for uuid in posthog.uuids() {
        let seen = times.entry(uuid.clone()).or_default();
        *seen += 1;
        if *seen == 1 {
            first.push(uuid);
        }
    }
    assert!(first == written, "{case}: {} of {} arrived, or in another order", first.len(), written.len());
    let repeated: usize = times.values().map(|times| times - 1).sum();
    assert!(repeated <= again, "{case}: {repeated} arrived again, {again} were allowed");
}

#[test]
fn when_connections_fail_at_any_point() {
    use Fault::*;
    let posthog_behind = |fault| fails_in_one_way(fault, false);
    // Most of the time goes by between two attempts, so several lines fail at once.
    for faults in [
        [Refused, RequestCut(0), RequestCut(1), RequestCut(100)],
        [RequestCut(1000), RequestCut(20_000), Twice, Drip],
        [AnswerLost, AnswerCut(0), AnswerCut(1), AnswerCut(40)],
    ] {
        at_once(&faults, posthog_behind);
    }
    at_once(&[AnswerCut(100), StallBefore, StallAfter], posthog_behind);
}

/// A handshake has some 2,000 bytes from PostHog and some hundred to it.
#[test]
fn when_connections_with_tls_fail_at_any_point() {
    use Fault::*;
    if !can_trust_a_ca_file() {
        return;
    }
    for faults in [
        [RequestCut(1), RequestCut(200), RequestCut(1_000), RequestCut(20_000)],
        [AnswerCut(1), AnswerCut(500), AnswerCut(3_000), AnswerLost],
    ] {
        at_once(&faults, |fault| fails_in_one_way(fault, true));
    }
}

fn at_once(faults: &[Fault], play: impl Fn(Fault) + Sync) {
    thread::scope(|scope| faults.iter().for_each(|fault| _ = scope.spawn(|| play(*fault))));
}

/// Two connections fail in this way, with TLS or without; then the line is a good one.
fn fails_in_one_way(fault: Fault, with_tls: bool) {
    let posthog = PostHog::start();
    let tls = Tls::before(posthog.address(), Certificate::Good);
    let (site, written) = waiting();
    // The first connection and the one after it: one that is kept alive would hide them.
    let server = if with_tls { address(&tls.url()) } else { posthog.address() };
    let line = FaultProxy::to(server, &[fault; 2]);
    let stalls = matches!(fault, Fault::StallBefore | Fault::StallAfter);
    let host = match with_tls {
        true => format!("host: 'https://localhost:{}', caFile: ca.pem", address(&line.url()).port()),
        false => format!("host: '{}'", line.url()),
    };
    site.write("ca.pem", &tls.authority);
    lead_with_patience(&site, &host, if stalls { "3s" } else { "30s" });
    let outcomes = flush_until_drained(&site);
    assert!(outcomes.iter().all(|outcome| outcome == "unreachable"), "{fault:?}: {outcomes:?}");
    let faults = 2 - line.faults_left();
    assert!(faults > 0, "{fault:?}: the line was never used");
    let again = match fault {
        Fault::Twice => RECORDS as usize,
        _ if fault.hides_success() => faults * BATCH,
        _ => 0,
    };
    assert_arrived(&posthog, &written, again, &format!("{fault:?}"));
}

/// Where a test server listens.
fn address(url: &str) -> SocketAddr {
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn when_the_answer_is_any_but_the_right_one() {
    let statuses = [
        vec![201_u16, 204, 206, 300, 301, 302, 304, 307, 308],
        vec![401, 402, 403, 404, 405, 407, 408, 411, 415, 418, 425, 429, 451],
        vec![500, 502, 503, 504, 511, 524],
    ]
    .concat();
    let posthog = PostHog::start();
    let (site, written) = waiting();
    lead_to(&site, &format!("host: '{}'", posthog.url()));
    let statuses = statuses.into_iter().map(|status| Scripted::Status(status, "because"));
    let bodies = [
        Scripted::Html,
        Scripted::Truncated,
        Scripted::Reply(200, &[("content-type", "application/json")], ""),
        Scripted::Reply(200, &[("content-type", "application/json")], "{}"),
        Scripted::Reply(200, &[("content-type", "application/json")], r#"{"status":"Error"}"#),
        Scripted::Reply(
            200,
            &[("content-type", "application/json")],
            r#"{"status":"Ok","quota_limited":["events"]}"#,
        ),
        Scripted::Reply(200, &[("content-type", "text/plain")], "Ok"),
        Scripted::Reply(400, &[("content-type", "text/html")], "<html>blocked</html>"),
    ];
    for answer in statuses.chain(bodies) {
        // What the server has although its answer was cut off.
        let stored = usize::from(matches!(answer, Scripted::Truncated));
        posthog.answer_next(answer.clone());
        let before = posthog.events().len();
        let output = site.salver().args(["flush", "--limit", "1", "--format", "json"]).output().unwrap();
        let outcome = json(&output)["outcome"].as_str().unwrap().to_owned();
        let tried_again = outcome == "limit";
        let arrived = posthog.events().len() - before;
        assert_eq!(arrived, stored + usize::from(tried_again), "{answer:?}: {outcome}");
        assert_eq!(output.status.code(), Some(if tried_again { 0 } else { 4 }), "{answer:?}: {outcome}");
    }
    flush_until_drained(&site);
    assert_arrived(&posthog, &written, 1, "every answer");
}

#[test]
fn when_the_certificate_is_not_to_be_trusted() {
    if !can_trust_a_ca_file() {
        return;
    }
    for (certificate, trusted) in
        [(Certificate::Good, false), (Certificate::Expired, true), (Certificate::OfAnother, true)]
    {
        let posthog = PostHog::start();
        let (site, written) = waiting();
        let bad = Tls::before(posthog.address(), certificate);
        site.write("ca.pem", &bad.authority);
        let ca = if trusted { ", caFile: ca.pem" } else { "" };
        lead_with_patience(&site, &format!("host: '{}'{ca}", bad.url()), "1s");
        let output = site.salver().arg("flush").output().unwrap();
        assert_eq!((output.status.code(), posthog.requests()), (Some(4), 0), "{certificate:?}");
        let good = Tls::before(posthog.address(), Certificate::Good);
        site.write("ca.pem", &good.authority);
        lead_to(&site, &format!("host: '{}', caFile: ca.pem", good.url()));
        assert_eq!(flush_until_drained(&site), Vec::<String>::new());
        assert_arrived(&posthog, &written, 0, &format!("{certificate:?}"));
    }
}

#[test]
fn when_the_name_does_not_resolve_or_the_proxy_refuses() {
    let posthog = PostHog::start();
    let (site, written) = waiting();
    lead_with_patience(&site, "host: 'https://posthog.invalid'", "1s");
    let output = site.salver().args(["flush", "--format", "json"]).output().unwrap();
    assert_eq!(json(&output)["outcome"], "unreachable");

    for (status, outcome) in [(407, "refused"), (403, "refused"), (502, "unreachable")] {
        let proxy = PostHog::start();
        (0..9).for_each(|_| proxy.answer_next(Scripted::Status(status, "no")));
        let proxy = format!("proxy: 'http://me:hunter2@{}'", proxy.address());
        lead_with_patience(&site, &format!("host: 'https://posthog.invalid', {proxy}"), "1s");
        let output = site.salver().args(["flush", "--format", "json"]).output().unwrap();
        assert_eq!(json(&output)["outcome"], outcome, "{status}");
        assert!(!err(&output).contains("hunter2"));
    }
    lead_to(&site, &format!("host: '{}'", posthog.url()));
    flush_until_drained(&site);
    assert_arrived(&posthog, &written, 0, "name and proxy");
}

#[test]
fn when_a_batch_has_to_shrink_before_it_passes() {
    let posthog = PostHog::start();
    let (site, written) = waiting();
    // The line takes no request of more than some bytes: each longer one breaks off.
    let line = FaultProxy::to(posthog.address(), &[Fault::RequestCut(8_000); 8]);
    lead_to(&site, &format!("host: '{}'", line.url()));
    flush_until_drained(&site);
    assert_arrived(&posthog, &written, 0, "a narrow line");
}

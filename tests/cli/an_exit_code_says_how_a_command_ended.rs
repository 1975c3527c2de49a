//! Promise: scripts may rely on exit codes: 2 usage or settings, 3 nothing collected, 4 upstream
//! does not take records, 5 spool busy. Codes 1 and 6 are in
//! `bad_input_gets_a_clear_error_and_nothing_is_lost.rs`.

use std::fs::{self, File};

use serde_json::json;

use crate::support::posthog::{PostHog, Scripted};
use crate::support::service::until;
use crate::support::site::{SOS, flip};
use crate::support::two_instances::{flushed, forward_to, of, recorded, settings, site};
use crate::support::{err, expect, out, salver};

#[test]
fn record_ends_with_3_only_if_every_instance_is_off() {
    let site = site();
    site.write("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().arg("record"), 0);
    expect(site.salver().args(["record", "sos"]), 3);
    expect(site.salver().args(["record", "butler"]), 0);
    expect(site.salver().args(["preview", "sos"]), 3);
    assert_eq!(of(&site.dump(), "instance"), ["butler"]);
    fs::remove_file(site.path("config/butler.yaml")).unwrap();
    expect(site.salver().arg("record"), 1);
}

#[test]
fn flush_without_host_or_key_ends_with_2_and_names_the_setting() {
    let site = site();
    expect(site.salver().arg("record"), 0);
    for (posthog, missing) in [
        ("{}", "posthog.host is not set"),
        ("{apiKey: phc_test}", "posthog.host is not set"),
        ("{host: 'https://posthog.example.com'}", "posthog.apiKey is not set"),
    ] {
        settings(&site, posthog);
        let output = expect(site.salver().arg("flush"), 2);
        assert!(err(&output).contains(missing), "{}", err(&output));
    }
    assert_eq!(site.dump().len(), 2);
}

#[test]
fn an_upstream_that_does_not_take_records_ends_with_4_and_keeps_them() {
    let site = site();
    recorded(&site);
    for (status, outcome) in [(401, "refused"), (302, "refused"), (429, "throttled"), (503, "unreachable")] {
        let posthog = PostHog::start();
        forward_to(&site, &posthog);
        // More often than it asks within its patience.
        (0..50).for_each(|_| posthog.answer_next(Scripted::Status(status, "no")));
        let report = flushed(&site, 4, &[]);
        assert_eq!((&report["outcome"], &report["remaining"]), (&json!(outcome), &json!(5)), "{status}");
        assert!(posthog.requests() > 0);
        assert_eq!(site.status()["flush"]["lastOutcome"], outcome);
    }
    // The last server has stopped, so nothing listens there.
    let report = flushed(&site, 4, &[]);
    assert_eq!((&report["outcome"], &report["remaining"]), (&json!("unreachable"), &json!(5)));
    assert_eq!(site.dump().len(), 5);
}

#[test]
fn a_spool_that_stays_busy_ends_every_command_that_writes_with_5_and_the_next_step() {
    let site = site();
    let records = recorded(&site);
    let lock = File::options().read(true).write(true).open(site.spool().join("lock")).unwrap();
    until("the lock", || lock.try_lock().is_ok());
    site.write("config/sos.yaml", &flip(SOS, "prometheus"));
    for command in [&["record", "sos"][..], &["purge", "--all", "--yes"], &["pause", "--all"]] {
        let output = expect(site.salver().args(command), 5);
        let said = err(&output);
        let spool = site.spool();
        assert!(
            said.contains(spool.to_str().unwrap()) && said.contains("busy") && said.contains("try again"),
            "{said}"
        );
    }
    // Reading takes no lock.
    assert_eq!(site.dump(), records);
    assert_eq!(site.status()["spool"]["records"], records.len());
    drop(lock);
}

#[test]
fn what_is_no_command_option_or_value_ends_with_2() {
    for wrong in [
        &["fetch"][..],
        &[],
        &["dump", "--colour"],
        &["dump", "--format", "xml"],
        &["dump", "--since", "yesterday"],
        &["dump", "--limit", "many"],
        &["purge"],
        &["pause"],
        &["preview"],
        &["run", "--flush", "later"],
        &["preview", "x.yaml", "--service-version", "newest"],
    ] {
        let output = expect(salver().args(wrong), 2);
        assert!(out(&output).is_empty() && !err(&output).is_empty(), "{wrong:?}");
    }
}

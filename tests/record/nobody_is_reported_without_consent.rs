//! Promise 8: nothing is collected and nothing leaves without consent. It is read again before each batch; withdrawn, it
//! erases what is unsent before anything else is sent, whoever was running or asleep meanwhile. What cannot be read holds.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::posthog::PostHog;
use crate::support::service::{Service, said, until};
use crate::support::site::{BUTLER, SOS, Site, flip};
use crate::support::two_instances::{record, waiting};
use crate::support::{err, expect};

/// A site with a Butler and a Butler SOS that forwards to this server, one record in a request.
fn site(posthog: &PostHog) -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    settings(&site, posthog, &["butler", "sos"]);
    site
}

/// Writes settings that name these instances.
fn settings(site: &Site, posthog: &PostHog, names: &[&str]) {
    let instances: Vec<Json> = names
        .iter()
        .map(|name| json!({ "name": name, "configFile": format!("config/{name}.yaml") }))
        .collect();
    site.settings(&format!(
        "watch: {{settle: 20ms}}\nflush: {{batchEvents: 1, every: 1s}}\n\
         posthog: {{host: '{}', apiKey: phc_not_a_real_key}}\ninstances: {}\n",
        posthog.url(),
        json!(instances)
    ));
}

/// The config file of Butler SOS with something else in the place of its consent.
fn without_consent(instead: &str) -> String {
    SOS.replace("anonTelemetry: true # consent", instead)
}

/// Panics if any of these uuids can still be read in the spool folder.
fn assert_gone(site: &Site, uuids: &[String]) {
    let raw = site.raw_spool();
    assert!(uuids.iter().all(|uuid| !raw.contains(uuid.as_str())), "erased means gone from the files");
}

// Withdrawn --------------------------------------------------------------------------------------------------------------

#[test]
fn what_consent_was_withdrawn_for_is_erased_and_not_sent() {
    for withdrawn in
        ["anonTelemetry: false", "anonTelemetry: 'true'", "other: true", "systemInfo: {enable: false}"]
    {
        let posthog = PostHog::start();
        let site = site(&posthog);
        record(&site, 1);
        let (sos, butler) = (waiting(&site, "sos"), waiting(&site, "butler"));
        assert_eq!((sos.len(), butler.len()), (2, 1));
        let both = format!("anonTelemetry: true\n    {withdrawn}");
        site.write(
            "config/sos.yaml",
            &without_consent(if withdrawn.starts_with("sys") { &both } else { withdrawn }),
        );
        expect(site.salver().arg("flush"), 0);
        assert_eq!(posthog.uuids(), butler, "{withdrawn}");
        assert!(site.dump().is_empty());
        assert_gone(&site, &sos);
    }
}

#[test]
fn consent_that_is_withdrawn_while_the_service_is_stopped_erases_before_it_sends() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    let mut service = Service::start(site.salver().arg("run"));
    service.wait_for_records(2);
    service.stop();
    let (sos, butler) = (waiting(&site, "sos"), waiting(&site, "butler"));
    site.write("config/sos.yaml", &without_consent("anonTelemetry: false"));
    let mut service = Service::start(site.salver().args(["run", "--flush", "auto"]));
    until("the record of the other", || posthog.uuids().len() == 1);
    service.wait_for("an empty queue", |_| site.dump().is_empty());
    service.stop();
    assert_eq!(posthog.uuids(), butler);
    assert_gone(&site, &sos);
}

#[test]
fn do_not_track_keeps_everything_here_and_does_not_save_what_consent_was_withdrawn_for() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    record(&site, 0);
    let written = site.uuids();
    expect(site.salver().env("DO_NOT_TRACK", "1").args(["record", "--force"]), 3);
    expect(site.salver().env("DO_NOT_TRACK", "1").arg("flush"), 3);
    assert_eq!((posthog.connections(), site.uuids()), (0, written.clone()));
    expect(site.salver().env("DO_NOT_TRACK", "0").arg("flush"), 0);
    assert_eq!(posthog.uuids(), written);

    expect(site.salver().args(["record", "--force"]), 0);
    site.write("config/sos.yaml", &without_consent("anonTelemetry: false"));
    expect(site.salver().env("DO_NOT_TRACK", "true").arg("record"), 3);
    assert_eq!(waiting(&site, "sos"), Vec::<String>::new());
    assert_eq!(waiting(&site, "butler").len(), 1);
}

#[test]
fn switched_off_system_information_counts_from_the_releases_that_have_it() {
    let site = Site::of_sos(&SOS.replace("logLevel: info", "systemInfo: {enable: false}"));
    for (release, code) in [("11.1.0", 0), ("12.0.0-beta.1", 0), ("12.0.0", 3), ("15.0.0", 3)] {
        site.settings(&format!(
            "instances: [{{name: sos, configFile: config/sos.yaml, serviceVersion: {release}}}]\n"
        ));
        let output = expect(site.salver().args(["preview", "sos"]), code);
        assert_eq!(err(&output).contains("Butler-SOS.systemInfo.enable is false"), code == 3, "{release}");
    }
}

// Held -------------------------------------------------------------------------------------------------------------------

#[test]
fn what_cannot_be_read_is_held_and_neither_sent_nor_erased() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    record(&site, 1);
    let (sos, butler) = (waiting(&site, "sos"), waiting(&site, "butler"));
    for unreadable in [Some(""), Some("Butler-SOS:\n"), Some("Butler-SOS: {anonTelemetry: fal"), None] {
        match unreadable {
            Some(text) => site.write("config/sos.yaml", text),
            None => fs::remove_file(site.sos()).unwrap(),
        }
        expect(site.salver().arg("flush"), 0);
        assert_eq!((posthog.uuids(), site.uuids()), (butler.clone(), sos.clone()), "{unreadable:?}");
    }
    site.write("config/sos.yaml", SOS);
    expect(site.salver().arg("flush"), 0);
    assert_eq!(posthog.uuids(), [butler, sos].concat());
}

#[test]
fn a_pause_by_hand_outlives_restarts_until_it_is_resumed() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    record(&site, 0);
    expect(site.salver().args(["pause", "sos"]), 0);
    let other = BUTLER.replace("enable: true", "enable: false");
    for (block, butler) in [("heartbeat", other.as_str()), ("prometheus", BUTLER)] {
        let mut service = Service::start(site.salver().arg("run"));
        service.wait_for("the pause to be told", |it| said(&it.stderr(), "paused by hand") > 0);
        site.replace("config/sos.yaml", &flip(SOS, block));
        site.replace("config/butler.yaml", butler);
        service.wait_for_records(1);
        service.stop();
        assert_eq!(waiting(&site, "sos").len(), 1, "paused");
    }
    assert_eq!(waiting(&site, "butler").len(), 3, "the other goes on");
    expect(site.salver().args(["resume", "sos"]), 0);
    let mut service = Service::start(site.salver().arg("run"));
    service.wait_for("the change", |_| waiting(&site, "sos").len() == 2);
    service.stop();
}

#[test]
fn what_was_collected_of_an_instance_that_left_the_settings_stays_and_is_delivered() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    record(&site, 1);
    let written = site.uuids();
    settings(&site, &posthog, &["butler"]);
    fs::remove_file(site.sos()).unwrap();
    let status = site.status();
    let sos = &status["instances"][1];
    assert_eq!((&sos["name"], &sos["collecting"]), (&json!("sos"), &json!(false)));
    assert_eq!(sos["why"], "no longer in the settings; its records stay and are delivered");
    expect(site.salver().arg("record"), 0);
    assert_eq!(site.uuids(), written);
    expect(site.salver().arg("flush"), 0);
    assert_eq!(posthog.uuids(), written);
}

#[test]
fn a_new_name_does_not_save_what_consent_was_withdrawn_for() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    let lead_to = |instances: &str| {
        site.settings(&format!(
            "watch: {{settle: 20ms}}\nposthog: {{host: '{}', apiKey: phc_not_a_real_key}}\ninstances: {instances}\n",
            posthog.url()
        ));
    };
    for named in ["{configFile: config/sos.yaml}", "{name: before, configFile: config/sos.yaml}"] {
        lead_to(&format!("[{named}, {{name: butler, configFile: config/butler.yaml}}]"));
        expect(site.salver().args(["record", "--force"]), 0);
    }
    lead_to("[{name: after, configFile: config/sos.yaml}]");
    let (butler, written) = (waiting(&site, "butler"), site.uuids());
    assert_eq!((butler.len(), written.len()), (2, 4));

    site.write("config/sos.yaml", "");
    expect(site.salver().arg("flush"), 0);
    assert_eq!(posthog.uuids(), butler, "what is held is held under any name");
    site.write("config/sos.yaml", &without_consent("anonTelemetry: false"));
    expect(site.salver().arg("flush"), 0);
    assert_eq!((posthog.uuids(), site.uuids()), (butler, Vec::new()));
    assert_gone(&site, &written);
}

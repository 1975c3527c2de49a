//! Promise: a `configFile` of several files is one config, put together as Node's config library does it for the tools: maps
//! are merged key by key to any depth, everything else is replaced, and the later file wins.
//!
//! So an edit to any of the files is one change, consent is what the last word on it says, and while one of the files
//! cannot be read nobody knows what the config is: nothing is collected, sent or erased.

use std::fs;
use std::path::PathBuf;

use crate::support::posthog::PostHog;
use crate::support::service::{Service, said};
use crate::support::site::{SOS, Site, features, flip};
use crate::support::{err, expect, json, out};
use salver::record::document;
use serde_json::{Map, Value as Json, json};

/// A site with one instance of these config files, which forwards to this server.
fn site_of(files: &[(&str, &str)], posthog: Option<&PostHog>) -> Site {
    let site = Site::new();
    for (name, text) in files {
        fs::create_dir_all(site.path(name).parent().unwrap()).unwrap();
        site.write(name, text);
    }
    let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
    let posthog = posthog.map_or("{}".to_owned(), |posthog| {
        format!("{{host: '{}', apiKey: phc_not_a_real_key}}", posthog.url())
    });
    site.settings(&format!(
        "watch: {{settle: 50ms, poll: 1h}}\nposthog: {posthog}\n\
         instances: [{{name: it, configFile: {names:?}}}]\n"
    ));
    site
}

fn last_features(site: &Site) -> Json {
    features(site.dump().last().unwrap()).clone()
}

/// Waits for one more record, after an edit.
fn one_more(service: &mut Service, edit: impl FnOnce()) {
    let before = service.recorded().len();
    edit();
    service.wait_for_records(before + 1);
}

fn held(site: &Site, why: &str) {
    let output = expect(site.salver().args(["record", "--force"]), 1);
    assert!(err(&output).contains(why), "{why}: {}", err(&output));
    let status = site.status();
    let it = &status["instances"][0];
    assert_eq!(it["collecting"], false, "{it}");
    assert!(it["why"].as_str().unwrap().starts_with("held: "), "{it}");
}

const OVERRIDE: &str = "\
Butler-SOS:
    prometheus:
        enable: true
    influxdbConfig:
        enable: false
";

#[test]
fn an_edit_to_any_of_three_files_is_one_record() {
    let third = "Butler-SOS:\n    mqttConfig: {enable: true}\n";
    let files = [("config/base.yaml", SOS), ("config/over.yaml", OVERRIDE), ("elsewhere/local.yaml", third)];
    let site = site_of(&files, None);
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let is = |expected: Json| {
        let found = last_features(&site);
        for (feature, value) in expected.as_object().unwrap() {
            assert_eq!(found[feature], *value, "{feature}: {found}");
        }
    };
    is(
        json!({ "prometheus": true, "influxdb": false, "influxdbVersion": 2, "mqtt": true, "uptimeMonitor": true }),
    );

    let base = flip(SOS, "heartbeat");
    one_more(&mut service, || site.replace("config/base.yaml", &base));
    is(json!({ "heartbeat": true, "prometheus": true }));
    one_more(&mut service, || site.write("config/over.yaml", &OVERRIDE.replace("true", "false")));
    is(json!({ "heartbeat": true, "prometheus": false }));
    one_more(&mut service, || {
        site.replace("elsewhere/local.yaml", "Butler-SOS: {heartbeat: {enable: false}}\n")
    });
    is(json!({ "heartbeat": false, "mqtt": false }));

    // What a later file decides cannot be changed in an earlier one.
    service.wait_for_an_idle_look_after(|| site.write("config/base.yaml", &flip(&base, "influxdbConfig")));
    service.wait_for_an_idle_look_after(|| site.replace("config/base.yaml", SOS));
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed", "changed"]);
}

#[test]
fn two_files_report_what_one_file_with_both_in_it_reports() {
    let merged = flip(&flip(SOS, "prometheus"), "influxdbConfig");
    let previews =
        [&[("config/a.yaml", SOS), ("config/b.yaml", OVERRIDE)][..], &[("config/a.yaml", merged.as_str())]]
            .map(|files| {
                let site = site_of(files, None);
                json(&expect(site.salver().args(["preview", "it", "--as", "record"]), 0))["data"].clone()
            });
    assert_eq!(previews[0], previews[1]);
}

#[test]
fn a_list_is_replaced_and_not_lengthened() {
    let base = "\
Butler-SOS:
    anonTelemetry: true
    logEvents: {categorise: {enable: true, rules: [{action: drop}, {action: drop}, {action: categorise}]}}
";
    for (over, count) in [
        ("Butler-SOS: {logEvents: {categorise: {rules: [{action: drop}]}}}", 1),
        ("Butler-SOS: {logEvents: {categorise: {rules: []}}}", 0),
        ("Butler-SOS: {logEvents: {categorise: {rules: null}}}", 0),
        ("Butler-SOS: {logEvents: {categorise: {enable: false}}}", 3),
    ] {
        let site = site_of(&[("config/base.yaml", base), ("config/over.yaml", over)], None);
        expect(site.salver().arg("record"), 0);
        assert_eq!(last_features(&site)["logEventCategoriseRuleCount"], count, "{over}");
    }

    let base = "\
Butler:
    anonTelemetry: true
    webhookNotification:
        enable: true
        reloadTaskFailure: {webhooks: [{webhookURL: a}, {webhookURL: b}]}
        reloadTaskAborted: {webhooks: [{webhookURL: a}]}
";
    let over = "Butler: {webhookNotification: {reloadTaskFailure: {webhooks: []}}}";
    let site = site_of(&[("config/base.yaml", base), ("config/over.yaml", over)], None);
    expect(site.salver().arg("record"), 0);
    let found = last_features(&site);
    assert_eq!(found["webhookNotificationReloadTaskFailure"], false, "{found}");
    assert_eq!(found["webhookNotificationReloadTaskAborted"], true, "{found}");
}

#[test]
fn consent_is_what_the_last_file_that_speaks_of_it_says() {
    let on = "Butler-SOS: {anonTelemetry: true}\n";
    let off = "Butler-SOS: {anonTelemetry: false}\n";
    let silent = "Butler-SOS: {heartbeat: {enable: true}}\n";
    let foreign = "somethingElse: {anonTelemetry: false}\n";
    for (files, code) in [
        ([on, silent, foreign], 0),
        ([off, on, silent], 0),
        ([silent, off, on], 0),
        ([on, off, silent], 3),
        ([silent, on, off], 3),
        ([silent, silent, foreign], 3),
        ([on, silent, "Butler-SOS: {anonTelemetry: null}\n"], 3),
        ([on, silent, "Butler-SOS: {anonTelemetry: 'true'}\n"], 3),
        ([on, silent, "Butler-SOS: {systemInfo: {enable: false}}\n"], 3),
    ] {
        let names = ["config/a.yaml", "config/b.yaml", "config/c.yaml"];
        let pairs: Vec<_> = names.into_iter().zip(files).collect();
        let site = site_of(&pairs, None);
        expect(site.salver().arg("record"), code);
        assert_eq!(site.spool().exists(), code == 0, "{files:?}");
    }
}

#[test]
fn consent_withdrawn_in_an_override_erases_what_is_unsent() {
    let posthog = PostHog::start();
    let over = "Butler-SOS: {anonTelemetry: true}\n";
    let base = SOS.replace("anonTelemetry: true", "anonTelemetry: false");
    let site = site_of(&[("config/base.yaml", &base), ("config/over.yaml", over)], Some(&posthog));
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let uuid = site.uuids().remove(0);
    service.wait_for_words_after("unsent records were erased", || {
        site.replace("config/over.yaml", "Butler-SOS: {anonTelemetry: false}\n");
    });
    assert_eq!(site.uuids(), [""; 0]);
    assert!(!site.raw_spool().contains(&uuid));
    // Given again, also by the base: the override has nothing to say of it any more.
    one_more(&mut service, || site.replace("config/over.yaml", over));
    service.wait_for_words_after("unsent records were erased", || {
        site.replace("config/over.yaml", "Butler-SOS: {heartbeat: {enable: true}}\n");
    });
    one_more(&mut service, || site.replace("config/base.yaml", SOS));
    service.stop();
    expect(site.salver().arg("flush"), 0);
    assert_eq!(posthog.events().len(), 1, "what was recorded under the consent in force");
}

/// What an override may look like while somebody works on it. `None`: the file is not there.
const UNREADABLE: [(Option<&str>, &str); 6] = [
    (None, "there is no such file"),
    (Some(""), "the file is empty"),
    (Some("# all of it is a comment now\n"), "the file is empty"),
    (Some("Butler-SOS:\n    prometheus:\n    - a\n   b"), "line "),
    (Some("Butler-SOS: {prometheus: {enable"), "line "),
    (Some("Butler-SOS:\n"), "there are no keys below Butler-SOS"),
];

#[test]
fn an_override_that_cannot_be_read_holds_and_erases_nothing() {
    let posthog = PostHog::start();
    let site = site_of(&[("config/base.yaml", SOS), ("config/over.yaml", OVERRIDE)], Some(&posthog));
    expect(site.salver().arg("record"), 0);
    let records = site.dump();
    for (text, why) in UNREADABLE {
        match text {
            None => fs::remove_file(site.path("config/over.yaml")).unwrap(),
            Some(text) => site.write("config/over.yaml", text),
        }
        held(&site, why);
        _ = site.salver().arg("flush").output().unwrap();
        assert_eq!(posthog.requests(), 0, "nothing is sent: {why}");
        assert_eq!(site.dump(), records, "nothing is recorded or erased: {why}");
    }
    site.write("config/over.yaml", OVERRIDE);
    expect(site.salver().arg("record"), 0);
    assert_eq!(site.dump(), records, "nothing had changed");
    expect(site.salver().arg("flush"), 0);
    assert_eq!(posthog.uuids().len(), 1);
}

/// The base alone would give consent; the file that cannot be read may be the one that withholds it.
#[test]
fn an_override_that_cannot_be_read_is_not_taken_for_one_that_says_nothing() {
    for (text, why) in UNREADABLE {
        let over = text.unwrap_or_default();
        let site = site_of(&[("config/base.yaml", SOS), ("config/over.yaml", over)], None);
        if text.is_none() {
            fs::remove_file(site.path("config/over.yaml")).unwrap();
        }
        let output = expect(site.salver().arg("record"), 1);
        assert!(out(&output).is_empty() && err(&output).contains(why), "{why}: {}", err(&output));
        assert!(!site.spool().exists(), "{why}");
    }
}

#[test]
fn a_base_that_is_truncated_before_each_save_costs_nothing() {
    let site = site_of(&[("config/base.yaml", SOS), ("config/over.yaml", OVERRIDE)], None);
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let mut base = SOS.to_owned();
    for block in ["heartbeat", "mqttConfig", "userEvents"] {
        base = flip(&base, block);
        let before = said(&service.stderr(), "held: ");
        site.write("config/base.yaml", "");
        service.wait_for("the file to be held", |it| said(&it.stderr(), "held: ") > before);
        one_more(&mut service, || site.write("config/base.yaml", &base));
    }
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed", "changed"]);
}

#[test]
fn the_service_may_be_named_in_the_base_only_and_only_one_of_them_in_all() {
    let foreign = "log: {level: info}\n";
    let site = site_of(&[("config/base.yaml", SOS), ("config/over.yaml", foreign)], None);
    expect(site.salver().arg("record"), 0);
    assert_eq!(site.dump()[0]["data"]["service"], "butler-sos");

    let site = site_of(&[("config/base.yaml", foreign), ("config/over.yaml", SOS)], None);
    expect(site.salver().arg("record"), 0);
    assert_eq!(site.dump()[0]["data"]["service"], "butler-sos");

    let butler = "Butler: {anonTelemetry: true}\n";
    let site = site_of(&[("config/base.yaml", SOS), ("config/over.yaml", butler)], None);
    let output = expect(site.salver().arg("record"), 1);
    assert!(err(&output).contains("several services (Butler, Butler-SOS)"), "{}", err(&output));
}

#[test]
fn the_package_json_beside_any_of_the_files_tells_the_release() {
    let package = r#"{"name": "butler-sos", "version": "12.0.1"}"#;
    let elsewhere = "overrides/of/this/site/over.yaml";
    for files in [["tool/config/base.yaml", elsewhere], [elsewhere, "tool/config/base.yaml"]] {
        let site = site_of(&[(files[0], SOS), (files[1], OVERRIDE)], None);
        site.write("tool/package.json", package);
        expect(site.salver().arg("record"), 0);
        assert_eq!(site.dump()[0]["data"]["serviceVersion"], "12.0.1", "{files:?}");
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize].clone()
    }

    fn map(&mut self, depth: u64) -> Json {
        const KEYS: [&str; 8] = ["a", "b", "c", "d e", "f.g", "null", "1", "Butler"];
        let keys = 1 + self.roll(4);
        Json::Object((0..keys).map(|_| (self.pick(&KEYS).to_owned(), self.value(depth))).collect())
    }

    fn value(&mut self, depth: u64) -> Json {
        match self.roll(10) {
            0..5 if depth > 0 => self.map(depth - 1),
            5 => json!({}),
            6 => Json::Array((0..self.roll(4)).map(|_| self.value(0)).collect()),
            _ => self.pick(&[
                Json::Null,
                json!(true),
                json!(false),
                json!(0),
                json!(-7),
                json!(2.5),
                json!(""),
                json!("yes"),
            ]),
        }
    }
}

/// The merge once more, in other words: of each path to a leaf, the last file that has a word on it decides. A word is a
/// leaf, or a map where no map was.
fn merged(files: &[Json]) -> Json {
    let Some((last, earlier)) = files.split_last() else { return Json::Null };
    let Json::Object(over) = last else { return last.clone() };
    let Json::Object(under) = merged(earlier) else { return last.clone() };
    let mut keys: Vec<&String> = under.keys().chain(over.keys()).collect();
    keys.sort();
    keys.dedup();
    let decide = |key: &String| match (under.get(key), over.get(key)) {
        (Some(under), Some(over)) => merged(&[under.clone(), over.clone()]),
        (only, None) | (None, only) => only.cloned().unwrap_or_default(),
    };
    Json::Object(keys.into_iter().map(|key| (key.clone(), decide(key))).collect::<Map<_, _>>())
}

#[test]
fn generated_files_are_merged_like_those_of_a_second_merge() {
    let folder = tempfile::tempdir().unwrap();
    let mut replaced = 0;
    for seed in 0..500 {
        let mut dice = Dice(seed);
        let count = 2 + dice.roll(3);
        let files: Vec<Json> = (0..count).map(|_| dice.map(3)).collect();
        let paths: Vec<PathBuf> =
            (0..count).map(|number| folder.path().join(format!("{number}.yaml"))).collect();
        for (path, file) in paths.iter().zip(&files) {
            fs::write(path, file.to_string()).unwrap();
        }
        let should = merged(&files);
        replaced += u32::from(should != *files.last().unwrap());
        let found = document::read(&paths).unwrap();
        assert!(
            found.root == document::parse(&should.to_string()).unwrap(),
            "seed {seed}: {files:?}\n{should}"
        );
    }
    assert!(replaced > 300, "only {replaced} of the merges had anything to do");
}

//! Promise 7: only what the catalogue names can leave. The config files here are full of texts that begin with `canary`, in
//! every place that a secret could stand in, and in a few where only a slip would put it. Then everything is done that salver
//! can do with them, and whatever it says, keeps or sends is searched. One value that may leave shows that the search finds
//! what is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod support;

use std::fs;
use std::process::Command;

use support::posthog::PostHog;
use support::service::{Service, said};
use support::site::{SOS, Site};
use support::{err, out, salver_in};

/// Stands in no message, log, spool file or request.
const CANARY: &str = "canary";
/// The same for a number, where a switch is expected.
const NUMBER: &str = "864197532086";
/// A value that the catalogue names, so it may leave.
const VERSION: &str = "2.71.828";
/// Leaves in requests and nowhere else.
const KEY: &str = "phc_secret_key_of_the_project";

const CANARIES_OF_SOS: &str = "\
# canary-comment
canary-top-level-key: canary-top-level-value
Butler-SOS:
    logLevel: canary-log-level
    anonTelemetry: true # canary-consent-comment
    canary-key: canary-value
    'canary key with spaces': 1
    heartbeat:
        enable: canary-where-a-switch-is-expected
        remoteURL: https://canary-user:canary-password@canary-host.example/canary-path
    dockerHealthCheck:
        enable: {canary-map-key: canary-map-value}
        port: canary-port
    uptimeMonitor:
        enable: [canary-in-a-list, canary-too]
    userEvents:
        enable: 'true canary'
        excludeUser:
            - {directory: canary-directory, userId: canary-user}
    logEvents:
        categorise:
            enable: true
            rules:
                - {description: canary-rule, action: canary-action}
                - &canary-anchor {description: canary-anchored}
                - *canary-anchor
        source:
            proxy: {enable: !canary-tag canary-tagged}
    logdb:
        host: canary-host-for-the-id
    mqttConfig:
        enable: 864197532086
        brokerHost: canary-broker
    prometheus:
        enable: |
            true
            canary-block
    influxdbConfig:
        enable: true
        version: VERSION
        v2Config: {org: canary-organisation, token: canary-token}
    appNames: canary-instead-of-a-map
    userSessions: [canary-instead-of-a-map]
";

const CANARIES_OF_BUTLER: &str = "\
Butler:
    anonTelemetry: true
    logLevel: canary-log-level
    configQRS:
        host: canary-qrs-host
        port: canary-port
        headers: {static: [{name: X-Qlik-User, value: UserDirectory=canary;UserId=canary}]}
    heartbeat:
        enable: canary-where-a-switch-is-expected
    webhookNotification:
        enable: true
        reloadTaskFailure:
            webhooks: [{description: canary-hook, webhookURL: 'https://canary.example/canary'}]
    incidentTool:
        newRelic:
            url: {event: canary-url}
            reloadTaskFailure: {destination: {event: {enable: canary}, log: {enable: 864197532086}}}
    emailNotification:
        enable: ~canary
        smtp: {host: canary-smtp, auth: {user: canary-user, password: canary-password}}
";

/// Documents that cannot be read, each with a canary where the parser stumbles.
const BROKEN: [&[u8]; 12] = [
    b"Butler-SOS:\n    password: 'canary\n",
    b"Butler-SOS:\n    password: \"canary\\q\"\n",
    b"Butler-SOS:\n\tpassword: canary\n",
    b"Butler-SOS: {password: canary",
    b"Butler-SOS: [canary}\n",
    b"Butler-SOS:\n    canary-key: 1\n    canary-key: 2\n",
    b"Butler-SOS: *canary\n",
    b"Butler-SOS:\n  a: canary\n b: canary\n",
    b"Butler-SOS: {a: canary}\n---\nButler-SOS: {a: canary}\n",
    b"canary-service: {anonTelemetry: true}\n",
    b"Butler-SOS: {password: canary\xff}\n",
    b"%canary\nButler-SOS: canary: canary\n",
];

/// All that was said, kept and sent.
#[derive(Default)]
struct Heard(String);

impl Heard {
    /// Runs to the end, however it ends.
    fn run(&mut self, command: &mut Command) {
        let output = command.output().unwrap();
        self.0 += &format!("{command:?}\n{}\n{}\n", out(&output), err(&output));
    }

    fn hold(&self, text: &str) -> bool {
        self.0.to_lowercase().contains(text)
    }

    /// Panics with what stands around a text that must not be there.
    fn assert_silent_about(&self, text: &str) {
        let heard = self.0.to_lowercase();
        if let Some(at) = heard.find(text) {
            let around: String = heard[..at].chars().rev().take(200).collect();
            let around: String = around.chars().rev().collect();
            panic!("{text} leaked: …{around}{}", heard[at..].chars().take(200).collect::<String>());
        }
    }
}

fn site(posthog: &PostHog) -> Site {
    let site = Site::of_sos(&CANARIES_OF_SOS.replace("VERSION", VERSION));
    site.write("config/butler.yaml", CANARIES_OF_BUTLER);
    site.settings(&format!(
        "watch: {{settle: 50ms}}\nposthog: {{host: '{}', apiKey: {KEY}}}\ninstances:\n  \
         - {{name: butler, configFile: config/butler.yaml}}\n  - {{name: sos, configFile: config/sos.yaml}}\n",
        posthog.url()
    ));
    site
}

/// The program with these settings, saying all that it can say.
fn loud(site: &Site) -> Command {
    let mut command = site.salver();
    command.env("SALVER_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").arg("-vv");
    command
}

/// Does with the two instances what can be done with them; returns what was said and kept.
fn do_everything(site: &Site) -> Heard {
    let mut heard = Heard::default();
    for name in ["butler", "sos"] {
        for shape in ["record", "event", "request"] {
            heard.run(loud(site).args(["preview", name, "--as", shape]));
        }
        heard.run(loud(site).args(["preview", name, "--explain"]));
    }
    heard.run(loud(site).arg("record"));
    heard.run(loud(site).args(["record", "--force"]));
    let mut service = Service::start(loud(site).arg("run"));
    service.wait_for("a first look", |it| it.idle_looks() > 1);
    let text =
        fs::read_to_string(site.sos()).unwrap().replace("anonTelemetry", "canary: canary\n    anonTelemetry");
    service.wait_for_an_idle_look_after(|| site.replace("config/sos.yaml", &text));
    let ended = service.stop();
    heard.0 += &[ended.stdout, ended.stderr].concat().join("\n");
    for format in ["table", "json", "ndjson", "csv"] {
        heard.run(loud(site).args(["dump", "--state", "all", "--format", format]));
        heard.run(loud(site).args(["dump", "--state", "all", "--as", "event", "--format", format]));
    }
    heard.run(loud(site).arg("status"));
    heard.run(loud(site).args(["status", "--format", "json"]));
    heard.run(loud(site).args(["id", "--history"]));
    heard.run(loud(site).args(["purge", "--all", "--dry-run"]));
    heard.run(loud(site).args(["flush", "--dry-run"]));
    heard.0 += &site.raw_spool();
    heard
}

#[test]
fn no_other_value_of_a_config_file_is_said_kept_or_sent() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    let mut heard = do_everything(&site);
    heard.run(loud(&site).arg("flush"));
    heard.0 += &site.raw_spool();
    heard.assert_silent_about(KEY);
    let bodies: String = posthog.bodies().iter().map(ToString::to_string).collect();
    assert!(posthog.events().len() == 4 && bodies.contains(KEY), "{bodies}");
    heard.0 += &bodies;
    heard.assert_silent_about(CANARY);
    heard.assert_silent_about(NUMBER);
}

/// The same search finds what may leave, in each of the places where it looks.
#[test]
fn the_search_would_find_what_leaves() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    assert!(do_everything(&site).hold(VERSION));
    assert!(Heard(site.raw_spool()).hold(VERSION), "values stand in plain text in the spool");
    let mut heard = Heard::default();
    heard.run(loud(&site).args(["dump", "--format", "csv"]));
    assert!(heard.hold(VERSION));
    heard.run(loud(&site).arg("flush"));
    let bodies: String = posthog.bodies().iter().map(ToString::to_string).collect();
    assert!(Heard(bodies).hold(VERSION));
}

#[test]
fn what_cannot_be_read_is_not_quoted() {
    let posthog = PostHog::start();
    let site = site(&posthog);
    let mut heard = Heard::default();
    site.write("config/sos.yaml", SOS);
    heard.run(loud(&site).arg("record"));
    let mut service = Service::start(loud(&site).arg("run"));
    service.wait_for("a first look", |it| it.idle_looks() > 1);
    for broken in BROKEN {
        let before = said(&service.stderr(), "held: ");
        fs::write(site.sos(), broken).unwrap();
        service.wait_for("the file to be held", |it| said(&it.stderr(), "held: ") > before);
        heard.run(loud(&site).args(["record", "sos"]));
        heard.run(loud(&site).args(["preview", "sos", "--explain"]));
        heard.run(loud(&site).args(["status", "--format", "json"]));
        heard.run(salver_in(&site.path("try-out")).arg("record").arg(site.sos()));
        service.wait_for_an_idle_look_after(|| fs::write(site.sos(), SOS).unwrap());
    }
    let ended = service.stop();
    heard.0 += &[ended.stdout, ended.stderr].concat().join("\n");
    heard.0 += &site.raw_spool();
    heard.assert_silent_about(CANARY);
    assert!(heard.hold("line 2, column"), "where the file is wrong is said nevertheless");
}

#[test]
fn a_wrong_settings_file_is_not_quoted() {
    let site = Site::of_sos(SOS);
    let wrong = [
        "posthog: {apiKey: phx_canary}\n",
        "posthog: {apiKey: 'phc_canary canary'}\n",
        "posthog: {host: 'https://canary:canary@posthog.example'}\n",
        "posthog: {host: canary.example}\n",
        "posthog: {proxy: 'http://canary:canary canary@proxy'}\n",
        "posthog: {apiKey: 'phc_canary}\n",
        "posthog:\n  apiKey: phc_canary\n  apiKey: phc_canary\n",
        "flush: {every: canary}\n",
        "posthog: [phc_canary]\n",
    ];
    for text in wrong {
        site.settings(text);
        let mut heard = Heard::default();
        let output = loud(&site).arg("status").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}: {}", err(&output));
        heard.run(loud(&site).arg("status"));
        heard.assert_silent_about(CANARY);
    }
}

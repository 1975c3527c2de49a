//! Promise: whatever keeps records from arriving, `salver doctor` names it with the next step, stores nothing anywhere, and says
//! nothing that it should not.

use std::fs;
use std::process::Command;

use serde_json::Value as Json;

use crate::support::posthog::{PostHog, Scripted};
use crate::support::site::{SOS, Site};
use crate::support::tcp_server::UNREACHABLE;
use crate::support::tls::{Certificate, Tls, can_trust_a_ca_file};
use crate::support::{err, expect, json, out, salver};

const KEY: &str = "phc_test";

fn site(posthog: &str) -> Site {
    let site = Site::of_sos(SOS);
    site.settings(&format!(
        "posthog: {{{posthog}}}\nflush: {{timeout: 5s}}\ninstances: [{{name: sos, configFile: config/sos.yaml, \
         serviceVersion: 15.0.0}}]\n"
    ));
    site
}

fn site_of(posthog: &PostHog) -> Site {
    site(&format!("host: '{}', apiKey: {KEY}", posthog.url()))
}

/// What the doctor finds, as `check level: text -> next`.
fn findings(command: &mut Command, code: i32) -> Vec<String> {
    let report = json(&expect(command.args(["doctor", "--format", "json"]), code));
    let line = |it: &Json| {
        let part = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {} -> {}", part("check"), part("level"), part("text"), part("next"))
    };
    report["findings"].as_array().unwrap().iter().map(line).collect()
}

/// The finding of a check that is no `ok`.
fn bad<'a>(findings: &'a [String], check: &str) -> &'a str {
    let bad = findings.iter().find(|it| {
        it.starts_with(&format!("{check} failure")) || it.starts_with(&format!("{check} warning"))
    });
    bad.unwrap_or_else(|| panic!("nothing is wrong with {check}: {findings:#?}"))
}

#[test]
fn where_all_is_well_each_step_is_said_to_work_and_nothing_is_stored() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    expect(site.salver().arg("record"), 0);
    let before = site.uuids();
    let found = findings(&mut site.salver(), 0);
    for check in ["settings", "spool", "space", "file", "clock", "key", "proxy", "name", "tcp", "posthog"] {
        assert!(found.iter().any(|it| it.starts_with(&format!("{check} ok:"))), "{check}: {found:#?}");
    }
    assert!(bad(&found, "tls").contains("plain http"), "{found:#?}");
    assert!(found.iter().any(|it| it.contains("answers 200 to an unknown key")), "{found:#?}");
    assert_eq!((posthog.events().len(), posthog.requests(), site.uuids()), (0, 1, before));
    let text = out(&expect(site.salver().arg("doctor"), 0));
    assert!(text.contains("ok       posthog") && text.contains("0 failures"), "{text}");
    assert!(!text.contains(KEY), "{text}");
}

#[test]
fn what_is_not_there_yet_is_a_warning() {
    let found = findings(&mut site("").salver(), 0);
    assert!(bad(&found, "spool").contains("no spool yet"));
    assert!(bad(&found, "posthog").contains("nothing is sent"));
    let site = Site::of_sos(SOS);
    site.settings("instances: []\n");
    assert!(bad(&findings(&mut site.salver(), 0), "file").contains("no instance"));
}

#[test]
fn settings_that_cannot_be_read_are_the_only_finding() {
    let found = findings(salver().args(["--config", "/nowhere/salver.yaml"]), 1);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(bad(&found, "settings").contains("salver.yaml"));
    let site = Site::of_sos(SOS);
    site.settings("posthog: {host: 'https://me:hunter2@posthog.example'}\n");
    let found = findings(&mut site.salver(), 1);
    assert!(bad(&found, "settings").contains("posthog.host") && !found.concat().contains("hunter2"));
}

#[test]
fn a_config_file_that_gives_no_record_is_named_with_the_reason_and_never_quoted() {
    let site = site("");
    let sos = |text: &str| {
        site.write("config/sos.yaml", text);
        let output = site.salver().args(["doctor", "--format", "json"]).output().unwrap();
        let said = out(&output) + &err(&output);
        assert!(!said.contains("hunter2"), "{said}");
        let report = json(&output);
        let findings = report["findings"].as_array().unwrap();
        let file = findings.iter().find(|it| it["check"] == "file" && it["level"] != "ok").unwrap().clone();
        (file["level"].as_str().unwrap().to_owned(), file["text"].as_str().unwrap().to_owned())
    };
    let (level, text) = sos("Butler-SOS:\n  password: [hunter2\n  b: c\n");
    assert!(level == "failure" && text.contains("sos.yaml"), "{text}");
    let (level, text) = sos(&SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    assert!(level == "warning" && text.contains("anonTelemetry"), "{text}");
    let (level, text) = sos("other: hunter2\n");
    assert!(level == "failure" && text.contains("Butler-SOS"), "{text}");
    fs::remove_file(site.path("config/sos.yaml")).unwrap();
    let found = findings(&mut site.salver(), 1);
    assert!(bad(&found, "file").contains("sos.yaml"));

    site.write("config/sos.yaml", SOS);
    let found = findings(site.salver().env("DO_NOT_TRACK", "1"), 0);
    assert!(bad(&found, "file").contains("DO_NOT_TRACK"));
}

#[test]
fn a_key_of_another_form_is_a_warning() {
    let posthog = PostHog::start();
    let site = site(&format!("host: '{}', apiKey: my_own_key", posthog.url()));
    let found = findings(&mut site.salver(), 0);
    assert!(bad(&found, "key").contains("phc_") && !found.concat().contains("my_own_key"), "{found:#?}");
}

#[test]
fn a_line_that_leads_nowhere_is_named_where_it_ends() {
    let found = findings(&mut site(&format!("host: '{UNREACHABLE}', apiKey: {KEY}")).salver(), 1);
    assert!(bad(&found, "tcp").contains("refused") && bad(&found, "tcp").contains("firewall"), "{found:#?}");
    let found = findings(&mut site(&format!("host: 'https://posthog.invalid', apiKey: {KEY}")).salver(), 1);
    assert!(bad(&found, "name").contains("DNS"), "{found:#?}");
    assert!(!found.iter().any(|it| it.starts_with("tcp ")), "what could not be asked is not answered");
}

#[test]
fn an_answer_that_is_not_posthogs_is_judged_as_a_flush_would() {
    for (answer, said) in [
        (Scripted::Html, "portal"),
        (Scripted::Status(401, "API key is not valid"), "posthog.apiKey"),
        (Scripted::Status(404, "no such page"), "posthog.host"),
        (Scripted::Reply(302, &[("Location", "https://login.example/")], ""), "posthog.host"),
        (Scripted::Status(503, "transient error"), "out of order"),
        (Scripted::HangUp, "broke off"),
    ] {
        let posthog = PostHog::start();
        posthog.answer_next(answer.clone());
        let found = findings(&mut site_of(&posthog).salver(), 1);
        assert!(bad(&found, "posthog").contains(said), "{answer:?}: {found:#?}");
    }
}

#[test]
fn a_clock_that_differs_from_posthogs_is_a_failure() {
    let posthog = PostHog::start();
    let date = &[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")];
    posthog.answer_next(Scripted::Reply(400, date, "failed to parse request: submitted an empty batch"));
    let found = findings(&mut site_of(&posthog).salver(), 1);
    assert!(bad(&found, "clock").contains("ahead of PostHog's clock"), "{found:#?}");
}

#[test]
fn a_certificate_is_told_by_its_issuer_whether_it_is_trusted_or_not() {
    if !can_trust_a_ca_file() {
        return;
    }
    let posthog = PostHog::start();
    let cases = [
        (Certificate::Good, false, "not trusted"),
        (Certificate::Good, true, ""),
        (Certificate::Expired, true, "expired"),
        (Certificate::OfAnother, true, "another name"),
    ];
    for (certificate, trusted, fault) in cases {
        let tls = Tls::before(posthog.address(), certificate);
        let ca = if trusted { ", caFile: ca.pem" } else { "" };
        let site = site(&format!("host: '{}', apiKey: {KEY}{ca}", tls.url()));
        site.write("ca.pem", &tls.authority);
        let found = findings(&mut site.salver(), i32::from(!fault.is_empty()));
        let said = found.iter().find(|it| it.starts_with("tls ")).unwrap();
        assert!(said.contains("Inspecting Proxy of Example Ltd") && said.contains(fault), "{found:#?}");
        assert_eq!(found.iter().any(|it| it.starts_with("posthog ok")), fault.is_empty(), "{found:#?}");
    }
    assert_eq!((posthog.requests(), posthog.events().len()), (1, 0));
}

#[test]
fn a_proxy_is_named_without_its_password_and_so_are_those_that_are_not_used() {
    let posthog = PostHog::start();
    let site = site(&format!("host: 'https://posthog.example', apiKey: {KEY}"));
    let proxied = |variable: &str, value: &str| {
        let mut command = site.salver();
        let output = command.env(variable, value).args(["doctor", "--format", "json"]).output().unwrap();
        let said = out(&output) + &err(&output);
        assert!(!said.contains("hunter2"), "{said}");
        said
    };
    // It answers CONNECT with a status of its own.
    posthog.answer_next(Scripted::Status(407, "who are you"));
    let said = proxied("HTTPS_PROXY", &posthog.url().replace("//", "//me:hunter2@"));
    assert!(said.contains("from the environment, with a name and a password"), "{said}");
    assert!(said.contains("left to the proxy to look up") && said.contains("NTLM"), "{said}");
    assert!(proxied("HTTPS_PROXY", "http://hunter2.example/proxy.pac").contains("PAC file"));
    assert!(proxied("HTTPS_PROXY", "gopher://hunter2").contains("not the URL of a proxy"));
    assert!(proxied("NO_PROXY", "10.0.0.0/8").contains("address ranges"));
}

#[cfg(unix)]
#[test]
fn a_spool_that_others_may_read_is_a_failure_with_the_command_that_shuts_it() {
    use std::os::unix::fs::PermissionsExt;
    let site = site("");
    expect(site.salver().arg("record"), 0);
    fs::set_permissions(site.spool(), fs::Permissions::from_mode(0o755)).unwrap();
    let found = findings(&mut site.salver(), 1);
    assert!(bad(&found, "spool").contains("chmod 700"), "{found:#?}");
}

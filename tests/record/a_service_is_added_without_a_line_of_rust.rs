//! Promise: what is reported is data. A folder with one catalogue more adds a service, or overrides a built-in one, from the first
//! look to the request; and a catalogue with a slip, or one that others could have written, is refused.

use std::fs;
use std::path::Path;

use crate::support::posthog::PostHog;
use crate::support::site::{SOS, Site};
use crate::support::{err, expect, json, out};
use serde_json::{Value as Json, json};

/// In the structure of Butler Auth 1.0.1's own template.
const AUTH: &str = "\
ButlerAuth:
    anonTelemetry: true
    logLevel: info
    heartbeat:
        enable: true
        remoteURL: http://monitor.example/alive
    server:
        rest:
            host: auth.example
            tls:
                enable: true
                password: very-secret
        web:
            tls:
                enable: false
    authProvider:
        localFile:
            enable: false
        singleUser:
            enable: true
            userId: lindqvist
        ldap:
            enable: very-secret
        keycloak:
            enable: true
            clientSecret: very-secret
";

/// A site with Butler Auth, the worked example as its catalogue, and settings that name both.
fn site() -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/auth.yaml", AUTH);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/catalogues/butler-auth.yaml");
    fs::create_dir(site.path("catalogues")).unwrap();
    fs::copy(example, site.path("catalogues/butler-auth.yaml")).unwrap();
    settings(&site, "{}");
    site
}

fn settings(site: &Site, posthog: &str) {
    site.settings(&format!(
        "watch: {{settle: 10ms}}\nposthog: {posthog}\ncatalogues: [catalogues]\ninstances:\n  \
         - {{name: auth, configFile: config/auth.yaml}}\n  - {{name: sos, configFile: config/sos.yaml}}\n"
    ));
}

#[test]
fn the_worked_example_reports_a_third_service_beside_those_built_in() {
    let posthog = PostHog::start();
    let site = site();
    settings(&site, &format!("{{host: '{}', apiKey: phc_not_a_real_key}}", posthog.url()));
    let output = expect(site.salver().arg("record"), 0);
    assert!(
        err(&output).contains("auth: ") && err(&output).contains("1.0.1, the newest known"),
        "{}",
        err(&output)
    );
    let records = site.dump();
    let data = &records[0]["data"];
    assert_eq!((&data["service"], &data["serviceVersion"]), (&json!("butler-auth"), &json!("1.0.1")));
    assert_eq!(
        data["enabledFeatures"]["feature"],
        json!({
            "heartbeat": true, "dockerHealthCheck": false, "uptimeMonitor": false,
            "uptimeMonitor_storeInInfluxdb": false, "rateLimit": false,
            "tls": { "rest": true, "web": false },
            "provider": {
                "file": true, "ldap": false, "google": false, "facebook": false, "microsoft": false, "okta": false,
                "keycloak": true, "auth0": false,
            },
        })
    );
    assert_eq!(records[1]["data"]["service"], "butler-sos");
    expect(site.salver().arg("flush"), 0);
    let event = &posthog.events()[0]["properties"];
    assert_eq!((&event["service"], &event["feature_fileProvider"]), (&json!("butler-auth"), &json!(true)));
    let all = [site.raw_spool(), posthog.bodies().iter().map(Json::to_string).collect()].concat();
    for secret in ["very-secret", "auth.example", "monitor.example", "lindqvist"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[test]
fn explain_names_the_paths_of_a_service_from_disk_and_its_releases_differ_by_the_catalogue() {
    let site = site();
    let explained = json(&expect(site.salver().args(["preview", "auth", "--explain"]), 0));
    assert_eq!(explained["feature_fileProvider"]["decidedBy"], "ButlerAuth.authProvider.singleUser.enable");
    assert_eq!(
        explained["feature_ldapProvider"],
        json!({ "value": false, "decidedBy": null, "lookedAt": ["ButlerAuth.authProvider.ldap.enable"] })
    );
    let preview =
        |version: &str| expect(site.salver().args(["preview", "auth", "--service-version", version]), 0);
    assert!(!out(&preview("1.0.1-beta.1")).contains("auth0"), "a pre-release sorts below its release");
    assert!(out(&preview("1.0.1")).contains("auth0") && out(&preview("7.0.0")).contains("auth0"));
    let old = expect(site.salver().args(["preview", "auth", "--service-version", "0.9.0"]), 3);
    assert!(err(&old).contains("from 1.0.0 on"), "{}", err(&old));
}

#[test]
fn a_catalogue_of_the_same_name_replaces_the_built_in_one() {
    let site = site();
    let own = "service: butler-sos\ntopLevelKey: Butler-SOS\nsince: 1.0.0\nnewest: 2.0.0\nconsent: { key: anonTelemetry }\n\
               report:\n  - fields:\n      - { property: only_this, nested: only.this, path: mqttConfig.enable }\n";
    site.write("catalogues/sos.yml", own);
    let record = json(&expect(site.salver().args(["preview", "sos"]), 0));
    assert_eq!(record["data"]["enabledFeatures"], json!({ "only": { "this": false } }));
}

#[test]
fn a_catalogue_with_a_slip_ends_every_command_with_2_and_names_file_and_line_and_quotes_nothing() {
    let slips = [
        ("consent:", "consentt:", "line 20, column 1: this key is not known here; known are service"),
        (
            "path: heartbeat.enable }",
            "path: heartbeat.enable, rule: very-secret }",
            "this rule is not known; known are boolean",
        ),
        (
            "property: feature_rateLimit",
            "property: feature_heartbeat",
            "`feature_heartbeat` is written twice in one release",
        ),
        ("nested: feature.tls.web", "nested: feature.tls", "lies below the other"),
        ("since: 1.0.1 }", "since: 1.0.1, until: 1.0.1 }", "no release lies between"),
        ("property: feature_tlsWeb", "property: system_id", "written by salver itself or reserved"),
        (
            "topLevelKey: ButlerAuth",
            "topLevelKey: [very-secret]",
            "not a catalogue, or a value of the wrong shape",
        ),
    ];
    for (part, slip, words) in slips {
        let site = site();
        let file = site.path("catalogues/butler-auth.yaml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(part), "{part}");
        fs::write(&file, text.replacen(part, slip, 1)).unwrap();
        for command in [["preview", "sos"], ["record", "auth"]] {
            let output = expect(site.salver().args(command), 2);
            assert!(
                err(&output).contains("butler-auth.yaml, line ") && err(&output).contains(words),
                "{}",
                err(&output)
            );
            assert!(!err(&output).contains("very-secret"), "{}", err(&output));
        }
        assert!(!site.spool().exists(), "nothing is done with half a catalogue");
    }
}

#[test]
fn a_folder_of_config_files_in_the_place_of_catalogues_is_refused_and_not_quoted() {
    let site = site();
    site.settings("catalogues: [config]\ninstances: [{name: sos, configFile: config/sos.yaml}]\n");
    let output = expect(site.salver().arg("record"), 2);
    assert!(err(&output).contains("auth.yaml, line 1, column 1"), "{}", err(&output));
    for word in ["ButlerAuth", "heartbeat", "very-secret", "anonTelemetry"] {
        assert!(!err(&output).contains(word), "{word}: {}", err(&output));
    }
}

/// Windows has other rights, which are inherited from the folder.
#[cfg(unix)]
#[test]
fn a_catalogue_that_everybody_may_write_is_not_obeyed() {
    use std::os::unix::fs::PermissionsExt;
    let site = site();
    let file = site.path("catalogues/butler-auth.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let output = expect(site.salver().arg("record"), 2);
    assert!(err(&output).contains("butler-auth.yaml: everybody may write to it"), "{}", err(&output));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    expect(site.salver().arg("record"), 0);
}

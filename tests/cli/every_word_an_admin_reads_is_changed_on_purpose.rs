//! Promise: help, reports and error texts are written for people, so a change to one of them is
//! read before it lands.
//!
//! `snapshots/` holds them as they are. `INSTA_UPDATE=always` writes those that changed; `git diff`
//! shows what changed.

use std::fs;
use std::path::Path;

use crate::support::folders::{NOW, marker_of, spool_folder};
use crate::support::posthog::{PostHog, Scripted};
use crate::support::site::{BUTLER, SOS, Site};
use crate::support::tcp_server::UNREACHABLE;
use crate::support::transcript::Transcript;
use crate::support::{err, expect, salver, salver_in};

/// Two instances of known releases, with a host where nothing listens.
fn site() -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    lead_to(&site, UNREACHABLE);
    site
}

fn lead_to(site: &Site, host: &str) {
    site.write(
        "salver.yaml",
        &format!(
            "spool: {{directory: spool, wait: 100ms}}\nflush: {{patience: 1s}}\n\
             posthog: {{host: '{host}', apiKey: phc_not_a_real_key}}\ninstances:\n  \
             - {{name: butler, configFile: config/butler.yaml, serviceVersion: 15.1.0}}\n  \
             - {{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}\n"
        ),
    );
}

#[test]
fn the_help_of_the_program_and_of_every_command() {
    let mut all = Transcript::of(Path::new("."));
    let help = all.run("salver --help", salver().arg("--help"));
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = commands.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("     "));
    for name in names.map(|line| line.split_whitespace().next().unwrap()) {
        all.run(&format!("salver {name} --help"), salver().args([name, "--help"]));
    }
    all.assert_is("help");
}

/// A life of a spool: nothing yet, two records, one instance whose consent is withdrawn and one
/// whose file is gone, a refusal.
#[test]
fn the_reports_of_status_and_doctor() {
    let site = site();
    let mut reports = Transcript::of(&site.path(""));
    let mut report = |when: &str| {
        for command in ["status", "doctor"] {
            reports.run(&format!("{command}, {when}"), site.salver().arg(command));
        }
    };
    report("before the first record");
    expect(site.salver().arg("record"), 0);
    report("with two records");
    expect(site.salver().arg("flush"), 4);
    site.write("config/butler.yaml", &BUTLER.replace("anonTelemetry: true", "anonTelemetry: false"));
    fs::remove_file(site.sos()).unwrap();
    expect(site.salver().arg("record"), 1);
    report("without a consent, a config file and a line");
    site.write("config/sos.yaml", SOS);
    let posthog = PostHog::start();
    lead_to(&site, &posthog.url());
    posthog.answer_next(Scripted::Status(401, "API key invalid"));
    expect(site.salver().arg("flush"), 4);
    report("with a key that was refused");
    reports.assert_is("reports");
}

#[test]
fn the_errors_of_settings() {
    let site = Site::of_sos(SOS);
    let mut errors = Transcript::of(&site.path(""));
    errors.run("no settings file", site.salver().arg("status"));
    for text in [
        "flush:\n  mod: auto\n",
        "flsh: {}\n",
        "spool: {wait: 10 parsecs}\n",
        "spool: {wait: 10}\n",
        "spool: {wait: 2d}\n",
        "spool: {maxBytes: 7 GiP}\n",
        "spool: {maxRecords: many}\n",
        "spool: {}\nspool: {}\n",
        "flush: {mode: sometimes}\n",
        "posthog: {apiKey: phx_a_personal_key}\n",
        "posthog: {host: 'ftp://posthog.example'}\n",
        "posthog: {host: 'https://name:password@posthog.example'}\n",
        "posthog: {host: 'http://posthog.example', apiKey: phc_test}\n",
        "instances: [{name: sos}]\n",
        "instances: [{configFile: sos.yaml, serviceVersion: newest}]\n",
        "instances: [{name: sos, configFile: a.yaml}, {name: sos, configFile: b.yaml}]\n",
        "instances: sos.yaml\n",
        "spool: [\n",
        "catalogues: [nowhere]\n",
    ] {
        site.write("salver.yaml", text);
        errors.run(text.trim_end(), site.salver().arg("record"));
    }
    site.settings("");
    errors.run("flush without a host", site.salver().arg("flush"));
    site.settings("posthog: {host: 'https://eu.posthog.com'}\n");
    errors.run("flush without a key", site.salver().arg("flush"));
    errors.assert_is("errors_of_settings");
}

#[test]
fn the_errors_of_the_command_line() {
    let site = site();
    let mut errors = Transcript::of(&site.path(""));
    for arguments in [
        &["fetch"][..],
        &["dump", "--colour"],
        &["dump", "--format", "xml"],
        &["dump", "--since", "yesterday"],
        &["dump", "--limit", "many"],
        &["purge"],
        &["pause"],
        &["preview"],
        &["record", "nobody"],
        &["preview", "nobody"],
        &["pause", "nobody"],
        &["id", "sos", "--adopt", "59fefbf4"],
    ] {
        errors.run(&format!("salver {}", arguments.join(" ")), site.salver().args(arguments));
    }
    errors.assert_is("errors_of_the_command_line");
}

#[test]
fn the_errors_of_the_spool() {
    let site = site();
    let mut errors = Transcript::of(&site.path(""));
    for arguments in [&["dump"][..], &["purge", "--all", "--yes"], &["id", "--history"]] {
        errors.run(&format!("{}, no spool yet", arguments.join(" ")), site.salver().args(arguments));
    }
    let mut record = |what: &str, place: &Path| {
        errors.run(what, salver_in(place).arg("--config").arg(site.path("salver.yaml")).arg("record"));
    };
    let folder = |name: &str, files: &[&str]| {
        fs::create_dir(site.path(name)).unwrap();
        files.iter().for_each(|file| site.write(&format!("{name}/{file}"), "text of somebody else"));
        site.path(name)
    };
    site.write("a-file", "");
    record("a file", &site.path("a-file"));
    record("a folder with other files", &folder("notes", &["notes.txt"]));
    record("a database of another program", &folder("theirs", &["conf", "db"]));
    record("a marker of another program", &folder("marked", &["SALVER-SPOOL"]));
    expect(site.salver().arg("record"), 0);
    let marker = site.spool().join("SALVER-SPOOL");
    let ours = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, marker_of(999)).unwrap();
    record("a format of a later version", &site.spool());
    fs::write(&marker, marker_of(1)).unwrap();
    record("a format from before the first release", &site.spool());
    fs::write(&marker, ours).unwrap();
    let held = spool_folder(&site.spool()).open(NOW).unwrap();
    errors.run("a spool that is held", site.salver().args(["record", "--force"]));
    held.close().unwrap();
    errors.assert_is("errors_of_the_spool");
}

#[test]
fn the_words_about_damage_and_its_repair() {
    let site = site();
    expect(site.salver().arg("record"), 0);
    let mut words = Transcript::of(&site.path(""));
    let mut run = |what: &str, arguments: &[&str]| {
        words.run(what, site.salver().args(arguments));
    };
    fs::write(site.spool().join("manifest.0"), "damaged").unwrap();
    run("record, with one of two copies damaged", &["record"]);
    run("status, after that", &["status", "--acknowledge"]);
    for name in ["manifest.0", "manifest.1"] {
        fs::write(site.spool().join(name), "damaged").unwrap();
    }
    run("status, with both damaged", &["status"]);
    run("doctor, with both damaged", &["doctor"]);
    run("record, with both damaged", &["record"]);
    run("status, after that", &["status", "--acknowledge"]);
    for folder in fs::read_dir(site.spool()).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.file_name().unwrap().to_string_lossy().starts_with("seg-") {
            fs::remove_dir_all(folder).unwrap();
        }
    }
    run("dump, with its folders missing", &["dump"]);
    run("resume, with its folders missing", &["resume", "butler"]);
    run("status, after that", &["status", "--check"]);
    words.assert_is("words_about_damage");
}

#[test]
fn the_receipt_of_a_purge() {
    let site = site();
    expect(site.salver().arg("record"), 0);
    let mut receipts = Transcript::of(&site.path(""));
    let mut run = |what: &str, arguments: &[&str]| {
        receipts.run(what, site.salver().arg("purge").args(arguments));
    };
    run("what would be erased", &["--service", "butler", "--dry-run"]);
    run("what was erased", &["--service", "butler", "--yes"]);
    run("everything, and no more collecting", &["--all", "--stop-collecting", "--yes"]);
    run("nothing is left", &["--all", "--yes"]);
    receipts.assert_is("receipts");
}

/// Modes are checked on Unix only.
#[cfg(unix)]
#[test]
fn the_errors_of_rights() {
    use crate::support::modes::chmod;

    let site = site();
    expect(site.salver().arg("record"), 0);
    let mut errors = Transcript::of(&site.path(""));
    chmod(&site.spool(), 0o750);
    errors.run("a spool that others may enter", site.salver().arg("record"));
    chmod(&site.spool(), 0o700);
    chmod(&site.path("salver.yaml"), 0o666);
    errors.run("settings that others may write", site.salver().arg("record"));
    errors.assert_is("errors_of_rights");
}

#[test]
fn the_errors_of_config_files() {
    let site = site();
    let mut errors = Transcript::of(&site.path(""));
    let mut record = |what: &str| {
        errors.run(what, site.salver().args(["record", "sos"]));
    };
    for text in [
        "",
        "Wheatley:\n  enable: true\n",
        "Butler-SOS:\n",
        "Butler-SOS:\n    logLevel: [info\n",
        "Butler-SOS:\n\tlogLevel: info\n",
        "Butler-SOS: {}\nButler-SOS: {}\n",
        "Butler-SOS: *nowhere\n",
        "Butler-SOS: {anonTelemetry: true}\nButler: {anonTelemetry: true}\n",
        "Butler-SOS:\n    anonTelemetry: 'true'\n    heartbeat:\n        enable: true\n",
    ] {
        site.write("config/sos.yaml", text);
        record(if text.is_empty() { "an empty file" } else { text.trim_end() });
    }
    fs::write(site.sos(), b"\xff\xfeB\0u\0t\0l\0e\0r\0").unwrap();
    record("UTF-16");
    fs::write(site.sos(), b"Butler-SOS: J\xf6rg\n").unwrap();
    record("Latin-1");
    fs::write(site.sos(), vec![b'#'; 5 << 20]).unwrap();
    record("five megabytes");
    fs::remove_file(site.sos()).unwrap();
    record("no file");
    fs::create_dir(site.sos()).unwrap();
    record("a folder");
    errors.assert_is("errors_of_config_files");
}

#[test]
fn the_errors_of_a_flush() {
    let site = site();
    expect(site.salver().arg("record"), 0);
    let mut errors = Transcript::of(&site.path(""));
    // A last try with hardly any patience left ends in the lookup of the name, or in silence.
    let flush = |site: &Site| {
        let out_of_patience = ["could not be looked up", "fell silent"];
        let mut outputs = (0..10).map(|_| site.salver().arg("flush").output().unwrap());
        outputs.find(|output| !out_of_patience.iter().any(|words| err(output).contains(words))).unwrap()
    };
    errors.note("nothing listens there", &flush(&site));
    for (what, answer) in [
        ("401", Scripted::Status(401, "API key is not valid: personal_api_key")),
        ("a redirect", Scripted::Reply(302, &[("location", "https://login.example")], "")),
        ("the page of a portal", Scripted::Html),
        ("429", Scripted::Reply(429, &[("retry-after", "60")], "")),
        ("503", Scripted::Status(503, "unavailable")),
        ("the end of the connection", Scripted::HangUp),
        ("413 of a proxy", Scripted::Reply(413, &[("content-type", "text/html")], "<html>too large</html>")),
    ] {
        let posthog = PostHog::start();
        lead_to(&site, &posthog.url());
        // How often it is tried depends on chance.
        (0..20).for_each(|_| posthog.answer_next(answer.clone()));
        errors.note(what, &flush(&site));
    }
    errors.assert_is("errors_of_a_flush");
}

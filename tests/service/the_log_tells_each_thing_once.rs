//! The log is read by people, by journals and by programs: no line comes more often than it tells
//! something new, trouble that heals by itself is not told at all, and a closed log does not stop
//! the service.

use std::fs;

use crate::support::service::{Service, said, until};
use crate::support::site::{SOS, Site, flip};
use serde_json::Value as Json;

fn site(settle: &str, poll: &str) -> Site {
    let site = Site::of_sos(SOS);
    let instances = "instances: [{name: sos, configFile: config/sos.yaml}]";
    site.settings(&format!("watch: {{settle: {settle}, poll: {poll}}}\n{instances}\n"));
    site
}

#[test]
fn what_lasts_is_told_once_with_its_reason_and_once_when_it_is_over() {
    let site = Site::of_sos(SOS);
    site.write("config/sound.yaml", SOS);
    site.settings(
        "watch: {settle: 20ms, poll: 1s}\ninstances:\n  - {name: sos, configFile: config/sos.yaml}\n  \
         - {name: sound, configFile: config/sound.yaml}\n",
    );
    let mut service = Service::start(site.salver().args(["-vv", "run"]));
    service.wait_for_records(2);
    for _ in 0..2 {
        service.wait_for_words_after(" held: ", || site.write("config/sos.yaml", "Butler-SOS: {a: [\n"));
        let why = site.status()["instances"][0]["why"].as_str().unwrap().to_owned();
        assert!(why.starts_with("held: ") && why.contains("not valid YAML"), "{why}");
        service.wait_for_words_after(" held: ", || fs::remove_file(site.sos()).unwrap());
        // Two polls see both files.
        let looks = service.idle_looks();
        service.wait_for("two polls", |it| it.idle_looks() >= looks + 2);
        service.wait_for_words_after("no longer held", || site.write("config/sos.yaml", SOS));
        until("the status to tell it", || site.status()["instances"][0]["collecting"] == true);
    }
    let ended = service.stop();
    let told: Vec<String> = ended.stderr.into_iter().filter(|line| line.contains("held")).collect();
    for words in ["not valid YAML", "no such file", "no longer held"] {
        assert_eq!(said(&told, words), 2, "{words}: {told:#?}");
    }
}

#[test]
fn what_heals_by_itself_is_not_worth_a_word() {
    let site = site("300ms", "1h");
    let mut service = Service::start(site.salver().args(["-vv", "run"]));
    service.wait_for_records(1);
    let mut config = SOS.to_owned();
    for round in 0..3 {
        service.wait_for_words_after("is tried again", || fs::remove_file(site.sos()).unwrap());
        config = flip(&config, "heartbeat");
        site.write("config/sos.yaml", &config);
        service.wait_for_records(round + 2);
    }
    let ended = service.stop();
    assert_eq!(said(&ended.stderr, "held"), 0, "{:#?}", ended.stderr);
    assert_eq!(said(&ended.stderr, "WARN"), 0);
}

#[test]
fn each_log_line_is_an_object_when_json_is_asked_for() {
    let site = site("20ms", "1h");
    let mut service = Service::start(site.salver().args(["-v", "--log-format", "json", "run"]));
    service.wait_for("the record", |it| said(&it.stderr(), "\"recorded\"") == 1);
    service.wait_for_words_after("nothing that is reported", || {
        site.write("config/sos.yaml", &SOS.replace("12398", "12399"));
    });
    let ended = service.stop();
    let lines: Vec<Json> = ended.stderr.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let recorded = lines.iter().find(|line| line["message"] == "recorded").unwrap();
    assert_eq!((&recorded["level"], &recorded["instance"]), (&"INFO".into(), &"sos".into()));
    assert_eq!(
        (&recorded["uuid"], &recorded["reason"]),
        (&site.uuids()[0].as_str().into(), &"started".into())
    );
    assert!(recorded["timestamp"].is_string());
    assert!(!ended.stderr.concat().contains("12399"), "and no value of the file");
}

/// What systemd does: stderr is a socket or pipe, and the variable names it.
#[cfg(target_os = "linux")]
#[test]
fn the_journal_gets_no_times_and_everybody_else_does() {
    let line_of = |script: &str| {
        let site = site("20ms", "1h");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_salver")).arg(site.path("salver.yaml"));
        let mut service = Service::start(&mut command);
        service.wait_for("the record", |it| said(&it.stderr(), " recorded ") == 1);
        let lines = service.stop().stderr;
        lines.iter().find(|line| line.contains(" recorded ")).unwrap().clone()
    };
    let run = "\"$0\" --config \"$1\" run";
    let journal = line_of(&format!("JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec {run}"));
    assert!(journal.starts_with(" INFO recorded "), "{journal}");
    let redirected = line_of(&format!("JOURNAL_STREAM=1:1 exec {run}"));
    assert!(redirected.starts_with("20") && redirected.contains("Z  INFO recorded "), "{redirected}");
}

/// The reader of a pipe that goes away: `salver run 2>&1 | head -1`.
#[cfg(unix)]
#[test]
fn a_service_whose_readers_have_gone_goes_on_recording() {
    let site = site("20ms", "1h");
    let script = "exec \"$0\" --spool \"$1\" run --watch \"$2\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_salver")).arg(site.spool()).arg(site.sos());
    command.env_remove("SALVER_CONFIG").env_remove("SALVER_SPOOL");
    let mut service = Service::start_unheard(&mut command);
    // Nothing is to be heard, so the spool is asked; at first there is none.
    let records = || {
        let output =
            crate::support::salver_in(&site.spool()).args(["dump", "--format", "ndjson"]).output().unwrap();
        crate::support::out(&output).lines().count()
    };
    until("the first record", || records() == 1);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    until("the second record", || records() == 2);
    site.write("config/sos.yaml", "");
    site.write("config/sos.yaml", SOS);
    until("the third record", || records() == 3);
    service.signal("TERM");
    assert_eq!(service.ended().code, Some(0));
}

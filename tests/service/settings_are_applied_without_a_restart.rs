//! A running service does what its settings say: an edit of the settings file, or of what it names, is applied by itself and whole, SIGHUP
//! asks for it, and settings that are no good change nothing but the log, which says so once.

use std::fs;

use crate::support::posthog::PostHog;
use crate::support::service::{Service, said, until};
use crate::support::site::{BUTLER, SOS, Site, flip};

const APPLIED: &str = "the settings were read anew and are applied";
const REFUSED: &str = "the settings cannot be applied";

const WATCH: &str = "watch: {settle: 20ms, poll: 1h}\n";
const ONE: &str = "instances:\n  - {name: sos, configFile: config/sos.yaml}\n";
const OTHER: &str = "  - {name: butler, configFile: config/butler.yaml}\n";

fn site() -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    site.settings(&format!("{WATCH}{ONE}"));
    site
}

fn run(site: &Site) -> Service {
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    service
}

fn instances(site: &Site) -> Vec<String> {
    let records = site.dump();
    records.iter().map(|record| record["spool"]["instance"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_instance_that_is_added_is_watched_and_one_that_is_removed_is_not() {
    let site = site();
    let mut service = run(&site);
    service.wait_for_words_after(APPLIED, || site.settings(&format!("{WATCH}{ONE}{OTHER}")));
    service.wait_for_records(2);
    site.write("config/butler.yaml", &flip(BUTLER, "mqttConfig"));
    service.wait_for_records(3);
    service.wait_for_words_after(APPLIED, || {
        site.settings(&format!("{WATCH}{}", ONE.replace("name: sos", "name: other")));
    });
    service.wait_for_records(4);
    site.write("config/butler.yaml", BUTLER);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for_records(5);
    let ended = service.stop();
    assert_eq!(instances(&site), ["sos", "butler", "butler", "other", "other"], "none is recorded twice");
    assert_eq!(said(&ended.stdout, "Instance ID : "), 3, "each is introduced once");
}

#[test]
fn what_does_not_change_the_settings_restarts_nothing() {
    let site = site();
    let mut service = run(&site);
    service.wait_for_words_after("means the same as before", || {
        site.settings(&format!("{WATCH}{ONE}# nothing new\n"));
    });
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for_records(2);
    let ended = service.stop();
    assert_eq!((said(&ended.stderr, APPLIED), said(&ended.stderr, REFUSED)), (0, 0));
}

#[test]
fn settings_that_are_no_good_change_nothing_and_are_said_once() {
    let site = site();
    let mut service = run(&site);
    let bad = [
        ("watch: {settle: 20 parsecs}\n", "watch.settle"),
        ("instances: []\n", "no instance"),
        ("instances: [{name: sos, configFile: config/butler.yaml}\n", "not valid YAML"),
        (&format!("{WATCH}{ONE}flush: {{mode: auto}}\n"), "posthog.host is not set"),
        (&format!("{WATCH}{ONE}catalogues: [nowhere]\n"), "nowhere"),
    ];
    let mut config = SOS.to_owned();
    for (number, (text, why)) in bad.into_iter().enumerate() {
        service.wait_for_words_after(REFUSED, || site.settings(text));
        let last = service.stderr().iter().rfind(|line| line.contains(REFUSED)).unwrap().clone();
        assert!(last.contains(why), "{why}: {last}");
        config = flip(&config, "heartbeat");
        site.write("config/sos.yaml", &config);
        service.wait_for_records(number + 2);
    }
    let before = service.stderr().len();
    service.wait_for_words_after("is again as it is applied", || site.settings(&format!("{WATCH}{ONE}")));
    let ended = service.stop();
    assert_eq!(said(&ended.stderr, REFUSED), 5, "each once: {:#?}", ended.stderr);
    assert_eq!(said(&ended.stderr[before..], APPLIED), 0);
}

#[test]
fn a_settings_file_that_is_gone_for_a_moment_is_not_worth_a_word() {
    let site = site();
    let mut service = run(&site);
    for _ in 0..3 {
        let gone = fs::remove_file(site.path("salver.yaml"));
        assert!(gone.is_ok() || cfg!(windows), "a reader may keep it from going there");
        site.settings(&format!("{WATCH}{ONE}"));
    }
    service.wait_for_words_after(APPLIED, || site.settings(&format!("{WATCH}{ONE}{OTHER}")));
    let ended = service.stop();
    assert_eq!(said(&ended.stderr, REFUSED), 0, "{:#?}", ended.stderr);
}

#[test]
fn forwarding_starts_changes_its_way_and_ends_with_the_settings() {
    let site = site();
    let (first, second) = (PostHog::start(), PostHog::start());
    let to = |posthog: &PostHog| {
        let (url, key) = (posthog.url(), "phc_not_a_real_key");
        format!("{WATCH}{ONE}posthog: {{host: '{url}', apiKey: {key}}}\nflush: {{mode: auto, every: 1s}}\n")
    };
    let mut service = run(&site);
    service.wait_for_words_after(APPLIED, || site.settings(&to(&first)));
    until("the first record at the first host", || first.uuids().len() == 1);
    service.wait_for_words_after(APPLIED, || site.settings(&to(&second)));
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    until("the second record at the second host", || second.uuids().len() == 1);
    service.wait_for_words_after(APPLIED, || site.settings(&format!("{WATCH}{ONE}")));
    site.write("config/sos.yaml", SOS);
    service.wait_for_records(3);
    let recorded = service.stop().recorded();
    assert_eq!((first.uuids(), second.uuids()), (recorded[..1].to_vec(), recorded[1..2].to_vec()));
    assert_eq!(site.uuids(), recorded[2..], "and nothing is sent any more");
}

#[cfg(unix)]
#[test]
fn sighup_asks_for_it_and_is_answered_at_once() {
    let site = site();
    let mut service = run(&site);
    // Nothing changed, and still somebody asked.
    service.wait_for_hang_up(APPLIED);
    // Where no event tells of an edit, as on a network share, it is a way to have it applied.
    site.settings("instances: 7\n");
    service.wait_for_hang_up(REFUSED);
    site.settings(&format!("{WATCH}{ONE}{OTHER}"));
    service.wait_for_hang_up(APPLIED);
    service.wait_for_records(2);
    let ended = service.stop();
    assert_eq!((ended.code, instances(&site)), (Some(0), vec!["sos".into(), "butler".into()]));
}

/// What is on the command line stays in force.
#[test]
fn the_command_line_lies_over_new_settings_as_it_did_over_the_old() {
    let site = site();
    let named = site.path("named");
    let mut command = site.salver();
    command.arg("--spool").arg(&named).args(["-v", "run", "--watch"]).arg(site.path("config/butler.yaml"));
    let mut service = Service::start(&mut command);
    service.wait_for_records(2);
    service.wait_for_words_after(APPLIED, || {
        site.write("salver.yaml", &format!("{WATCH}{ONE}spool: {{directory: spool, maxRecords: 9}}\n"))
    });
    site.write("config/butler.yaml", &flip(BUTLER, "mqttConfig"));
    service.wait_for_records(3);
    service.stop();
    assert_eq!(crate::support::dump(&named).len(), 3);
    assert!(!site.spool().exists());
}

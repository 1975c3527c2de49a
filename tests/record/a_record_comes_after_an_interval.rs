//! `record.interval`: an instance whose last record is that old is recorded although nothing changed. The spool remembers when that was, so a
//! restart neither skips a record nor doubles one.
//!
//! The shortest interval is a minute; nobody waits for it here. A record is made older by moving the clock with the last record: the
//! spool is written under a clock of the past.

use crate::support::expect;
use crate::support::folders::spool_folder;
use crate::support::service::Service;
use crate::support::site::{SOS, Site, flip};
use salver::clock;

const MINUTE: i64 = 60_000;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;

/// One instance with one record, under settings that poll once an hour.
fn site(interval: &str) -> Site {
    let site = Site::of_sos(SOS);
    let instances = "instances: [{name: sos, configFile: config/sos.yaml}]";
    site.settings(&format!(
        "watch: {{settle: 20ms, poll: 1h}}\n{instances}\nrecord: {{interval: {interval}}}\n"
    ));
    expect(site.salver().arg("record"), 0);
    site
}

/// Makes the last record so old, or, if that is negative, one of the future.
fn age(site: &Site, by_ms: i64) {
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
    let mut instance = spool.instance("sos").unwrap();
    instance.last_record_ms = Some(clock::now_ms() - by_ms);
    spool.put_instance("sos", instance);
    spool.close().unwrap();
}

/// Starts a service, and stops it after a look that found nothing to record, or after so many records.
fn run(site: &Site, records: usize) {
    let mut service = Service::start(site.salver().args(["-vv", "run"]));
    match records {
        0 => service.wait_for("a look", |it| it.idle_looks() > 0),
        _ => service.wait_for_records(records),
    }
    // Whoever looks at a change afterwards would have recorded an interval before.
    let config = std::fs::read_to_string(site.sos()).unwrap();
    service.wait_for_an_idle_look_after(|| site.write("config/sos.yaml", &format!("{config}# again\n")));
    assert_eq!(service.stop().recorded().len(), records);
}

#[test]
fn a_service_wakes_up_when_the_record_is_due_and_once() {
    let site = site("1m");
    age(&site, MINUTE - 2_000);
    run(&site, 1);
    assert_eq!(site.reasons(), ["started", "interval"]);
}

#[test]
fn a_restart_neither_skips_nor_doubles_it_and_an_absence_owes_one() {
    let site = site("12h");
    run(&site, 0);
    age(&site, YEAR);
    run(&site, 1);
    run(&site, 0);
    age(&site, 12 * 60 * MINUTE);
    run(&site, 1);
    run(&site, 0);
    assert_eq!(site.reasons(), ["started", "interval", "interval"]);
}

#[test]
fn a_last_record_of_the_future_gives_none_at_each_start() {
    let site = site("1m");
    age(&site, -YEAR);
    (0..3).for_each(|_| run(&site, 0));
    assert_eq!(site.reasons(), ["started"]);
}

#[test]
fn without_the_setting_nothing_is_recorded_however_old_the_last_record_is() {
    let site = site("off");
    age(&site, YEAR);
    run(&site, 0);
    assert_eq!(site.reasons(), ["started"]);
}

#[test]
fn a_change_counts_as_a_record_and_who_does_not_collect_owes_none() {
    let site = site("1m");
    age(&site, YEAR);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    run(&site, 1);
    assert_eq!(site.reasons(), ["started", "changed"]);
    // Off, held and paused: nothing is due, and nothing is tried again and again for it.
    age(&site, YEAR);
    expect(site.salver().args(["pause", "sos"]), 0);
    let mut service = Service::start(site.salver().args(["-vv", "run"]));
    service.wait_for_words_after("is false", || {
        site.write("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    });
    service.wait_for_words_after("held: ", || site.write("config/sos.yaml", ""));
    let ended = service.stop();
    assert_eq!(ended.recorded().len(), 0);
    assert!(ended.stderr.len() < 20, "{:#?}", ended.stderr);
}

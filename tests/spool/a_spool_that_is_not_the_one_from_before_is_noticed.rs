//! Promise 3: a record is written for the difference between the file and the last durable state of *this* spool. A
//! running service notices a spool that is put back from a backup, removed, or exchanged for another.

use std::fs;
use std::path::Path;

use crate::support::expect;
use crate::support::folders::copy;
use crate::support::service::{Service, said, until};
use crate::support::site::{BUTLER, SOS, Site, flip, reports};

const WATCH: &str = "watch: {settle: 20ms, poll: 1s}\n";

/// A site with one instance, and a poll in each second.
fn one() -> Site {
    let site = Site::of_sos(SOS);
    site.settings(&format!("{WATCH}instances: [{{name: sos, configFile: config/sos.yaml}}]\n"));
    site
}

fn run(site: &Site) -> Service {
    Service::start(site.salver().args(["-vv", "run"]))
}

/// Copies a spool in which nobody writes.
fn copy_spool(from: &Path, to: &Path) {
    copy(from, to);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// Puts another spool in the place of the one in use, which is moved away.
fn exchange(site: &Site, other: &Path, away: &str) {
    until("the spool to be moved", || fs::rename(site.spool(), site.path(away)).is_ok());
    fs::rename(other, site.spool()).unwrap();
}

/// Waits until a poll has found everything as it was, so that no worker is running.
fn wait_for_a_quiet_poll(service: &mut Service) {
    let quiet = |service: &Service| said(&service.stderr(), "the files are as they were");
    let before = quiet(service);
    service.wait_for("a quiet poll", |service| quiet(service) > before);
}

#[test]
fn what_a_backup_does_not_hold_is_recorded_again() {
    let site = one();
    let mut service = run(&site);
    service.wait_for_records(1);
    wait_for_a_quiet_poll(&mut service);
    copy_spool(&site.spool(), &site.path("backup"));
    let changed = flip(SOS, "heartbeat");
    site.replace("config/sos.yaml", &changed);
    service.wait_for_records(2);
    let lost = site.uuids()[1].clone();
    wait_for_a_quiet_poll(&mut service);
    exchange(&site, &site.path("backup"), "old");
    service.wait_for_records(3);
    service.stop();
    let records = site.dump();
    assert_eq!(site.reasons(), ["started", "changed"]);
    assert!(reports(&records[0], SOS) && reports(&records[1], &changed));
    assert_ne!(site.uuids()[1], lost, "written anew");
}

#[test]
fn a_spool_that_was_removed_is_made_again_with_the_present_state() {
    let site = one();
    let mut service = run(&site);
    service.wait_for_records(1);
    wait_for_a_quiet_poll(&mut service);
    fs::rename(site.spool(), site.path("old")).unwrap();
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.reasons(), ["started"]);
}

#[test]
fn another_spool_gets_what_it_does_not_hold_and_nothing_that_it_does() {
    // Spools of other sites, with instances of the same name: one in the present state, one in another.
    let (same, other) = (one(), one());
    other.replace("config/sos.yaml", &flip(SOS, "mqttConfig"));
    for site in [&same, &other] {
        expect(site.salver().arg("record"), 0);
    }
    let site = one();
    let mut service = run(&site);
    service.wait_for_records(1);
    wait_for_a_quiet_poll(&mut service);
    copy_spool(&other.spool(), &site.path("other"));
    exchange(&site, &site.path("other"), "first");
    service.wait_for_records(2);
    assert_eq!(site.reasons(), ["started", "changed"]);
    assert!(reports(&site.dump()[1], SOS));

    wait_for_a_quiet_poll(&mut service);
    copy_spool(&same.spool(), &site.path("same"));
    let compared = |service: &Service| said(&service.stderr(), "nothing that is reported changed");
    let before = compared(&service);
    exchange(&site, &site.path("same"), "second");
    // Its instance has another config file, so that is noted once; the state is the present one.
    service.wait_for("a comparison", |service| compared(service) > before);
    wait_for_a_quiet_poll(&mut service);
    assert_eq!(service.stop().recorded().len(), 2);
    assert_eq!(site.uuids(), same.uuids());
}

#[test]
fn a_change_of_one_instance_right_after_a_restore_does_not_hide_the_loss_of_another() {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    // Nothing but an event lets the service look at one of them alone.
    let instances =
        ["sos", "butler"].map(|name| format!("  - {{name: {name}, configFile: config/{name}.yaml}}\n"));
    site.settings(&format!(
        "watch: {{settle: 20ms, poll: 3s}}\ninstances:\n{}{}",
        instances[0], instances[1]
    ));
    let mut service = run(&site);
    service.wait_for_records(2);
    wait_for_a_quiet_poll(&mut service);
    copy_spool(&site.spool(), &site.path("backup"));
    let butler = flip(BUTLER, "heartbeat");
    site.replace("config/butler.yaml", &butler);
    service.wait_for_records(3);
    wait_for_a_quiet_poll(&mut service);
    exchange(&site, &site.path("backup"), "old");
    site.replace("config/sos.yaml", &flip(SOS, "prometheus"));
    service.wait_for_records(5);
    service.stop();
    let records = site.dump();
    let changed = |name: &str| {
        records
            .iter()
            .filter(|it| it["spool"]["instance"] == name && it["spool"]["reason"] == "changed")
            .count()
    };
    assert_eq!((records.len(), changed("sos"), changed("butler")), (4, 1, 1));
}

#[test]
fn records_that_a_backup_brings_back_are_erased_if_consent_was_withdrawn_since() {
    let site = one();
    let mut service = run(&site);
    service.wait_for_records(1);
    let uuids = site.uuids();
    wait_for_a_quiet_poll(&mut service);
    copy_spool(&site.spool(), &site.path("backup"));
    let erased = "unsent records were erased";
    service.wait_for_words_after(erased, || {
        site.replace("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    });
    wait_for_a_quiet_poll(&mut service);
    service.wait_for_words_after(erased, || exchange(&site, &site.path("backup"), "old"));
    service.stop();
    assert!(site.dump().is_empty() && !site.raw_spool().contains(&uuids[0]));
}

/// Also with an instance that collects nothing and one whose file cannot be read, of which the spool is told.
#[test]
fn a_spool_that_stays_the_same_costs_no_look() {
    let site = Site::of_sos(SOS);
    site.write("config/off.yaml", &BUTLER.replace("anonTelemetry: true", "anonTelemetry: false"));
    site.write("config/bad.yaml", "Butler: [");
    let instance = |name: &str| format!("  - {{name: {name}, configFile: config/{name}.yaml}}\n");
    let instances = ["sos", "off", "bad"].map(instance).concat();
    site.settings(&format!("{WATCH}instances:\n{instances}"));
    let mut service = run(&site);
    service.wait_for_records(1);
    service.wait_for("the bad file to be told", |service| said(&service.stderr(), " held: ") == 1);
    wait_for_a_quiet_poll(&mut service);
    wait_for_a_quiet_poll(&mut service);
    let looks = |service: &Service| {
        let lines = service.stderr();
        said(&lines, "nothing that is reported changed") + said(&lines, "a worker was started")
    };
    let before = looks(&service);
    (0..3).for_each(|_| wait_for_a_quiet_poll(&mut service));
    assert_eq!(looks(&service), before, "{:#?}", service.stderr());
    // A commit of another process costs one worker, which writes nothing.
    let problems = || site.status()["instances"].clone();
    expect(site.salver().args(["record", "--force", "sos"]), 0);
    let instances = problems();
    service.wait_for("a comparison", |service| looks(service) > before);
    wait_for_a_quiet_poll(&mut service);
    let after = looks(&service);
    (0..3).for_each(|_| wait_for_a_quiet_poll(&mut service));
    assert_eq!(looks(&service), after, "once: {:#?}", service.stderr());
    assert_eq!(problems(), instances);
}

//! Events are a convenience: where there are none, where the operating system has no watch left, where its queue overflows or the service
//! was asleep, the records are the same. What is missing is named once, with the remedy, and so is its end.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use crate::support::inotify_limits::run_with_limits;
use crate::support::service::{Service, said};
use crate::support::site::{SOS, SWITCHES, Site, flip, reports};

fn site(poll: &str) -> Site {
    let site = Site::of_sos(SOS);
    let instances = "instances: [{name: sos, configFile: config/sos.yaml}]";
    site.settings(&format!("watch: {{settle: 20ms, poll: {poll}}}\n{instances}\n"));
    site
}

/// Changes the file in place and by rename, and waits for a record of each state.
fn change(site: &Site, service: &mut Service, config: &mut String, times: usize) {
    for (time, (block, _)) in SWITCHES[..times].iter().enumerate() {
        *config = flip(config, block);
        let records = service.recorded().len();
        match time % 2 {
            0 => site.write("config/sos.yaml", config),
            _ => site.replace("config/sos.yaml", config),
        }
        service.wait_for_records(records + 1);
    }
}

#[test]
fn without_any_watcher_the_polls_find_every_change() {
    let site = site("1s");
    let Some(mut service) = run_with_limits(&site, 0, 1000) else { return };
    service.wait_for_records(1);
    change(&site, &mut service, &mut SOS.to_owned(), 3);
    let ended = service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed", "changed"]);
    assert_eq!(said(&ended.stderr, "fs.inotify.max_user_instances"), 1, "{:#?}", ended.stderr);
    assert_eq!(said(&ended.stderr, "sysctl"), 1);
}

#[test]
fn without_a_watch_that_is_left_the_polls_find_every_change_until_there_is_one() {
    let site = site("1s");
    let Some(mut service) = run_with_limits(&site, 10, 1) else { return };
    service.wait_for_records(1);
    let mut config = SOS.to_owned();
    change(&site, &mut service, &mut config, 2);
    assert_eq!(said(&service.stderr(), "sysctl fs.inotify.max_user_watches="), 1, "{:#?}", service.stderr());
    let raise = "echo 1000 > /proc/sys/user/max_inotify_watches";
    let mut enter = Command::new("nsenter");
    enter.args([
        "--user",
        "--preserve-credentials",
        "--target",
        &service.id().to_string(),
        "sh",
        "-c",
        raise,
    ]);
    service.wait_for_words_after("noticed at once again", || assert!(enter.status().unwrap().success()));
    change(&site, &mut service, &mut config, 2);
    let ended = service.stop();
    assert_eq!(said(&ended.stderr, "max_user_watches"), 1, "{:#?}", ended.stderr);
    assert_eq!(site.dump().len(), 5);
}

/// More events than the queue of inotify holds, so that the one that counts is lost.
#[test]
fn a_queue_that_overflows_leads_to_a_look_at_everything() {
    let site = site("1h");
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    service.signal("STOP");
    for write in 0..queue.trim().parse::<usize>().unwrap() / 2 {
        // Each write gives several. Two names in turn, as equal events in a row are one.
        fs::write(site.path(["config/one.log", "config/two.log"][write % 2]), "line\n").unwrap();
    }
    let config = flip(SOS, "heartbeat");
    site.write("config/sos.yaml", &config);
    service.signal("CONT");
    service.wait_for_records(2);
    change(&site, &mut service, &mut config.clone(), 2);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed", "changed"]);
}

#[test]
fn a_service_that_was_stopped_in_its_tracks_records_the_last_state_once() {
    let site = site("1h");
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let mut config = SOS.to_owned();
    for round in 0..3 {
        service.signal("STOP");
        for (block, _) in &SWITCHES[..3] {
            config = flip(&config, block);
            site.replace("config/sos.yaml", &config);
        }
        service.signal("CONT");
        service.wait_for_records(round + 2);
    }
    service.stop();
    let records = site.dump();
    assert_eq!(records.len(), 4);
    assert!(reports(&records[3], &config));
}

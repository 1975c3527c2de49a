//! A file changes when it is written, but also when its folder is replaced, made later or put back, when a link on the way to it is turned,
//! or when the service beside it becomes another release. Each of these is noticed at once, by an event and not by a poll, and
//! nothing that happens beside the way is.

use std::fs;

use crate::support::service::{Service, said};
use crate::support::site::{SOS, SWITCHES, Site, flip, reports};

/// Polls are so far apart that nothing in here is seen by one.
const WATCH: &str = "watch: {settle: 20ms, poll: 1h}\n";

fn run(site: &Site, file: &str, more: &str) -> Service {
    site.settings(&format!("{WATCH}instances: [{{name: sos, configFile: {file}{more}}}]\n"));
    Service::start(site.salver().args(["-vv", "run"]))
}

/// The states of a config file, one after the other.
fn states(count: usize) -> Vec<String> {
    let mut states = vec![SOS.to_owned()];
    for (block, _) in SWITCHES.iter().cycle().take(count - 1) {
        states.push(flip(states.last().unwrap(), block));
    }
    states
}

/// Stops the service; its records are exactly these states.
fn assert_recorded(site: &Site, service: Service, states: &[String]) {
    service.stop();
    let records = site.dump();
    assert_eq!(records.len(), states.len(), "{:?}", site.reasons());
    for (number, (record, state)) in records.iter().zip(states).enumerate() {
        assert!(reports(record, state), "record {number} is another state");
    }
}

/// Waits until the file is looked at because it was touched; nothing else made it be looked at meanwhile.
fn assert_next_look_is_of(service: &mut Service, looks: usize, touch: impl FnOnce()) {
    touch();
    service.wait_for("a look", |it| it.idle_looks() > looks);
    assert_eq!(service.idle_looks(), looks + 1, "{:#?}", service.stderr());
}

#[test]
fn what_happens_to_other_files_of_the_folder_causes_no_look() {
    let site = Site::of_sos(SOS);
    site.write("package.json", "{}");
    let mut service = run(&site, "config/sos.yaml", "");
    service.wait_for_records(1);
    for round in 0..3 {
        for write in 0..200 {
            site.write("config/butler-sos.log", &"line\n".repeat(write));
        }
        site.replace("config/production.yaml", SOS);
        fs::create_dir(site.path("config/logs")).unwrap();
        fs::rename(site.path("config/logs"), site.path("config/old-logs")).unwrap();
        fs::remove_dir(site.path("config/old-logs")).unwrap();
        // It comes after the others, so whoever looked because of them has looked by then.
        assert_next_look_is_of(&mut service, 2 * round, || site.write("config/sos.yaml", SOS));
        assert_next_look_is_of(&mut service, 2 * round + 1, || site.write("package.json", "{}"));
    }
    assert_recorded(&site, service, &states(1));
}

#[test]
fn a_folder_that_is_made_later_is_found_at_once_however_deep() {
    let site = Site::new();
    let mut service = run(&site, "a/b/c/sos.yaml", "");
    service.wait_for("the missing file to be told", |it| said(&it.stderr(), "no such file") > 0);
    let states = states(2);
    fs::create_dir_all(site.path("a/b/c")).unwrap();
    site.write("a/b/c/sos.yaml", &states[0]);
    service.wait_for_records(1);
    site.write("a/b/c/sos.yaml", &states[1]);
    service.wait_for_records(2);
    assert_recorded(&site, service, &states);
}

/// Under wine a folder that somebody watches cannot be deleted, and whoever tries goes on trying.
#[cfg(unix)]
#[test]
fn a_folder_that_is_deleted_is_found_again_in_one_piece_or_bit_by_bit() {
    let site = Site::new();
    let states = states(5);
    let make = |folder: &str, state: &str| {
        fs::create_dir_all(site.path(&format!("{folder}/b/c"))).unwrap();
        site.write(&format!("{folder}/b/c/sos.yaml"), state);
    };
    make("a", &states[0]);
    let mut service = run(&site, "a/b/c/sos.yaml", "");
    service.wait_for_records(1);
    let delete = |service: &mut Service| {
        service.wait_for_words_after("no such file", || fs::remove_dir_all(site.path("a")).unwrap());
    };
    delete(&mut service);
    make("made", &states[1]);
    fs::rename(site.path("made"), site.path("a")).unwrap();
    service.wait_for_records(2);
    site.replace("a/b/c/sos.yaml", &states[2]);
    service.wait_for_records(3);
    delete(&mut service);
    make("a", &states[3]);
    service.wait_for_records(4);
    site.write("a/b/c/sos.yaml", &states[4]);
    service.wait_for_records(5);
    assert_recorded(&site, service, &states);
}

/// On Windows the watch keeps the folders above from being renamed (see `watch/folder.rs`).
#[cfg(unix)]
#[test]
fn a_folder_that_an_upgrade_replaces_is_followed_and_the_old_one_left() {
    let site = Site::new();
    let states = states(7);
    let make = |folder: &str, state: &str| {
        fs::create_dir_all(site.path(&format!("{folder}/config"))).unwrap();
        site.write(&format!("{folder}/config/sos.yaml"), state);
    };
    make("sos", &states[0]);
    let mut service = run(&site, "sos/config/sos.yaml", "");
    service.wait_for_records(1);
    for upgrade in 0..3 {
        make("fresh", &states[1 + 2 * upgrade]);
        fs::rename(site.path("sos"), site.path(&format!("old-{upgrade}"))).unwrap();
        fs::rename(site.path("fresh"), site.path("sos")).unwrap();
        service.wait_for_records(2 + 2 * upgrade);
        // What happens to the old one is nobody's business, and what happens to the new one is.
        site.write(&format!("old-{upgrade}/config/sos.yaml"), &flip(SOS, "appNames"));
        site.write("sos/config/sos.yaml", &states[2 + 2 * upgrade]);
        service.wait_for_records(3 + 2 * upgrade);
    }
    assert_recorded(&site, service, &states);
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_moved_away_and_back_is_still_watched() {
    let site = Site::of_sos(SOS);
    let states = states(3);
    let mut service = run(&site, "config/sos.yaml", "");
    service.wait_for_records(1);
    for state in &states[1..] {
        service
            .wait_for_words_after(" held: ", || fs::rename(site.path("config"), site.path("away")).unwrap());
        service.wait_for_words_after("no longer held", || {
            fs::rename(site.path("away"), site.path("config")).unwrap();
        });
        let records = service.recorded().len();
        site.write("config/sos.yaml", state);
        service.wait_for_records(records + 1);
    }
    assert_recorded(&site, service, &states);
}

/// Making a symlink needs a right that Windows gives to administrators only.
#[cfg(unix)]
#[test]
fn a_link_that_is_turned_anywhere_on_the_way_is_a_change() {
    use std::os::unix::fs::symlink;
    let site = Site::new();
    let states = states(6);
    for (number, state) in states.iter().enumerate() {
        fs::create_dir_all(site.path(&format!("releases/{number}/config"))).unwrap();
        site.write(&format!("releases/{number}/config/sos.yaml"), state);
    }
    let turn = |to: usize| {
        symlink(format!("releases/{to}"), site.path("fresh")).unwrap();
        fs::rename(site.path("fresh"), site.path("current")).unwrap();
    };
    turn(0);
    let mut service = run(&site, "current/config/sos.yaml", "");
    service.wait_for_records(1);
    for number in 1..5 {
        turn(number);
        service.wait_for_records(number + 1);
    }
    site.write("releases/4/config/sos.yaml", &states[5]);
    service.wait_for_records(6);
    assert_recorded(&site, service, &states);
}

#[test]
#[cfg(target_os = "linux")]
fn a_change_on_a_tmpfs_is_noticed_through_a_bind_mount_of_its_folder() {
    let Some(disk) = crate::support::small_disk::SmallDisk::new("8m") else { return };
    disk.bind("real", "bound");
    let real = disk.path().join("real/sos.yaml");
    fs::write(&real, SOS).unwrap();
    let site = Site::new();
    site.settings(&format!("{WATCH}instances: [{{name: sos, configFile: /mnt/bound/sos.yaml}}]\n"));
    let salver = site.salver();
    let mut inside = disk.enter();
    inside.arg(salver.get_program()).args(salver.get_args()).args(["-vv", "run"]);
    let mut service = Service::start(&mut inside);
    service.wait_for_records(1);
    let states = states(5);
    for (number, state) in states.iter().enumerate().skip(1) {
        if number % 2 == 0 {
            fs::write(&real, state).unwrap();
        } else {
            let fresh = disk.path().join("real/sos.yaml.new");
            fs::write(&fresh, state).unwrap();
            fs::rename(&fresh, &real).unwrap();
        }
        service.wait_for_records(number + 1);
    }
    assert_recorded(&site, service, &states);
}

#[test]
fn another_release_of_the_service_is_a_change() {
    let site = Site::of_sos(SOS);
    let release = |version: &str| format!(r#"{{"name": "butler-sos", "version": "{version}"}}"#);
    site.write("package.json", &release("15.0.0"));
    let mut service = run(&site, "config/sos.yaml", "");
    service.wait_for_records(1);
    site.replace("package.json", &release("15.0.1"));
    service.wait_for_records(2);
    site.write("config/package.json", &release("15.1.0"));
    service.wait_for_records(3);
    fs::remove_file(site.path("config/package.json")).unwrap();
    service.wait_for_records(4);
    service.stop();
    let versions: Vec<_> =
        site.dump().iter().map(|record| record["data"]["serviceVersion"].clone()).collect();
    assert_eq!(versions, ["15.0.0", "15.0.1", "15.1.0", "15.0.1"]);
}

#[test]
fn a_release_that_the_settings_name_makes_every_package_json_a_file_like_any_other() {
    let site = Site::of_sos(SOS);
    let mut service = run(&site, "config/sos.yaml", ", serviceVersion: 15.0.0");
    service.wait_for_records(1);
    site.write("config/package.json", r#"{"name": "butler-sos", "version": "14.0.0"}"#);
    assert_next_look_is_of(&mut service, 0, || site.write("config/sos.yaml", SOS));
    assert_recorded(&site, service, &states(1));
}

/// Rights are looked at in another way on Windows, and root may read everything.
#[cfg(unix)]
#[test]
fn a_file_that_becomes_readable_is_read_at_once() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let site = Site::of_sos(SOS);
    let states = states(2);
    let mut service = run(&site, "config/sos.yaml", "");
    service.wait_for_records(1);
    // A link to itself cannot be read by anybody.
    fs::remove_file(site.sos()).unwrap();
    symlink("sos.yaml", site.sos()).unwrap();
    service.wait_for("the link to be held", |it| said(&it.stderr(), "cannot be read") > 0);
    fs::remove_file(site.sos()).unwrap();
    site.write("config/sos.yaml", &states[1]);
    service.wait_for_records(2);
    // Rights are no content.
    let looks = service.idle_looks();
    assert_next_look_is_of(&mut service, looks, || {
        fs::set_permissions(site.sos(), fs::Permissions::from_mode(0o640)).unwrap();
    });
    assert_recorded(&site, service, &states);
}

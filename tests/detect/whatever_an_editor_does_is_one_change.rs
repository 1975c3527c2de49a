//! However a program saves a file, each state in which it comes to rest gives one record, in order, and nothing else gives any: neither the steps of
//! a save, nor what looks like a change and is none.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::support::needs::{Need, skip};
use crate::support::service::{Service, until};
use crate::support::site::{SOS, SWITCHES, Site, flip, reports};

/// One way to save a text. Tells whether it could be done here.
type Save = fn(&Site, &str) -> bool;

const FILE: &str = "config/sos.yaml";

fn in_place(site: &Site, text: &str) -> bool {
    site.write(FILE, text);
    true
}

/// Most editors: a temporary file that is renamed over the old one.
fn renamed_over(site: &Site, text: &str) -> bool {
    site.replace(FILE, text);
    true
}

/// vim: the old file becomes a backup, the new one is written under its name, the backup is removed.
fn with_a_backup(site: &Site, text: &str) -> bool {
    let backup = site.path("config/sos.yaml~");
    until("the file to be renamed", || fs::rename(site.sos(), &backup).is_ok());
    site.write(FILE, text);
    fs::remove_file(backup).unwrap();
    true
}

/// nano with backups: a copy beside it, then in place.
fn with_a_copy(site: &Site, text: &str) -> bool {
    fs::copy(site.sos(), site.path("config/sos.yaml.bak")).unwrap();
    site.write(FILE, text);
    true
}

/// Truncated first, then written in two halves.
fn in_steps(site: &Site, text: &str) -> bool {
    let mut file = File::create(site.sos()).unwrap();
    let (one, other) = text.split_at(text.len() / 2);
    file.write_all(one.as_bytes()).unwrap();
    file.sync_all().unwrap();
    file.write_all(other.as_bytes()).unwrap();
    true
}

/// A copy that keeps its times, such as a restored backup or a deployed file: the new file is older than the old one.
fn with_an_old_time(site: &Site, text: &str) -> bool {
    let fresh = site.path("config/fresh");
    fs::write(&fresh, text).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    OpenOptions::new().write(true).open(&fresh).unwrap().set_modified(old).unwrap();
    until("the file to be replaced", || fs::rename(&fresh, site.sos()).is_ok());
    true
}

/// A Windows editor: byte order mark and CRLF.
fn as_windows_does(site: &Site, text: &str) -> bool {
    site.write(FILE, &format!("\u{FEFF}{}", text.replace('\n', "\r\n")));
    true
}

/// The program itself, with its files, where it is installed.
fn by(site: &Site, text: &str, program: &str, arguments: &[&str]) -> bool {
    site.write("wanted", text);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(site.path("")).stdin(Stdio::null());
    let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let done = done.is_ok_and(|status| status.success()) && fs::read_to_string(site.sos()).unwrap() == text;
    if !done {
        skip(Need::Editors);
    }
    done
}

fn by_sed(site: &Site, text: &str) -> bool {
    by(site, text, "sed", &["-i", "-n", "-e", "1{r wanted", "-e", "}", FILE])
}

fn by_vim(site: &Site, text: &str) -> bool {
    by(site, text, "vim", &["-u", "NONE", "-es", "-c", "%d", "-c", "0r wanted", "-c", "$d", "-c", "wq", FILE])
}

fn by_cp(site: &Site, text: &str) -> bool {
    by(site, text, "cp", &["wanted", FILE])
}

fn by_mv(site: &Site, text: &str) -> bool {
    by(site, text, "mv", &["wanted", FILE])
}

const SAVES: [(&str, Save); 11] = [
    ("in place", in_place),
    ("renamed over", renamed_over),
    ("with a backup", with_a_backup),
    ("with a copy", with_a_copy),
    ("in steps", in_steps),
    ("with an old time", with_an_old_time),
    ("as Windows does", as_windows_does),
    ("by sed", by_sed),
    ("by vim", by_vim),
    ("by cp", by_cp),
    ("by mv", by_mv),
];

fn settings(site: &Site, settle: &str, poll: &str) {
    let instances = "instances: [{name: sos, configFile: config/sos.yaml}]";
    site.settings(&format!("watch: {{settle: {settle}, poll: {poll}}}\n{instances}\n"));
}

/// Saves a new state in each of the ways, and waits for its record.
fn save_in(ways: &[(&str, Save)], site: &Site, mut service: Service) {
    service.wait_for_records(1);
    let mut states = vec![SOS.to_owned()];
    for (number, (way, save)) in ways.iter().enumerate() {
        let state = flip(states.last().unwrap(), SWITCHES[number % SWITCHES.len()].0);
        if save(site, &state) {
            states.push(state);
            service.wait_for(way, |it| it.recorded().len() >= states.len());
        }
    }
    service.stop();
    let records = site.dump();
    assert_eq!(records.len(), states.len(), "{:?}", site.reasons());
    for (number, (record, state)) in records.iter().zip(&states).enumerate() {
        assert!(reports(record, state), "record {number} is another state");
    }
}

#[test]
fn each_way_to_save_gives_one_record_of_its_state() {
    let site = Site::of_sos(SOS);
    settings(&site, "200ms", "1h");
    let service = Service::start(site.salver().args(["-v", "run"]));
    save_in(&SAVES, &site, service);
}

/// As on a network share, or on a mount whose other side is written to.
#[cfg(target_os = "linux")]
#[test]
fn where_no_event_comes_the_polls_find_each_state() {
    let site = Site::of_sos(SOS);
    settings(&site, "20ms", "1s");
    let Some(service) = crate::support::inotify_limits::run_with_limits(&site, 0, 0) else { return };
    save_in(&SAVES[..7], &site, service);
}

#[test]
fn a_file_that_never_comes_to_rest_is_read_anyway() {
    let site = Site::of_sos(SOS);
    settings(&site, "20ms", "1h");
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let changed = flip(SOS, "heartbeat");
    // Somebody replaces the file again and again, until there is a record.
    service.wait_for("a record of a restless file", |it| {
        site.replace(FILE, &format!("{changed}# {:?}\n", SystemTime::now()));
        it.recorded().len() == 2
    });
    service.stop();
    assert!(reports(&site.dump()[1], &changed));
}

/// What is written a thousand times is read once it has come to rest, and not a thousand times.
#[test]
fn ten_thousand_writes_are_one_change() {
    let site = Site::of_sos(SOS);
    settings(&site, "1s", "1h");
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let states = [flip(SOS, "heartbeat"), flip(SOS, "prometheus")];
    for write in 0..10_000 {
        site.write(FILE, &states[write % 2]);
    }
    service
        .wait_for("the last state", |_| site.dump().last().is_some_and(|record| reports(record, &states[1])));
    let ended = service.stop();
    // A machine on which this takes longer than ten settle times reads it once or twice in between.
    assert!(ended.recorded().len() <= 4, "{:#?}", ended.stderr);
}

/// Killed at any moment between a change and its record, the service makes it up, once.
#[test]
fn a_kill_between_the_look_and_the_record_is_made_up_for() {
    let site = Site::of_sos(SOS);
    settings(&site, "10ms", "1h");
    let mut state = SOS.to_owned();
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let mut dice = fastrand::Rng::with_seed(6);
    for round in 0..12 {
        state = flip(&state, SWITCHES[round % SWITCHES.len()].0);
        site.replace(FILE, &state);
        std::thread::sleep(Duration::from_millis(dice.u64(5..60)));
        service.kill();
        service = Service::start(site.salver().args(["-v", "run"]));
        service.wait_for("the state to be known", |it| it.idle_looks() + it.recorded().len() > 0);
    }
    service.stop();
    let records = site.dump();
    assert_eq!(records.len(), 13, "{:?}", site.reasons());
    assert!(reports(&records[12], &state));
}

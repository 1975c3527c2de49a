//! Promise 3, level and not edge: what is recorded is the difference between the file now and the last durable state. So
//! however a file is changed, and whoever was asleep meanwhile, each change of what is reported gives one record, and
//! nothing else gives any.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::service::{Service, said, until};
use crate::support::site::{BUTLER, SOS, SWITCHES, Site, features, flip, is_on, reports};
use crate::support::{dump, expect, salver, salver_in};

/// Settings of one instance that leave a file little time to settle, so that a test is quick, and so much time between two polls
/// that what is seen is seen because of events.
const ONE: &str = "watch: {settle: 50ms, poll: 1h}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n";

fn run(site: &Site) -> Service {
    Service::start(site.salver().args(["-v", "run"]))
}

#[test]
fn ten_edits_in_place_and_by_rename_give_ten_further_records_in_order() {
    let mut config = SOS.to_owned();
    let site = Site::of_sos(&config);
    site.settings(ONE);
    let mut states = vec![config.clone()];
    let mut service = run(&site);
    service.wait_for_records(1);
    for edit in 0..10 {
        let (block, _) = SWITCHES[edit % SWITCHES.len()];
        config = flip(&config, block);
        match edit % 2 {
            0 => site.write("config/sos.yaml", &config),
            _ => site.replace("config/sos.yaml", &config),
        }
        states.push(config.clone());
        service.wait_for_records(states.len());
        // Other commands work while the service runs.
        assert_eq!(site.dump().len(), states.len());
        let status = site.status();
        assert_eq!(status["spool"]["records"], states.len());
        assert_eq!(status["instances"][0]["collecting"], true);
    }
    let ended = service.stop();

    let records = site.dump();
    assert_eq!(records.len(), 11, "one at the start and one for each edit");
    for (number, (record, config)) in records.iter().zip(&states).enumerate() {
        assert!(reports(record, config), "record {number} is not what the file said: {}", features(record));
        assert_eq!(record["spool"]["seq"], number + 1);
        assert_eq!(record["spool"]["reason"], if number == 0 { "started" } else { "changed" });
    }
    assert_eq!(ended.recorded(), site.uuids(), "what was said is what was kept");
    let times: Vec<_> = records.iter().map(|record| record["ts"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn an_edit_that_changes_nothing_reported_records_nothing() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    let mut service = run(&site);
    service.wait_for_records(1);
    let edits = [
        SOS.replace("# consent", "# do not touch"),
        SOS.replace("12398", "12399"),
        SOS.replace("very-secret", "even-more-secret"),
        SOS.replace("logLevel: info", "logLevel: debug"),
        format!("{SOS}    somethingNew:\n        enable: true\n"),
        SOS.replace('\n', "\r\n"),
        SOS.to_owned(),
    ];
    for (number, edit) in edits.iter().enumerate() {
        service.wait_for_an_idle_look_after(|| match number % 2 {
            0 => site.write("config/sos.yaml", edit),
            _ => site.replace("config/sos.yaml", edit),
        });
    }
    // A change after them shows that somebody was looking all the time.
    let changed = flip(SOS, "prometheus");
    site.write("config/sos.yaml", &changed);
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed"]);
    assert!(reports(&site.dump()[1], &changed));
}

#[test]
fn a_restart_records_nothing_and_a_change_while_the_service_was_down_is_recorded_once() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    let mut service = run(&site);
    service.wait_for_records(1);
    service.stop();

    let mut service = run(&site);
    service.wait_for("a look", |it| it.idle_looks() > 0);
    assert_eq!(service.stop().recorded().len(), 0, "nothing changed");

    let changed = flip(&flip(SOS, "heartbeat"), "mqttConfig");
    site.replace("config/sos.yaml", &changed);
    let mut service = run(&site);
    service.wait_for_records(1);
    service.stop();
    let mut service = run(&site);
    service.wait_for("a look", |it| it.idle_looks() > 0);
    service.stop();

    assert_eq!(site.reasons(), ["started", "changed"], "two switches, one change");
    assert!(reports(&site.dump()[1], &changed));
}

#[test]
fn what_was_changed_and_changed_back_while_nobody_looked_is_no_change() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    expect(site.salver().arg("record"), 0);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    site.write("config/sos.yaml", SOS);
    expect(site.salver().arg("record"), 0);
    let mut service = run(&site);
    service.wait_for("a look", |it| it.idle_looks() > 0);
    service.stop();
    assert_eq!(site.reasons(), ["started"]);
}

#[test]
fn what_was_erased_with_the_consent_is_recorded_anew_when_consent_is_given_again() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    expect(site.salver().arg("record"), 0);
    let erased = site.uuids();
    site.write("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().arg("record"), 3);
    assert_eq!(site.uuids(), Vec::<String>::new());
    site.write("config/sos.yaml", SOS);
    expect(site.salver().arg("record"), 0);
    let recorded = site.dump();
    assert_eq!(recorded.len(), 1);
    assert!(reports(&recorded[0], SOS) && !erased.contains(&site.uuids()[0]));
}

#[test]
fn a_burst_of_writes_gives_one_record_of_the_final_state() {
    let site = Site::of_sos(SOS);
    site.settings("watch: {settle: 1s}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n");
    let mut service = run(&site);
    service.wait_for_records(1);
    let mut config = SOS.to_owned();
    for write in 0..50 {
        config = flip(&config, SWITCHES[write % SWITCHES.len()].0);
        site.write("config/sos.yaml", &config);
        thread::sleep(Duration::from_millis(5));
    }
    let last_is_final = || site.dump().last().is_some_and(|record| reports(record, &config));
    until("a record of the final state", last_is_final);
    service.stop();
    // A machine that stalls for a second in the middle of the burst may make it two bursts, not more.
    let records = site.dump().len();
    assert!((2..=3).contains(&records), "{records} records for one burst");
    assert!(last_is_final());
}

#[test]
fn a_file_that_is_cut_off_for_a_moment_is_held_and_records_nothing() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    let mut service = run(&site);
    service.wait_for_records(1);
    let half = &SOS[..SOS.find("frequency").unwrap()];
    let halves = ["", "Butler-SOS:\n", "Butler-SOS:\n    heartbeat: {enable: tr", &format!("{half}\"")];
    for half in halves {
        service.wait_for_words_after(" held: ", || site.write("config/sos.yaml", half));
        assert_eq!(site.dump().len(), 1, "nothing is recorded of {half:?}, and nothing erased");
        assert_eq!(site.status()["instances"][0]["collecting"], false);
        service.wait_for_an_idle_look_after(|| site.write("config/sos.yaml", SOS));
        assert_eq!(site.status()["instances"][0]["collecting"], true);
    }
    let ended = service.stop();
    assert_eq!(ended.recorded().len(), 1);
    assert_eq!(site.reasons(), ["started"]);
}

#[test]
fn a_file_that_is_missing_at_the_start_is_recorded_when_it_appears() {
    let site = Site::new();
    site.settings(ONE);
    let mut service = run(&site);
    service.wait_for("the missing file to be told", |it| said(&it.stderr(), "no such file") > 0);
    site.write("config/sos.yaml", SOS);
    service.wait_for_records(1);
    service.wait_for_words_after("no such file", || fs::remove_file(site.sos()).unwrap());
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed"], "vanishing is no change");
}

#[test]
fn a_file_whose_folder_is_missing_at_the_start_is_found_by_the_poll() {
    let site = Site::new();
    let text = "watch: {settle: 50ms, poll: 1s}\ninstances: [{name: sos, configFile: later/sos.yaml}]\n";
    site.settings(text);
    let mut service = run(&site);
    service.wait_for("the missing file to be told", |it| said(&it.stderr(), "no such file") > 0);
    fs::create_dir(site.path("later")).unwrap();
    site.write("later/sos.yaml", SOS);
    service.wait_for_records(1);
    site.replace("later/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed"]);
}

/// Making a symlink needs a right that Windows gives to administrators only, and Kubernetes mounts no config there.
#[cfg(unix)]
#[test]
fn a_swapped_symlink_as_kubernetes_makes_it_is_a_change_each_time() {
    use std::os::unix::fs::symlink;
    let site = Site::new();
    site.settings(ONE);
    let mut config = SOS.to_owned();
    let swap = |version: usize, config: &str| {
        fs::create_dir(site.path(&format!("config/..v{version}"))).unwrap();
        site.write(&format!("config/..v{version}/sos.yaml"), config);
        symlink(format!("..v{version}"), site.path("config/..data_tmp")).unwrap();
        fs::rename(site.path("config/..data_tmp"), site.path("config/..data")).unwrap();
        if version > 0 {
            fs::remove_dir_all(site.path(&format!("config/..v{}", version - 1))).unwrap();
        }
    };
    swap(0, &config);
    symlink("..data/sos.yaml", site.sos()).unwrap();
    let mut service = run(&site);
    service.wait_for_records(1);
    for (version, (block, _)) in (1..).zip(&SWITCHES[..4]) {
        config = flip(&config, block);
        swap(version, &config);
        service.wait_for_records(version + 1);
    }
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed", "changed", "changed"]);
    assert!(reports(&site.dump()[4], &config));
}

/// As above: symlinks are for Unix here.
#[cfg(unix)]
#[test]
fn a_symlinked_file_is_watched_where_it_really_is() {
    let site = Site::new();
    site.settings(ONE);
    fs::create_dir(site.path("elsewhere")).unwrap();
    site.write("elsewhere/real.yaml", SOS);
    std::os::unix::fs::symlink("../elsewhere/real.yaml", site.sos()).unwrap();
    let mut service = run(&site);
    service.wait_for_records(1);
    let changed = flip(SOS, "heartbeat");
    site.write("elsewhere/real.yaml", &changed);
    service.wait_for_records(2);
    site.replace("elsewhere/real.yaml", &flip(&changed, "prometheus"));
    service.wait_for_records(3);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed"]);
}

#[test]
fn two_instances_are_recorded_each_under_its_name_and_a_bad_one_stops_nobody() {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    site.settings(
        "watch: {settle: 50ms}\ninstances:\n  - {name: prod-butler, configFile: config/butler.yaml}\n  \
         - {name: prod-sos, configFile: config/sos.yaml}\n  - {name: gone, configFile: config/gone.yaml}\n",
    );
    let mut service = run(&site);
    service.wait_for_records(2);
    site.write("config/sos.yaml", "Butler-SOS: {anonTelemetry: true");
    service.wait_for("the bad file to be held", |it| said(&it.stderr(), "not valid YAML") > 0);
    let butler = flip(BUTLER, "mqttConfig");
    site.replace("config/butler.yaml", &butler);
    service.wait_for_records(3);
    let sos = flip(SOS, "heartbeat");
    site.write("config/sos.yaml", &sos);
    service.wait_for_records(4);
    service.stop();

    let records = site.dump();
    let named = |record: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&record["spool"]["instance"]), text(&record["data"]["service"]))
    };
    let names: Vec<_> = records.iter().map(named).collect();
    let expected = [("prod-butler", "butler"), ("prod-sos", "butler-sos"), ("prod-butler", "butler")];
    let expected = expected.into_iter().chain([("prod-sos", "butler-sos")]);
    assert!(names.iter().map(|(a, b)| (a.as_str(), b.as_str())).eq(expected), "{names:?}");
    assert_eq!(features(&records[2])["mqtt"], is_on(&butler, "mqttConfig"));
    assert!(reports(&records[3], &sos));
    let status = site.status();
    let why: Vec<_> = status["instances"].as_array().unwrap().iter().map(|it| &it["collecting"]).collect();
    assert_eq!(why.iter().filter(|collecting| ***collecting == true).count(), 2, "{status}");
}

#[test]
fn the_try_out_shows_the_id_and_the_record_and_what_to_do_next() {
    let site = Site::of_sos(SOS);
    let spool = site.path("try-out");
    let mut service = Service::start(salver_in(&spool).args(["run", "--watch"]).arg(site.sos()));
    service.wait_for("the record", |it| said(&it.stdout(), "{\"ts\":") == 1);
    service.wait_for("what to do next", |it| said(&it.stderr(), "Ctrl-C stops") == 1);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for("the next record", |it| said(&it.stdout(), "{\"ts\":") == 2);
    let ended = service.stop();

    let shown = ended.records();
    let kept = dump(&spool);
    assert_eq!(shown.len(), kept.len());
    for (shown, kept) in shown.iter().zip(&kept) {
        assert_eq!((&shown["ts"], &shown["data"]), (&kept["ts"], &kept["data"]));
    }
    let id = kept[0]["data"]["system"]["id"].as_str().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(ended.stdout[0].starts_with(&format!("Instance ID : {id}")), "{}", ended.stdout[0]);
    let next = ended.stderr.join("\n");
    for word in ["dump", "status", "flush", "posthog.host", "posthog.apiKey", spool.to_str().unwrap()] {
        assert!(next.contains(word), "{word} is not in:\n{next}");
    }
}

/// Without `--spool` a try-out makes `./salver-spool`, and says so.
#[test]
fn a_try_out_without_a_spool_names_the_one_it_makes() {
    let site = Site::of_sos(SOS);
    let here = site.path("here");
    fs::create_dir(&here).unwrap();
    let mut service = Service::start(salver().current_dir(&here).args(["run", "--watch"]).arg(site.sos()));
    service.wait_for("what to do next", |it| said(&it.stderr(), "Ctrl-C stops") == 1);
    let ended = service.stop();
    assert_eq!(dump(&here.join("salver-spool")).len(), 1);
    assert!(ended.stderr.join("\n").contains("salver-spool"));
}

/// Elsewhere than on Unix a test cannot ask a process to stop (see [`Service::stop`]).
#[cfg(unix)]
#[test]
fn a_stopped_service_ends_with_0_and_leaves_a_sound_spool() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    let mut service = run(&site);
    service.wait_for_records(1);
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    expect(site.salver().args(["status", "--check"]), 0);
    // With nothing to look at, and nothing in the spool.
    let other = Site::new();
    other.settings(ONE);
    let mut service = run(&other);
    service.wait_for("the missing file to be told", |it| said(&it.stderr(), "no such file") > 0);
    assert_eq!(service.stop().code, Some(0));
}

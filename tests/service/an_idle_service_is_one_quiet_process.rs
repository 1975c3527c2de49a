//! A service that has nothing to do costs next to nothing: it never opens the spool. A child that
//! lives for a moment does that for it, may be killed at any time, and never outlives the service.

#![cfg(target_os = "linux")]

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::needs::{Need, skip};
use crate::support::posthog::{PostHog, Scripted};
use crate::support::processes::{arguments_of, children_of, is_alive, open_files_of, signal, threads_of};
use crate::support::service::{Service, said, until};
use crate::support::site::{BUTLER, SOS, SWITCHES, Site, flip, reports};
use crate::support::{copy_program_to, err, expect, out, salver};

/// Little time to settle, so that a test is quick, and so much between two polls that none comes in
/// between.
const WATCH: &str = "watch: {settle: 20ms, poll: 1h}\n";

/// Enough that looking at all of them takes a while.
const MANY: usize = 40;

fn one() -> Site {
    let site = Site::of_sos(SOS);
    site.settings(&format!("{WATCH}instances: [{{name: sos, configFile: config/sos.yaml}}]\n"));
    site
}

fn many() -> Site {
    let site = Site::new();
    let mut settings = format!("{WATCH}instances:\n");
    for number in 0..MANY {
        site.write(&format!("config/{number}.yaml"), BUTLER);
        settings += &format!("  - {{name: n{number}, configFile: config/{number}.yaml}}\n");
    }
    site.settings(&settings);
    site
}

fn run(site: &Site) -> Service {
    Service::start(site.salver().args(["-v", "run"]))
}

/// The child that looks, once it has begun to tell.
fn child_under_way(service: &mut Service) -> u32 {
    service.wait_for_records(1);
    *children_of(service.id()).first().expect("many looks take a while")
}

#[test]
fn it_never_opens_the_spool_and_is_alone_again_when_all_is_told() {
    let site = many();
    let service = run(&site);
    let opened = |service: &Service| {
        let files = open_files_of(service.id());
        assert!(!files.is_empty(), "nothing is known of it");
        files.iter().any(|(_, file)| file.starts_with(site.spool()))
    };
    let mut seen = HashSet::new();
    while service.recorded().len() < MANY {
        assert!(!opened(&service));
        seen.extend(children_of(service.id()).into_iter().map(arguments_of));
    }
    assert!(seen.iter().any(|arguments| arguments.ends_with(" look")), "{seen:?}");
    until("the end of the child", || children_of(service.id()).is_empty());
    let threads = threads_of(service.id());
    assert!(threads.len() > 1 && !threads.iter().any(|name| name.starts_with("sled")), "{threads:?}");
    assert!(!opened(&service));
    let ended = service.stop();
    assert_eq!(ended.recorded(), site.uuids());
}

#[test]
fn killing_the_child_loses_and_doubles_nothing() {
    let site = one();
    let mut service = run(&site);
    service.wait_for_records(1);
    let (mut config, mut kills) = (SOS.to_owned(), 0);
    let mut states = vec![config.clone()];
    for round in 0..15 {
        config = flip(&config, SWITCHES[round % SWITCHES.len()].0);
        let lines = service.stderr().len();
        site.replace("config/sos.yaml", &config);
        let wait = Duration::from_micros(fastrand::u64(0..15_000));
        until("a child", || !children_of(service.id()).is_empty() || service.stderr().len() > lines);
        thread::sleep(wait);
        kills += children_of(service.id()).into_iter().filter(|child| signal(*child, "KILL")).count();
        states.push(config.clone());
        until("the record", || site.dump().last().is_some_and(|record| reports(record, &config)));
    }
    let ended = service.stop();
    let records = site.dump();
    assert_eq!(records.len(), states.len(), "after {kills} kills");
    for (record, state) in records.iter().zip(&states) {
        assert!(reports(record, state));
    }
    // What was durable when the child was killed, and not told yet, is not said. Nothing else was
    // said.
    let kept = site.uuids();
    assert!(ended.recorded().iter().all(|uuid| kept.contains(uuid)));
    assert!(kills > 3, "{kills} kills are too few to say anything");
}

#[test]
fn the_child_that_forwards_is_as_expendable_and_no_stop_waits_for_its_request() {
    let posthog = PostHog::start();
    let site = Site::of_sos(SOS);
    let instances = "instances: [{name: sos, configFile: config/sos.yaml}]";
    let url = posthog.url();
    let to =
        format!("posthog: {{host: '{url}', apiKey: phc_not_a_real_key}}\nflush: {{mode: auto, every: 1s}}");
    site.settings(&format!("{WATCH}{instances}\n{to}\n"));
    let stall = || posthog.answer_next(Scripted::Stall(Duration::from_secs(3600)));
    let sender = |service: &Service| {
        let all = children_of(service.id());
        all.into_iter()
            .find(|child| arguments_of(*child).ends_with(" forward"))
            .expect("a request is under way")
    };
    stall();
    let mut service = run(&site);
    until("a request", || posthog.requests() == 1);
    let uuids = site.uuids();
    assert!(signal(sender(&service), "KILL"));
    service.wait_for("the end of the child", |it| said(&it.stderr(), "ended too early") == 1);
    until("the record", || posthog.uuids() == uuids);
    until("an empty queue", || site.dump().is_empty());
    let known = |service: &Service| (threads_of(service.id()), open_files_of(service.id()));
    let (threads, files) = known(&service);
    assert!(!threads.iter().any(|name| name.starts_with("sled")), "{threads:?}");
    assert!(!files.iter().any(|(_, file)| file.starts_with(site.spool())), "{files:?}");

    stall();
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    let before = posthog.requests();
    until("a request", || posthog.requests() > before);
    let child = sender(&service);
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!is_alive(child));
    assert_eq!((site.uuids(), posthog.uuids()), (ended.recorded()[1..].to_vec(), uuids));
}

#[test]
fn a_stop_waits_for_no_child_that_hangs_and_loses_nothing() {
    let site = many();
    let mut service = run(&site);
    let child = child_under_way(&mut service);
    assert!(signal(child, "STOP"), "the child has ended already");
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!is_alive(child));
    let said = ended.recorded();
    assert!(!said.is_empty() && said.len() < MANY, "{} of {MANY}", said.len());
    let kept = site.uuids();
    assert!(kept.starts_with(&said), "what was told is kept");

    let service = run(&site);
    // What the child had written and not committed is adopted, and anything else is written anew.
    until("every record", || site.uuids().len() >= MANY);
    service.stop();
    let records = site.dump();
    let instances: HashSet<_> = records.iter().map(|it| it["spool"]["instance"].to_string()).collect();
    assert_eq!((records.len(), instances.len()), (MANY, MANY), "each once");
}

#[test]
fn a_child_does_not_outlive_a_service_that_is_killed() {
    let site = many();
    let mut service = run(&site);
    let child = child_under_way(&mut service);
    let said = service.kill().recorded();
    until("the end of the child", || !is_alive(child));
    let kept = site.uuids();
    assert!(kept.starts_with(&said) && kept.len() < MANY, "{} of {MANY}", kept.len());
}

#[test]
fn ctrl_c_ends_both() {
    let site = many();
    let mut service = Service::start(site.salver().args(["-v", "run"]).process_group(0));
    let child = child_under_way(&mut service);
    // As a terminal does: to the whole group.
    let sent = Command::new("sh").args(["-c", "kill -INT -$0", &service.id().to_string()]).status();
    assert!(sent.unwrap().success());
    assert_eq!(service.ended().code, Some(0));
    assert!(!is_alive(child));
}

#[test]
fn a_service_whose_program_was_replaced_by_an_upgrade_goes_on_with_its_own() {
    let site = one();
    let program = site.path("salver");
    copy_program_to(&program);
    let mut command = Command::new(&program);
    let original = site.salver();
    command.args(original.get_args()).args(["-v", "run"]);
    let mut service = Service::start(&mut command);
    service.wait_for_records(1);
    fs::remove_file(&program).unwrap();
    fs::write(&program, "another version").unwrap();
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed"]);
}

#[test]
fn a_child_that_cannot_be_started_is_said_once_and_tried_again() {
    let site = one();
    let mut service = run(&site);
    service.wait_for_records(1);
    // With its thread the pipes to it are gone.
    until("the end of the child", || !threads_of(service.id()).iter().any(|name| name == "worker"));
    let process = service.id().to_string();
    let limit = |files: u64| {
        let set =
            Command::new("prlimit").args(["--pid", &process, &format!("--nofile={files}:4096")]).status();
        set.is_ok_and(|set| set.success())
    };
    // Enough to read a file, and too few for the pipes to a child.
    let open: HashSet<u64> = open_files_of(service.id()).into_iter().map(|(number, _)| number).collect();
    let third_free = (0..).filter(|number| !open.contains(number)).nth(2).unwrap();
    if !limit(third_free) {
        return skip(Need::FileLimits);
    }
    service.wait_for_words_after("cannot be started", || {
        site.replace("config/sos.yaml", &flip(SOS, "heartbeat"))
    });
    assert!(limit(1024));
    service.wait_for_records(2);
    service.wait_for("the end of the trouble", |it| said(&it.stderr(), "looked at again") == 1);
    let ended = service.stop();
    assert_eq!(said(&ended.stderr, "cannot be started"), 1, "{:#?}", ended.stderr);
    assert_eq!(site.reasons(), ["started", "changed"]);
}

/// At the start there is somebody who reads the error; later a fault may be over when it is read.
#[test]
fn a_spool_that_others_hold_ends_a_service_at_its_start_only() {
    let site = Site::of_sos(SOS);
    let instances = "instances: [{name: sos, configFile: config/sos.yaml}]";
    site.write("salver.yaml", &format!("spool: {{directory: spool, wait: 1s}}\n{WATCH}{instances}\n"));
    expect(site.salver().arg("record"), 0);
    let lock = fs::File::options().read(true).write(true).open(site.spool().join("lock")).unwrap();
    lock.lock().unwrap();
    site.replace("config/sos.yaml", &flip(SOS, "heartbeat"));
    let ended = run(&site).ended();
    assert_eq!((ended.code, said(&ended.stderr, "the spool is busy")), (Some(5), 1), "{ended:?}");
    lock.unlock().unwrap();

    let mut service = run(&site);
    service.wait_for_records(1);
    lock.lock().unwrap();
    site.replace("config/sos.yaml", SOS);
    service.wait_for("the fault to be logged", |it| said(&it.stderr(), "the spool is busy") > 0);
    lock.unlock().unwrap();
    service.wait_for_records(2);
    service.stop();
    assert_eq!(site.reasons(), ["started", "changed", "changed"]);
}

#[test]
fn the_hidden_commands_are_of_no_use_by_hand_and_refuse_a_service_of_another_version() {
    let orders =
        [("", "of no use by hand"), ("0.0.1\n{}\n", "restart it"), ("no\norder", "replaced by salver")];
    for (command, (order, words)) in
        ["look", "forward"].into_iter().flat_map(|it| orders.map(|order| (it, order)))
    {
        let mut salver = salver();
        salver.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = salver.spawn().unwrap();
        child.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), ""));
        assert!(err(&output).contains(words), "{}", err(&output));
    }
    let help = out(&expect(salver().arg("--help"), 0));
    assert!(
        help.contains("  record ") && !help.contains("  look ") && !help.contains("  forward "),
        "{help}"
    );
}

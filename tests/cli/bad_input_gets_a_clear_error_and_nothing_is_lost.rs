//! Promise: whatever lies in the place of a config file, of the settings or of the spool, salver names it, the line where
//! there is one, the cause and the next step; it shows nothing of what a file says, and what was spooled stays.
//!
//! Everything here is a real process that meets a real file. Each file holds a password, and no password is ever said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::folders::files;
use crate::support::service::Service;
use crate::support::site::{BUTLER, SOS, Site, flip};
use crate::support::{err, expect, fixture, json, salver, salver_in};
use serde_json::Value as Json;

/// Stands in every file that is bad, and may be said nowhere.
const PASSWORD: &str = "hunter2-not-a-real-password";

/// One instance, which is looked at again soon where its consent is in doubt.
const ONE: &str = "watch: {settle: 10ms}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n";

/// Something that lies where a config file should be.
struct Bad {
    what: &'static str,
    /// What is said of it, besides its path.
    words: &'static [&'static str],
    put: Box<dyn Fn(&Path)>,
}

fn bad(what: &'static str, words: &'static [&'static str], put: impl Fn(&Path) + 'static) -> Bad {
    Bad { what, words, put: Box::new(put) }
}

/// A file with this content, below a comment with the password.
fn content(what: &'static str, words: &'static [&'static str], content: &str) -> Bad {
    let text = format!("# {PASSWORD}\n{content}");
    bad(what, words, move |path| fs::write(path, &text).unwrap())
}

/// A fixture that was written up to and with these words.
fn cut(words: &'static [&'static str], of: &str, last_words: &str) -> Bad {
    let whole = fs::read_to_string(fixture(of)).unwrap();
    let (written, _) = whole.split_once(last_words).unwrap();
    content("half written", words, &format!("{written}{last_words}"))
}

/// Everything that a config file may turn out to be.
fn everything_bad() -> Vec<Bad> {
    let sos = "butler-sos/15.0.0/production.yaml";
    let butler = "butler/13.0.0/production.yaml";
    let mut all = vec![
        bad("missing", &["there is no such file", "check the path"], |_| {}),
        bad("empty", &["empty (or half written)", "read again"], |path| fs::write(path, "").unwrap()),
        content("only a comment", &["empty (or half written)", "read again"], ""),
        cut(&["none of the top-level keys Butler, Butler-SOS", "name the config file"], sos, "\nButler-S"),
        cut(&["no keys below Butler-SOS", "read again"], sos, "\nButler-SOS:"),
        cut(&["no keys below Butler-SOS", "read again"], sos, "\nButler-SOS:\n    logL"),
        cut(&["line ", "not valid YAML (or half written)", "check"], sos, "mqtt.example.com\n        broke"),
        cut(&["line ", "not valid YAML (or half written)", "check"], sos, "logLevel: [WARN, ERR"),
        cut(&["line ", "not valid YAML (or half written)", "check"], butler, "password: 'not-a"),
        cut(&["line ", "an alias names an anchor that does not exist"], butler, "Aborted: *tea"),
        content("tabs", &["line 3", "check indentation"], &format!("Butler:\n\tpassword: {PASSWORD}\n")),
        content(
            "a key that stands twice",
            &["line 4", "the same key stands twice", "remove one"],
            &format!("Butler-SOS:\n  password: {PASSWORD}\n  password: {PASSWORD}\n"),
        ),
        content(
            "two documents",
            &["line ", "a second document starts"],
            &format!("---\n{SOS}\n---\npassword: {PASSWORD}\n"),
        ),
        content("a bomb of aliases", &["line ", "aliases, nesting or size"], &bomb()),
        content("a bomb of brackets", &["line 2", "not valid YAML"], &"[".repeat(100_000)),
        content(
            "another program's file",
            &["none of the top-level keys Butler, Butler-SOS", "name the config file"],
            &format!("Wheatley:\n  password: {PASSWORD}\n"),
        ),
        content(
            "a file of both services",
            &["several services (Butler, Butler-SOS)", "say which one with `service`"],
            &format!("{SOS}{BUTLER}"),
        ),
        bad("Latin-1", &["not UTF-8", "save it as UTF-8"], |path| {
            let text =
                format!("Butler-SOS:\n  anonTelemetry: true\n  user: J\u{1}rg\n  password: {PASSWORD}\n");
            let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 1 { 0xF6 } else { byte }).collect();
            fs::write(path, bytes).unwrap();
        }),
        bad("UTF-16", &["UTF-16", "save it as UTF-8"], |path| {
            let units =
                format!("\u{FEFF}{SOS}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
            fs::write(path, units).unwrap();
        }),
        bad("a folder", &["a folder", "name the YAML file"], |path| fs::create_dir(path).unwrap()),
        // Nothing is written to the disk for this one.
        bad("a gigabyte", &["larger than 4 MiB", "check the path"], |path| {
            File::create(path).unwrap().set_len(1 << 30).unwrap();
        }),
    ];
    if cfg!(unix) {
        // Windows has no FIFOs in its file system, and takes an administrator to make a link.
        all.push(bad("a FIFO", &["a pipe", "name the YAML file"], |path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }));
        all.push(bad(
            "a link that leads nowhere",
            &["there is no such file", "check the path"],
            link_to_nowhere,
        ));
    }
    all
}

/// Those of everything that are called so; there is no FIFO on Windows.
fn some(wanted: &[&str]) -> Vec<Bad> {
    let mut some = everything_bad();
    some.retain(|bad| wanted.contains(&bad.what));
    assert_eq!(some.len(), wanted.len() - usize::from(cfg!(windows)));
    some
}

/// A small file that would unfold into a hundred billion values.
fn bomb() -> String {
    let mut bomb = format!("Butler-SOS:\n  a0: &a0 [{PASSWORD}, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("  a{level}: &a{level} [{below}]\n");
    }
    bomb
}

#[cfg(unix)]
fn link_to_nowhere(path: &Path) {
    std::os::unix::fs::symlink("nowhere.yaml", path).unwrap();
}

#[cfg(not(unix))]
fn link_to_nowhere(_: &Path) {}

fn clear(path: &Path) {
    _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}

/// A path as salver names it: absolute, and on Windows with its separators.
fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap().display().to_string()
}

/// Runs a command that must end by itself, with this exit code and with each of these words on stderr.
fn refused(command: &mut Command, code: i32, words: &[&str]) -> String {
    let ended = Service::start(command).ended();
    let said = ended.stderr.join("\n");
    assert_eq!(ended.code, Some(code), "{command:?}\n{said}");
    for word in words {
        assert!(said.contains(word), "{command:?} does not say \"{word}\":\n{said}");
    }
    for line in ended.stdout.iter().chain(&ended.stderr) {
        assert!(
            !line.contains("hunter2") && !line.contains("not-a-real"),
            "{command:?} says the password: {line}"
        );
    }
    said
}

#[test]
fn a_config_file_that_cannot_be_read_is_named_with_line_cause_and_next_step_and_the_records_stay() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    expect(site.salver().arg("record"), 0);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    expect(site.salver().arg("record"), 0);
    let before = site.dump();
    assert_eq!(before.len(), 2);

    let path = site.sos();
    for bad in everything_bad() {
        clear(&path);
        (bad.put)(&path);
        let named = shown(&path);
        let words: Vec<&str> = [&[named.as_str()][..], bad.words].concat();
        println!("{}: {}", bad.what, refused(site.salver().args(["-vv", "record"]), 1, &words));
        refused(salver_in(&site.spool()).args(["-vv", "preview"]).arg(&path), 1, &words);
        let status = site.status();
        assert_eq!(status["spool"]["records"], 2, "{}", bad.what);
        let instance = &status["instances"][0];
        assert_eq!(instance["collecting"], false, "{}", bad.what);
        let why = instance["why"].as_str().unwrap().to_owned();
        assert!(
            bad.words.iter().all(|word| why.contains(word)) && !why.contains("hunter2"),
            "{}: {why}",
            bad.what
        );
    }

    clear(&path);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    expect(site.salver().arg("record"), 0);
    assert_eq!(site.dump(), before, "the same file again is no change");
}

#[test]
fn what_windows_editors_do_to_a_file_is_no_change() {
    let site = Site::of_sos(SOS);
    site.settings(ONE);
    expect(site.salver().arg("record"), 0);
    site.write("config/sos.yaml", &format!("\u{FEFF}{}", SOS.replace('\n', "\r\n")));
    let output = expect(site.salver().arg("record"), 0);
    assert!(err(&output).contains("nothing changed"), "{}", err(&output));
    assert_eq!(site.dump().len(), 1);
}

#[test]
fn one_bad_instance_never_stops_the_others() {
    for bad in some(&["missing", "empty", "two documents", "a folder", "a FIFO"]) {
        let site = Site::of_sos(SOS);
        site.write("config/butler.yaml", BUTLER);
        (bad.put)(&site.path("config/bad.yaml"));
        let instance = |name: &str| format!("  - {{name: {name}, configFile: config/{name}.yaml}}\n");
        let [first, second, third] = ["butler", "bad", "sos"].map(instance);
        site.settings(&format!("instances:\n{first}{second}{third}"));
        refused(site.salver().arg("record"), 1, &["bad.yaml", "butler: recorded", "sos: recorded"]);
        let recorded: Vec<Json> =
            site.dump().iter().map(|record| record["spool"]["instance"].clone()).collect();
        assert_eq!(recorded, ["butler", "sos"], "{}", bad.what);
    }
}

#[test]
fn the_service_goes_on_with_the_others_and_with_the_bad_one_when_it_is_mended() {
    let site = Site::of_sos(SOS);
    let half = cut(&[], "butler/13.0.0/production.yaml", "password: 'not-a");
    (half.put)(&site.path("config/butler.yaml"));
    site.settings(
        "watch: {settle: 50ms}\ninstances:\n  - {name: butler, configFile: config/butler.yaml}\n  \
         - {name: sos, configFile: config/sos.yaml}\n",
    );
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    service.wait_for("a line about the bad file", |service| {
        service.stderr().iter().any(|line| line.contains("held") && line.contains("butler.yaml"))
    });
    site.replace("config/butler.yaml", BUTLER);
    service.wait_for_records(2);
    // The other way round: what was good goes bad, and comes back as it was.
    service.wait_for_words_after("held: ", || (half.put)(&site.sos()));
    assert_eq!(site.dump().len(), 2);
    service.wait_for_an_idle_look_after(|| site.write("config/sos.yaml", SOS));
    let ended = service.stop();
    assert!(!ended.stderr.iter().any(|line| line.contains("hunter2")), "{:?}", ended.stderr);
    assert_eq!(site.dump().len(), 2);
}

#[test]
fn settings_with_a_slip_name_the_line_and_what_would_be_right_and_do_nothing() {
    let site = Site::of_sos(SOS);
    let slips: [(&str, &[&str]); 9] = [
        ("flush:\n  mod: auto\n", &["line 2", "\"mod\"", "did you mean \"mode\"?"]),
        ("spool: {}\nflsh: {}\n", &["line 2", "\"flsh\"", "did you mean \"flush\"?"]),
        ("spool:\n  wait: 10 parsecs\n", &["line 2", "spool.wait", "15m, 12h"]),
        ("spool:\n  maxBytes: 7 GiP\n", &["line 2", "spool.maxBytes", "GiB"]),
        ("watch:\n  settle: 10\n", &["line 2", "watch.settle", "250ms"]),
        ("posthog:\n  apiKey:phc_hunter2: 1\n", &["line 2", "is no setting here", "apiKey"]),
        ("posthog: {apiKey: phx_hunter2}\n", &["line 1", "posthog.apiKey", "project"]),
        ("spool: {wait: 1s}\nspool: {wait: 1s}\n", &["line 2", "stands twice", "remove one"]),
        (
            "instances: [{configFile: a.yaml, serviceVersion: hunter2}]\n",
            &["line 1", "serviceVersion", "15.0.0"],
        ),
    ];
    let path = site.path("salver.yaml");
    for (text, words) in slips {
        site.write("salver.yaml", &format!("{text}# {PASSWORD}\n"));
        for command in
            [&["record"][..], &["run"], &["status"], &["dump"], &["flush"], &["purge", "--all", "--yes"]]
        {
            let named = shown(&path);
            let all: Vec<&str> = [&[named.as_str()][..], words].concat();
            refused(site.salver().arg("--spool").arg(site.spool()).args(command), 2, &all);
        }
    }
    assert!(!site.spool().exists());
}

#[test]
fn settings_that_are_no_text_file_are_named_with_cause_and_next_step() {
    for bad in some(&["missing", "Latin-1", "UTF-16", "a folder", "a gigabyte", "a FIFO"]) {
        let site = Site::new();
        let path = site.path("salver.yaml");
        (bad.put)(&path);
        let said = refused(site.salver().arg("status"), 2, &[&shown(&path)]);
        assert!(
            ["check", "name the YAML file", "save it as UTF-8"].iter().any(|step| said.contains(step)),
            "{}: {said}",
            bad.what
        );
    }
}

/// Commands that need the spool.
fn on_the_spool(config: &Path) -> Vec<Vec<String>> {
    let file = config.to_str().unwrap();
    let commands = [
        &["record", file][..],
        &["run", "--watch", file],
        &["dump"],
        &["status"],
        &["flush", "--dry-run"],
        &["purge", "--all", "--yes"],
        &["pause", "--all"],
        &["id", file],
        &["id", "--history"],
    ];
    commands.iter().map(|command| command.iter().map(|word| (*word).to_owned()).collect()).collect()
}

/// The bytes of everything below a path.
fn bytes(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = if path.is_dir() { files(path) } else { vec![path.to_owned()] };
    // On Windows a locked file cannot be read; the lock files hold a number and nothing else.
    all.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap_or_default())).collect()
}

#[test]
fn what_is_no_spool_of_salver_is_named_and_left_as_it_is() {
    let site = Site::of_sos(SOS);
    let folder = |name: &str, names: &[&str]| {
        fs::create_dir(site.path(name)).unwrap();
        names.iter().for_each(|file| site.write(&format!("{name}/{file}"), PASSWORD));
        site.path(name)
    };
    site.write("a-file", PASSWORD);
    for (place, cause) in [
        (site.path("a-file"), "it is a file"),
        (folder("theirs", &["conf", "db"]), "somebody else's sled database"),
        (folder("notes", &["notes.txt"]), "it holds notes.txt"),
        (folder("marked", &["SALVER-SPOOL"]), "SALVER-SPOOL is not one of ours"),
    ] {
        let before = bytes(&place);
        for command in on_the_spool(&site.sos()) {
            let words = [&shown(&place), cause, "name an empty or new folder"];
            refused(salver_in(&place).args(command), 6, &words);
        }
        assert_eq!(bytes(&place), before, "{}", place.display());
    }
}

#[test]
fn a_spool_of_a_later_version_is_read_by_nobody_and_changed_by_nobody() {
    let site = Site::of_sos(SOS);
    expect(salver_in(&site.spool()).arg("record").arg(site.sos()), 0);
    let records = site.dump();
    let marker = site.spool().join("SALVER-SPOOL");
    let ours = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, ours.replace("format 1", "format 2")).unwrap();
    let before = bytes(&site.spool());
    for command in on_the_spool(&site.sos()) {
        let words = [&shown(&site.spool()), "format 2", "update salver"];
        refused(salver_in(&site.spool()).args(command), 6, &words);
    }
    assert_eq!(bytes(&site.spool()), before);
    fs::write(&marker, ours).unwrap();
    assert_eq!(site.dump(), records);
}

#[test]
fn where_there_is_no_spool_yet_reading_says_how_one_comes_to_be_and_makes_none() {
    let site = Site::new();
    for command in [&["dump"][..], &["purge", "--all", "--yes"], &["id", "--history"]] {
        let words = [&shown(&site.spool()), "there is no spool here yet", "salver record"];
        refused(salver_in(&site.spool()).args(command), 1, &words);
    }
    // That nothing was recorded yet is what status has to say, not a failure of it.
    let status = json(&expect(salver_in(&site.spool()).args(["status", "--format", "json"]), 0));
    assert_eq!(status["spool"]["records"], 0);
    assert!(!site.spool().exists());
}

/// Rights are checked on Unix only: on Windows the folder's access list decides, which is another matter.
#[cfg(unix)]
mod rights {
    use super::*;
    use crate::support::modes::chmod;
    use crate::support::needs::{Need, skip};

    #[test]
    fn a_spool_that_others_may_enter_is_refused_with_the_command_that_mends_it() {
        let site = Site::of_sos(SOS);
        expect(salver_in(&site.spool()).arg("record").arg(site.sos()), 0);
        let records = site.dump();
        chmod(&site.spool(), 0o750);
        for command in on_the_spool(&site.sos()) {
            let words = [&shown(&site.spool()), "chmod 700"];
            refused(salver_in(&site.spool()).args(command), 1, &words);
        }
        chmod(&site.spool(), 0o700);
        assert_eq!(site.dump(), records);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_the_next_step_and_the_records_stay() {
        let site = Site::of_sos(SOS);
        expect(salver_in(&site.spool()).arg("record").arg(site.sos()), 0);
        let records = site.dump();
        let locked = site.path("locked");
        fs::create_dir(&locked).unwrap();
        chmod(&locked, 0o500);
        if fs::write(locked.join("probe"), "").is_ok() {
            return skip(Need::NotRoot);
        }
        // Where the spool would have to be made, and where one is that lost its rights.
        let missing = locked.join("spool");
        chmod(&site.spool(), 0o500);
        for place in [missing, site.spool()] {
            let words = [&shown(&place), "the right to write there"];
            let mut record = salver_in(&place);
            refused(record.arg("record").arg(site.sos()), 1, &words);
        }
        chmod(&site.spool(), 0o700);
        assert_eq!(site.dump(), records);
    }
}

#[test]
fn without_settings_and_without_a_file_salver_says_how_to_begin() {
    let site = Site::new();
    refused(
        salver().arg("--config").arg(site.path("salver.yaml")).arg("run"),
        2,
        &["does not exist", "sample"],
    );
    refused(salver_in(&site.spool()).arg("run"), 2, &["no instance to watch", "--watch FILE"]);
    refused(salver_in(&site.spool()).args(["record", "nobody"]), 2, &["no instance `nobody`"]);
}

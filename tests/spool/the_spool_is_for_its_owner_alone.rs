//! Promise: nobody but its owner reads or changes the spool, whatever salver did in it; and where somebody else could, every
//! command refuses before it opens anything, and names a command that mends it and does.
//!
//! Unix only, since it is about owners, modes and links.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::folders::files;
use crate::support::modes::{chmod, is_root};
use crate::support::needs::{Need, skip};
use crate::support::posthog::PostHog;
use crate::support::site::{SOS, SWITCHES, Site, flip};
use crate::support::{copy_program_to, dump, err, expect, salver_in};

const NOBODY: u32 = 65534;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// A spool with one record.
fn site() -> Site {
    let site = Site::of_sos(SOS);
    expect(salver_in(&site.spool()).arg("record").arg(site.sos()), 0);
    site
}

/// Commands that look at the spool.
fn commands(config: &Path) -> Vec<Vec<&str>> {
    let file = config.to_str().unwrap();
    vec![
        vec!["record", "--force", file],
        vec!["run", "--watch", file],
        vec!["dump"],
        vec!["dump", "--state", "dead"],
        vec!["status"],
        vec!["status", "--check"],
        vec!["flush", "--dry-run"],
        vec!["purge", "--all", "--yes"],
        vec!["purge", "--all", "--dry-run"],
        vec!["pause", "--all"],
        vec!["resume", "--all"],
        vec!["id", file],
        vec!["id", "--history"],
    ]
}

/// Each file and folder below a path with its mode, its owner and when it last changed.
fn traces(path: &Path) -> Vec<(PathBuf, u32, u32, i64, i64)> {
    let mut all = files(path);
    all.push(path.to_owned());
    let trace = |path: PathBuf| {
        let found = fs::symlink_metadata(&path).unwrap();
        (path, found.mode(), found.uid(), found.mtime(), found.mtime_nsec())
    };
    all.into_iter().map(trace).collect()
}

/// Every command refuses with these words and leaves no trace; gives what was said last.
fn all_refuse(site: &Site, spool: &Path, words: &[&str]) -> String {
    let before = traces(spool);
    let mut said = String::new();
    for command in commands(&site.sos()) {
        said = err(&expect(salver_in(spool).args(&command), 1));
        for word in words {
            assert!(said.contains(word), "{command:?} does not say \"{word}\": {said}");
        }
        assert_eq!(traces(spool), before, "{command:?} left a trace");
    }
    said
}

/// Does literally what an error says: the last command in it.
fn follow(said: &str) {
    let remedy = said.split('`').nth_back(1).unwrap_or_else(|| panic!("no command in: {said}"));
    println!("{remedy}");
    expect(Command::new("sh").args(["-ec", remedy]), 0);
}

/// Whether files can be given to another user, which only root may do.
fn can_give() -> bool {
    if !is_root() {
        skip(Need::Root);
    }
    is_root()
}

#[test]
fn everything_in_a_spool_is_for_its_owner_alone_whatever_was_done_with_it() {
    let server = PostHog::start();
    let site = Site::of_sos(SOS);
    site.settings(&format!(
        "posthog: {{host: '{}', apiKey: phc_test}}\ninstances: [{{name: sos, configFile: config/sos.yaml}}]\n",
        server.url()
    ));
    let checked = |what: &str| {
        let spool = site.spool();
        assert_eq!(mode(&spool), 0o700, "{what}");
        let mut seen = 0;
        for file in files(&spool) {
            assert_eq!(mode(&file), 0o600, "{what}: {}", file.display());
            assert_eq!(mode(file.parent().unwrap()), 0o700, "{what}: {}", file.display());
            seen += 1;
        }
        assert!(seen > 4, "{what}: only {seen} files");
    };
    // With the widest rights that a caller can leave to what is made.
    let salver = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000; exec \"$@\"", "sh"]);
        command.arg(env!("CARGO_BIN_EXE_salver")).arg("--config").arg(site.path("salver.yaml"));
        expect(command.args(arguments), 0);
    };
    let mut config = SOS.to_owned();
    for (block, _) in &SWITCHES[..4] {
        salver(&["record"]);
        config = flip(&config, block);
        site.write("config/sos.yaml", &config);
    }
    checked("recorded");
    salver(&["purge", "--before", "0d", "--yes"]);
    checked("purged");
    salver(&["record", "--force"]);
    salver(&["flush"]);
    checked("drained");
    salver(&["record", "--force"]);
    salver(&["purge", "--all", "--yes", "--stop-collecting"]);
    checked("stopped");
    salver(&["resume", "--all"]);
    salver(&["record", "--force"]);
    for part in fs::read_dir(site.spool()).unwrap().map(|entry| entry.unwrap().path()) {
        if part.file_name().unwrap().to_string_lossy().starts_with("seg-") {
            let db = part.join("db");
            let bytes = fs::read(&db).unwrap();
            fs::write(&db, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    salver(&["status"]);
    checked("salvaged");
}

#[test]
fn a_folder_that_others_may_enter_is_refused_until_it_is_shut_as_the_error_says() {
    let site = site();
    let records = dump(&site.spool());
    for rights in [0o750, 0o707, 0o710, 0o701, 0o770, 0o1777] {
        chmod(&site.spool(), rights);
        let said =
            all_refuse(&site, &site.spool(), &["others than its owner", site.spool().to_str().unwrap()]);
        follow(&said);
        assert_eq!(dump(&site.spool()), records, "{rights:o}");
    }
}

#[test]
fn a_spool_of_another_user_is_refused_by_root_and_used_as_that_user_or_taken_over() {
    if !can_give() {
        return;
    }
    let site = site();
    let records = dump(&site.spool());
    expect(Command::new("chown").args(["-R", "65534:65534"]).arg(site.path("")), 0);
    let said = all_refuse(&site, &site.spool(), &["another user", "sudo -u '#65534' salver"]);
    // What `sudo -u` does, since sudo is not everywhere.
    let program = site.path("salver");
    copy_program_to(&program);
    chmod(&program, 0o755);
    let status = expect(
        Command::new(&program).arg("--spool").arg(site.spool()).arg("status").uid(NOBODY).gid(NOBODY),
        0,
    );
    assert!(err(&status).is_empty());
    follow(&said);
    // The folder above is still that user's, who could put another spool in its place.
    let said =
        all_refuse(&site, &site.spool(), &["above it, belongs to another user", "sudo -u '#65534' salver"]);
    follow(&said);
    assert_eq!(dump(&site.spool()), records);
    // The other way round: who may not even list it is told whose it is.
    chmod(&site.path(""), 0o755);
    let mut other = Command::new(&program);
    let refused =
        err(&expect(other.arg("--spool").arg(site.spool()).arg("status").uid(NOBODY).gid(NOBODY), 1));
    for words in ["another user", "`sudo salver ...`", "`sudo chown -R 65534 "] {
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn a_folder_above_in_which_others_may_rename_is_refused_until_it_is_shut_as_the_error_says() {
    let site = site();
    let records = dump(&site.spool());
    let above = site.path("");
    fs::create_dir(site.path("deep")).unwrap();
    let deep = site.path("deep/not/there/yet");
    for rights in [0o777, 0o707, 0o703] {
        chmod(&above, rights);
        let said = all_refuse(&site, &site.spool(), &["others may write to", "a folder above it"]);
        // Neither is one made there.
        let refused = expect(salver_in(&deep).arg("record").arg(site.sos()), 1);
        assert!(err(&refused).contains("a folder above it"), "{refused:?}");
        assert!(!site.path("deep/not").exists());
        follow(&said);
        assert_eq!(dump(&site.spool()), records, "{rights:o}");
    }
    for rights in [0o1777, 0o755, 0o711] {
        chmod(&above, rights);
        assert_eq!(dump(&site.spool()), records, "{rights:o}");
    }
}

#[test]
fn a_group_may_write_above_where_root_decided_that_or_where_it_is_the_users_own() {
    if !can_give() {
        return;
    }
    let site = site();
    let (above, program) = (site.path(""), site.path("salver"));
    copy_program_to(&program);
    chmod(&program, 0o755);
    expect(Command::new("chown").args(["-R", "65534:65534"]).arg(&above), 0);
    let as_nobody = |code| {
        let mut status = Command::new(&program);
        expect(status.arg("--spool").arg(site.spool()).arg("status").uid(NOBODY).gid(NOBODY), code)
    };
    const STAFF: u32 = 50;
    for (owner, group, rights, code) in [
        (NOBODY, NOBODY, 0o770, 0),
        (0, STAFF, 0o2775, 0),
        (NOBODY, STAFF, 0o1775, 0),
        (NOBODY, STAFF, 0o775, 1),
    ] {
        chown(&above, Some(owner), Some(group)).unwrap();
        chmod(&above, rights);
        as_nobody(code);
    }
    follow(&err(&as_nobody(1)));
    as_nobody(0);
}

#[test]
fn an_empty_folder_becomes_a_spool_only_for_its_owner() {
    let site = Site::of_sos(SOS);
    fs::create_dir(site.spool()).unwrap();
    chmod(&site.spool(), 0o777);
    if can_give() {
        chown(site.spool(), Some(NOBODY), None).unwrap();
        let said = err(&expect(salver_in(&site.spool()).arg("record").arg(site.sos()), 1));
        assert!(said.contains("another user"), "{said}");
        assert_eq!((mode(&site.spool()), files(&site.spool()).len()), (0o777, 0));
        follow(&said);
    }
    expect(salver_in(&site.spool()).arg("record").arg(site.sos()), 0);
    assert_eq!((mode(&site.spool()), dump(&site.spool()).len()), (0o700, 1));
    // Nobody is told to take over what is no spool.
    if can_give() {
        let config = site.path("config");
        chown(&config, Some(NOBODY), None).unwrap();
        let said = err(&expect(salver_in(&config).arg("record").arg(site.sos()), 6));
        assert!(said.contains("not a spool of salver") && !said.contains("chown"), "{said}");
    }
}

#[test]
fn a_link_in_place_of_the_spool_is_refused_wherever_it_leads() {
    let site = site();
    let link = site.path("link");
    fs::create_dir(site.path("empty")).unwrap();
    for target in ["spool", "empty", "nowhere", "config/sos.yaml", "link"] {
        symlink(site.path(target), &link).unwrap();
        let before = traces(&site.spool());
        let mut said = String::new();
        for command in commands(&site.sos()) {
            said = err(&expect(salver_in(&link).args(&command), 1));
            assert!(said.contains("a link stands in place of"), "{target}: {command:?}: {said}");
        }
        assert_eq!(traces(&site.spool()), before, "{target}");
        assert!(files(&site.path("empty")).is_empty());
        assert!(!site.path("nowhere").exists());
        follow(&said);
        assert!(!link.is_symlink() && site.sos().is_file());
        assert_eq!(dump(&site.spool()).len(), 1);
    }
    // A link further up is how many systems are laid out, macOS's /var among them.
    symlink(site.path(""), site.path("up")).unwrap();
    assert_eq!(dump(&site.path("up/spool")).len(), 1);
}

#[test]
fn a_link_in_place_of_a_file_of_the_spool_is_refused_and_nothing_is_written_through_it() {
    let site = site();
    let records = dump(&site.spool());
    let precious = site.path("precious");
    fs::write(&precious, "precious").unwrap();
    for name in ["lock", "flush-lock", "dedup", "dedup.new", "reserve"] {
        let place = site.spool().join(name);
        _ = fs::remove_file(&place);
        symlink(&precious, &place).unwrap();
        let said = all_refuse(&site, &site.spool(), &["a link stands where", place.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{name}");
        follow(&said);
        assert_eq!(dump(&site.spool()), records, "{name}");
    }
    for name in ["SALVER-SPOOL", "manifest.0", "manifest.1", "seg-00000001", "line"] {
        let (place, away) = (site.spool().join(name), site.path(name));
        fs::rename(&place, &away).unwrap();
        symlink(&away, &place).unwrap();
        let before = traces(&site.path("config"));
        let said = all_refuse(&site, &site.spool(), &["a link stands where", place.to_str().unwrap()]);
        assert_eq!(traces(&site.path("config")), before);
        follow(&said);
        fs::rename(&away, &place).unwrap();
        assert_eq!(dump(&site.spool()), records, "{name}");
    }
}

#[test]
fn settings_that_others_could_have_written_are_refused_until_shut_as_the_error_says() {
    let site = Site::of_sos(SOS);
    fs::create_dir(site.path("catalogues")).unwrap();
    site.settings("catalogues: [catalogues]\ninstances: [{configFile: config/sos.yaml}]\n");
    for name in ["salver.yaml", "catalogues"] {
        chmod(&site.path(name), 0o777);
        follow(&err(&expect(site.salver().arg("record"), 2)));
        expect(site.salver().arg("record"), 0);
    }
}

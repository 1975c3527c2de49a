//! Everything that may lie where a config file or the settings should be, and a command that
//! refuses it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use super::fixture;
use super::service::Service;
use super::site::{BUTLER, SOS};

/// Stands in every file that is bad, and may be said nowhere.
pub const PASSWORD: &str = "hunter2-not-a-real-password";

/// Something that lies where a config file should be.
pub struct Bad {
    pub what: &'static str,
    /// Words of the error, besides the path.
    pub words: &'static [&'static str],
    pub put: Box<dyn Fn(&Path)>,
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
pub fn cut(words: &'static [&'static str], of: &str, last_words: &str) -> Bad {
    let whole = fs::read_to_string(fixture(of)).unwrap();
    let (written, _) = whole.split_once(last_words).unwrap();
    content("half written", words, &format!("{written}{last_words}"))
}

/// Everything that a config file may turn out to be.
pub fn everything_bad() -> Vec<Bad> {
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
pub fn some(wanted: &[&str]) -> Vec<Bad> {
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

pub fn clear(path: &Path) {
    _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}

/// A path as salver names it: absolute, and on Windows with its separators.
pub fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap().display().to_string()
}

/// Runs a command that must end by itself, with this exit code and with each of these words on
/// stderr.
pub fn refused(command: &mut Command, code: i32, words: &[&str]) -> String {
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

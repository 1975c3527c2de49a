//! All that salver can do with its instances, heard from beginning to end.

use std::fs;
use std::path::PathBuf;

use super::aviary::Aviary;
use super::heard::Heard;
use crate::support::err;
use crate::support::service::Service;

/// The shapes of `preview`.
const PREVIEWS: [&[&str]; 4] =
    [&["--as", "record"], &["--as", "event"], &["--as", "request"], &["--explain"]];

impl Aviary {
    /// Records, watches, shows, sends and erases. The file of one that reports is edited while it is watched.
    pub fn tour(&self) -> Heard {
        let mut heard = Heard::default();
        self.ask(&mut heard, &["record"]);
        self.watch(&mut heard);
        self.ask(&mut heard, &["record", "--force"]);
        self.preview(&mut heard);
        self.look(&mut heard);
        heard.keep("before the flush", &self.site.spool());
        self.ask(&mut heard, &["flush", "--dry-run"]);
        self.ask(&mut heard, &["flush"]);
        self.ask(&mut heard, &["flush", "--format", "json"]);
        heard.keep("after the flush", &self.site.spool());
        self.deliver(&mut heard);
        self.ask(&mut heard, &["record", "--force", &self.instances[0].0]);
        self.ask(&mut heard, &["purge", "--all", "--yes"]);
        heard.keep("after the purge", &self.site.spool());
        heard.hear("requests as they came", self.relay.raw());
        for body in self.relay.bodies() {
            heard.hear("request bodies", body);
        }
        heard
    }

    /// A service that forwards by itself sends one more record.
    fn deliver(&self, heard: &mut Heard) {
        let before = self.posthog.events().len();
        self.ask(heard, &["record", "--force", &self.instances[0].0]);
        let mut service = Service::start(self.loud().args(["run", "--flush", "auto"]));
        service.wait_for("a delivery", |_| self.posthog.events().len() > before);
        let ended = service.stop();
        heard.hear("run --flush auto", ended.stdout.join("\n"));
        heard.hear("run --flush auto, stderr", ended.stderr.join("\n"));
    }

    /// Runs one command; it may find nothing to collect, but it may not fail.
    fn ask(&self, heard: &mut Heard, arguments: &[&str]) {
        let output = heard.run(&arguments.join(" "), self.loud().args(arguments));
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{arguments:?} ended with {code:?}: {}", err(&output));
    }

    /// A running service sees a file that says the same, is cut off, takes its consent back and gives it again.
    fn watch(&self, heard: &mut Heard) {
        let reporting = self.site.dump().len();
        // Of several files the last one decides. Some generated files write the consent in another style.
        let mut files = self.instances.iter().map(|(_, files)| files.last().unwrap());
        let gives_consent =
            |file: &&PathBuf| fs::read_to_string(file).unwrap().contains("anonTelemetry: true");
        let file = files.find(gives_consent).unwrap();
        let text = fs::read_to_string(file).unwrap();
        let write = |text: &str| fs::write(file, text).unwrap();
        let mut service = Service::start(self.loud().arg("run"));
        service.wait_for("a first look at all", |it| it.idle_looks() >= reporting);
        service.wait_for_an_idle_look_after(|| write(&format!("{text}# the same\n")));
        service.wait_for_words_after("held: ", || write(&format!("{text}  'cut off\n")));
        service.wait_for_words_after("were erased", || {
            write(&text.replace("anonTelemetry: true", "anonTelemetry: false"));
        });
        service.wait_for_words_after(" recorded ", || write(&text));
        let ended = service.stop();
        heard.hear("run", ended.stdout.join("\n"));
        heard.hear("run, stderr", ended.stderr.join("\n"));
    }

    /// Every instance in one shape and every shape of some instances; a few instances in all shapes.
    fn preview(&self, heard: &mut Heard) {
        for (number, (name, _)) in self.instances.iter().enumerate() {
            for (shape, arguments) in PREVIEWS.iter().enumerate() {
                if self.instances.len() <= PREVIEWS.len() || number % PREVIEWS.len() == shape {
                    let channel = format!("preview {}", arguments.join(" "));
                    let output = heard.run(&channel, self.loud().args(["preview", name]).args(*arguments));
                    assert!(matches!(output.status.code(), Some(0 | 3)), "{name}: {}", err(&output));
                }
            }
        }
    }

    /// All commands that show something.
    fn look(&self, heard: &mut Heard) {
        for format in ["table", "json", "ndjson", "csv"] {
            self.ask(heard, &["dump", "--state", "all", "--format", format]);
            self.ask(heard, &["dump", "--state", "all", "--format", format, "--as", "event"]);
        }
        self.ask(heard, &["status"]);
        self.ask(heard, &["status", "--format", "json"]);
        self.ask(heard, &["id"]);
        self.ask(heard, &["id", "--history"]);
        self.ask(heard, &["pause", "--all"]);
        self.ask(heard, &["resume", "--all"]);
        self.ask(heard, &["purge", "--all", "--dry-run"]);
        self.ask(heard, &["purge", "--service", "butler-sos", "--dry-run"]);
    }
}

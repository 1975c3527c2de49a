//! Every command on a fleet, with all output captured.

use std::fs;
use std::path::PathBuf;

use super::captured::Captured;
use super::fleet::Fleet;
use crate::support::err;
use crate::support::service::Service;

/// The shapes of `preview`.
const PREVIEWS: [&[&str]; 4] =
    [&["--as", "record"], &["--as", "event"], &["--as", "request"], &["--explain"]];

impl Fleet {
    /// Records, watches, shows, sends and erases. The file of one that reports is edited while it is watched.
    pub fn exercise(&self) -> Captured {
        let mut captured = Captured::default();
        self.ask(&mut captured, &["record"]);
        self.watch(&mut captured);
        self.ask(&mut captured, &["record", "--force"]);
        self.preview(&mut captured);
        self.look(&mut captured);
        captured.add_spool("before the flush", &self.site.spool());
        self.ask(&mut captured, &["flush", "--dry-run"]);
        self.ask(&mut captured, &["flush"]);
        self.ask(&mut captured, &["flush", "--format", "json"]);
        captured.add_spool("after the flush", &self.site.spool());
        self.deliver(&mut captured);
        self.ask(&mut captured, &["record", "--force", &self.instances[0].0]);
        self.ask(&mut captured, &["purge", "--all", "--yes"]);
        captured.add_spool("after the purge", &self.site.spool());
        captured.add("requests as they came", self.relay.raw());
        for body in self.relay.bodies() {
            captured.add("request bodies", body);
        }
        captured
    }

    /// A service that forwards by itself sends one more record.
    fn deliver(&self, captured: &mut Captured) {
        let before = self.posthog.events().len();
        self.ask(captured, &["record", "--force", &self.instances[0].0]);
        let mut service = Service::start(self.loud().args(["run", "--flush", "auto"]));
        service.wait_for("a delivery", |_| self.posthog.events().len() > before);
        let ended = service.stop();
        captured.add("run --flush auto", ended.stdout.join("\n"));
        captured.add("run --flush auto, stderr", ended.stderr.join("\n"));
    }

    /// Runs one command; it may find nothing to collect, but it may not fail.
    fn ask(&self, captured: &mut Captured, arguments: &[&str]) {
        let output = captured.run(&arguments.join(" "), self.loud().args(arguments));
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{arguments:?} ended with {code:?}: {}", err(&output));
    }

    /// A running service sees a file that says the same, is cut off, takes its consent back and gives it again.
    fn watch(&self, captured: &mut Captured) {
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
        captured.add("run", ended.stdout.join("\n"));
        captured.add("run, stderr", ended.stderr.join("\n"));
    }

    /// Every instance in one shape and every shape of some instances; a few instances in all shapes.
    fn preview(&self, captured: &mut Captured) {
        for (number, (name, _)) in self.instances.iter().enumerate() {
            for (shape, arguments) in PREVIEWS.iter().enumerate() {
                if self.instances.len() <= PREVIEWS.len() || number % PREVIEWS.len() == shape {
                    let channel = format!("preview {}", arguments.join(" "));
                    let output = captured.run(&channel, self.loud().args(["preview", name]).args(*arguments));
                    assert!(matches!(output.status.code(), Some(0 | 3)), "{name}: {}", err(&output));
                }
            }
        }
    }

    /// All commands that show something.
    fn look(&self, captured: &mut Captured) {
        for format in ["table", "json", "ndjson", "csv"] {
            self.ask(captured, &["dump", "--state", "all", "--format", format]);
            self.ask(captured, &["dump", "--state", "all", "--format", format, "--as", "event"]);
        }
        self.ask(captured, &["status"]);
        self.ask(captured, &["status", "--format", "json"]);
        self.ask(captured, &["id"]);
        self.ask(captured, &["id", "--history"]);
        self.ask(captured, &["pause", "--all"]);
        self.ask(captured, &["resume", "--all"]);
        self.ask(captured, &["purge", "--all", "--dry-run"]);
        self.ask(captured, &["purge", "--service", "butler-sos", "--dry-run"]);
    }
}

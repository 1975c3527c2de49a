//! A server as salver finds it: a folder with the config file of a service, a spool, and settings that name both.
//!
//! The config files are short and of our own writing, in the structure of Butler SOS 15.0.0 and Butler 15.1.0; [`SWITCHES`]
//! work on the real template of Butler SOS 15.0.0 as well.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use super::folders::files;
use super::service::until;
use super::{expect, salver};

/// A config file of Butler SOS, with all that [`SWITCHES`] name.
pub const SOS: &str = "\
# Butler SOS on the production server
Butler-SOS:
    logLevel: info
    anonTelemetry: true # consent
    heartbeat:
        enable: false
        remoteURL: http://monitor.example/alive
    dockerHealthCheck:
        enable: false
        port: 12398
    uptimeMonitor:
        enable: true
        frequency: every 15 minutes
    userEvents:
        enable: false
    mqttConfig:
        enable: false # broker not there yet
        brokerHost: broker.example
        brokerPort: 1883
    prometheus:
        enable: false
        host: 0.0.0.0
    influxdbConfig:
        enable: true
        version: 2
        v2Config:
            org: example
            token: very-secret
    appNames:
        enableAppNameExtract: true
        hostIP: sense.example
    userSessions:
        enableSessionExtract: true
";

/// A config file of Butler.
pub const BUTLER: &str = "\
Butler:
    anonTelemetry: true
    configQRS:
        host: sense.example
    heartbeat:
        enable: true
    dockerHealthCheck:
        enable: false
    mqttConfig:
        enable: false
    keyValueStore:
        enable: true
";

/// Blocks of [`SOS`], and the reported feature that the block's `enable` key switches.
pub const SWITCHES: [(&str, &str); 9] = [
    ("heartbeat", "heartbeat"),
    ("dockerHealthCheck", "dockerHealthCheck"),
    ("uptimeMonitor", "uptimeMonitor"),
    ("userEvents", "userEvents"),
    ("mqttConfig", "mqtt"),
    ("prometheus", "prometheus"),
    ("influxdbConfig", "influxdb"),
    ("appNames", "appNames"),
    ("userSessions", "userSessions"),
];

/// The text with the switch of one block turned, and nothing else touched.
pub fn flip(config: &str, block: &str) -> String {
    let mut lines: Vec<String> = config.split_inclusive('\n').map(str::to_owned).collect();
    let line = &mut lines[switch_of(config, block)];
    *line = match line.contains(": true") {
        true => line.replacen(": true", ": false", 1),
        false => line.replacen(": false", ": true", 1),
    };
    lines.concat()
}

/// Whether the switch of a block is on.
pub fn is_on(config: &str, block: &str) -> bool {
    config.lines().nth(switch_of(config, block)).unwrap().contains(": true")
}

/// The number of the line with the first `enable…` key below the block.
fn switch_of(config: &str, block: &str) -> usize {
    let head = format!("    {block}:");
    let mut lines = config.lines().enumerate().skip_while(|(_, line)| !line.starts_with(&head));
    lines.find(|(_, line)| line.trim_start().starts_with("enable")).unwrap().0
}

/// The features of a record, as `dump` and a try-out print it.
pub fn features(record: &Json) -> &Json {
    &record["data"]["enabledFeatures"]["feature"]
}

/// Whether a record reports all switches of Butler SOS as the config file has them.
pub fn reports(record: &Json, config: &str) -> bool {
    SWITCHES.iter().all(|(block, feature)| features(record)[*feature] == is_on(config, block))
}

/// Records so many changes of `config/sos.yaml`, one by one; tells what the file says in the end.
pub fn record_some(site: &Site, count: usize) -> String {
    let mut config = SOS.to_owned();
    for (block, _) in SWITCHES.iter().cycle().take(count) {
        config = flip(&config, block);
        site.replace("config/sos.yaml", &config);
        expect(site.salver().arg("record"), 0);
    }
    config
}

/// A folder with config files, settings and a spool, removed when dropped.
pub struct Site {
    folder: TempDir,
}

impl Site {
    /// An empty one.
    pub fn new() -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(site.path("config")).unwrap();
        site
    }

    /// One with the config file `config/sos.yaml`.
    pub fn of_sos(config: &str) -> Site {
        let site = Site::new();
        site.write("config/sos.yaml", config);
        site
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where [`Site::of_sos`] puts its config file.
    pub fn sos(&self) -> PathBuf {
        self.path("config/sos.yaml")
    }

    /// The spool of the settings.
    pub fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// Writes a file in place.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file as most editors do: a temporary one beside it, renamed over it.
    pub fn replace(&self, name: &str, text: &str) {
        let fresh = self.path(&format!("{name}.new~"));
        fs::write(&fresh, text).unwrap();
        // On Windows a file that somebody reads at this moment may not be replaced; editors try again, too.
        until("the file to be replaced", || fs::rename(&fresh, self.path(name)).is_ok());
    }

    /// Writes `salver.yaml` with this text, which may speak of the folders by their relative names.
    pub fn settings(&self, text: &str) {
        self.write("salver.yaml", &format!("spool: {{directory: spool}}\n{text}"));
    }

    /// The program with these settings.
    pub fn salver(&self) -> Command {
        let mut command = salver();
        command.arg("--config").arg(self.path("salver.yaml"));
        command
    }

    /// The queue with its dead letters, as `dump` gives it.
    pub fn dump(&self) -> Vec<Json> {
        super::dump(&self.spool())
    }

    /// The uuids of the queue with its dead letters, oldest first.
    pub fn uuids(&self) -> Vec<String> {
        self.dump().iter().map(|record| record["spool"]["uuid"].as_str().unwrap().to_owned()).collect()
    }

    /// The reasons of the records in the queue, oldest first.
    pub fn reasons(&self) -> Vec<String> {
        self.dump().iter().map(|record| record["spool"]["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// `status`, as JSON.
    pub fn status(&self) -> Json {
        super::json(&expect(self.salver().args(["status", "--format", "json"]), 0))
    }

    /// The bytes of every file in the spool, as text where they are text.
    pub fn raw_spool(&self) -> String {
        let mut bytes = Vec::new();
        for file in files(&self.spool()) {
            bytes.extend(fs::read(file).unwrap());
            // So that no two files make up a text that none of them holds.
            bytes.push(0);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

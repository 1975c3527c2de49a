//! A server whose config files are full of canaries: one settings file, an instance for each planted file, and a PostHog
//! behind a tapped wire.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Canaries;
use super::relay::Relay;
use crate::support::posthog::PostHog;
use crate::support::site::Site;

/// The project key, which goes into requests and nowhere else.
pub const KEY: &str = "phc_secret_key_of_the_project";

/// The server.
pub struct Fleet {
    /// Its folders.
    pub site: Site,
    /// All that was planted.
    pub canaries: Canaries,
    /// The names of its instances, and the config files of each.
    pub instances: Vec<(String, Vec<PathBuf>)>,
    /// What arrived.
    pub posthog: PostHog,
    /// What was sent.
    pub relay: Relay,
    entries: String,
}

impl Fleet {
    /// One without instances.
    pub fn new() -> Fleet {
        let posthog = PostHog::start();
        let relay = Relay::to(posthog.address());
        Fleet {
            site: Site::new(),
            canaries: Canaries::default(),
            instances: Vec::new(),
            posthog,
            relay,
            entries: String::new(),
        }
    }

    /// Adds an instance with these config files, laid over each other in order, and what the settings say of it besides.
    pub fn add(&mut self, name: &str, texts: &[&str], further: &str) {
        self.add_in(name, name, texts, further);
    }

    /// The same, with the files in a folder of this name.
    pub fn add_in(&mut self, name: &str, folder: &str, texts: &[&str], further: &str) {
        fs::create_dir_all(self.site.path(&format!("config/{folder}"))).unwrap();
        let mut files = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let file = format!("config/{folder}/{number}.yaml");
            self.site.write(&file, text);
            files.push(file);
        }
        self.entries += &format!("  - {{name: {name}, configFile: [{}], {further}}}\n", files.join(", "));
        let files = files.iter().map(|file| self.site.path(file)).collect();
        self.instances.push((name.to_owned(), files));
    }

    /// Puts the package.json of an installed tool beside an instance's files: salver takes the version and nothing else.
    pub fn install(&mut self, name: &str, service: &str, version: &str) {
        self.canaries.at(format!("package.json of {name}"));
        let mut next = || self.canaries.text();
        let text = format!(
            "{{\"name\": \"{service}\", \"version\": \"{version}\", \"author\": \"{}\", \"{}\": {{\"{}\": [\"{}\"]}}}}",
            next(),
            next(),
            next(),
            next()
        );
        self.site.write(&format!("config/{name}/package.json"), &text);
    }

    /// Writes the settings.
    pub fn open(&self) {
        self.site.settings(&format!(
            "watch: {{settle: 10ms}}\nflush: {{every: 1s}}\nposthog: {{host: '{}', apiKey: {KEY}}}\ninstances:\n{}",
            self.relay.url(),
            self.entries
        ));
    }

    /// The program with these settings, saying all that it can say.
    pub fn loud(&self) -> Command {
        loud(self.site.salver())
    }
}

/// The program, saying all that it can say.
pub fn loud(mut salver: Command) -> Command {
    salver.env("SALVER_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").arg("-vv");
    salver
}

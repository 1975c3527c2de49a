//! An instance as it is looked at, with what this process already knows to be durable of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use semver::Version;

use crate::collect::Remembered;
use crate::record::identity::Readable;
use crate::record::observe::Subject;
use crate::settings::{self, Settings};
use crate::watch::interval::Schedule;

/// One instance, and what this process already knows to be durable of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name in the settings, if it has one.
    pub name: Option<String>,
    /// What is looked at.
    pub subject: Subject,
    /// What the last look found, once the spool knew it too.
    pub(crate) known: Option<[u8; 32]>,
    /// What the spool knew before the first look, until that has come.
    pub(crate) remembered: Option<Remembered>,
    /// The bytes in which it was found, unless they were no document.
    pub(crate) bytes: Option<[u8; 32]>,
    /// Since when its document has withdrawn a consent that was given, as long as that is not believed.
    pub(crate) doubted: Option<Instant>,
    /// What could be read for its id, as long as that may give way to a better one.
    pub(crate) early_pin: Option<Readable>,
    /// When it was last recorded, in milliseconds since 1970, as far as this process knows; `None` while nothing is collected.
    pub(crate) last_record_ms: Option<i64>,
    /// When it is to be recorded although nothing changed.
    pub(crate) schedule: Schedule,
}

impl Target {
    /// The instances of the settings, in their order.
    pub fn of(settings: &Settings) -> Result<Vec<Target>, semver::Error> {
        settings.instances.iter().map(Target::new).collect()
    }

    fn new(instance: &settings::Instance) -> Result<Target, semver::Error> {
        let service_version = instance.service_version.as_deref().map(Version::parse).transpose()?;
        Ok(Target {
            name: instance.name.clone(),
            subject: Subject {
                files: instance.config_files.clone(),
                service: instance.service.clone(),
                service_version,
                node_version: instance.node_version.clone(),
            },
            known: None,
            remembered: None,
            bytes: None,
            doubted: None,
            early_pin: None,
            last_record_ms: None,
            schedule: Schedule::default(),
        })
    }

    /// How long until it is to be recorded although nothing changed; `None` while nothing is collected.
    pub fn due_in(&mut self, interval: Duration, now_ms: i64) -> Option<Duration> {
        self.last_record_ms.map(|last_ms| self.schedule.wait(last_ms, interval, now_ms))
    }

    /// Whether these bytes are others than those of the last look, if there was one.
    pub fn is_other_than(&self, bytes: &[u8; 32]) -> bool {
        self.known.is_some() && self.bytes.as_ref() != Some(bytes)
    }

    /// The spool knew this a moment ago.
    pub fn remember(&mut self, remembered: Remembered) {
        self.remembered = Some(remembered);
    }

    /// What was known of it may not hold any more.
    pub(crate) fn forget(&mut self) {
        (self.known, self.bytes, self.last_record_ms) = (None, None, None);
    }

    /// The key of the instance, once its service is known.
    pub fn key(&self, service: &str) -> String {
        self.name.clone().unwrap_or_else(|| settings::default_name(service, &self.first_file()))
    }

    /// The file that stands for the instance in messages; the settings have made it absolute.
    pub fn first_file(&self) -> PathBuf {
        self.subject.files.first().cloned().unwrap_or_default()
    }

    /// What the instance is called where its service could not be read.
    pub fn held_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.first_file().display().to_string())
    }
}

//! An instance as it is looked at, with what is already known to be durable of it.
//!
//! It travels: a service hands it to the worker that looks, and gets it back with what that found.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock;
use crate::collect::{Ask, Ids, Remembered};
use crate::record::identity::Readable;
use crate::record::observe::Subject;
use crate::settings;
use crate::watch::interval::Schedule;

/// One instance, and what is already known to be durable of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The name in the settings, if it has one.
    pub name: Option<String>,
    /// What is looked at.
    pub subject: Subject,
    /// What the last look found, once the spool knew it too.
    pub(crate) known: Option<[u8; 32]>,
    /// What the spool knew before the first look, until that has come.
    #[serde(skip)]
    pub(crate) remembered: Option<Remembered>,
    /// The bytes in which it was found, unless they were no document.
    pub(crate) bytes: Option<[u8; 32]>,
    /// Since when its document has withdrawn a consent that was given, as long as that is not believed.
    #[serde(serialize_with = "age_of", deserialize_with = "of_age")]
    pub(crate) doubted: Option<Instant>,
    /// What could be read for its id, as long as that may give way to a better one.
    pub(crate) early_pin: Option<Readable>,
    /// When it was last recorded, in milliseconds since 1970, as far as this process knows; `None` while nothing is collected.
    pub(crate) last_record_ms: Option<i64>,
    /// When it is to be recorded although nothing changed.
    pub(crate) schedule: Schedule,
}

impl Target {
    /// An instance that has not been looked at yet.
    pub fn new(name: Option<String>, subject: Subject) -> Target {
        Target {
            name,
            subject,
            known: None,
            remembered: None,
            bytes: None,
            doubted: None,
            early_pin: None,
            last_record_ms: None,
            schedule: Schedule::default(),
        }
    }

    /// Nothing is known of it yet.
    pub fn is_new(&self) -> bool {
        self.known.is_none()
    }

    /// Whether its files, which hold these bytes, need no look: they hold those of the last one, and what followed from them still holds.
    pub fn is_as_before(&mut self, bytes: &[u8; 32], ask: Ask, ids: &Ids) -> bool {
        self.bytes.as_ref() == Some(bytes) && !self.asks_for_more(ask, ids)
    }

    /// Whether the spool is to be asked although nothing changed.
    pub(crate) fn asks_for_more(&mut self, ask: Ask, ids: &Ids) -> bool {
        let is_due = match ask {
            Ask::Difference => false,
            Ask::Interval(interval) => self.due_in(interval, clock::now_ms()) == Some(Duration::ZERO),
            Ask::Force => true,
        };
        is_due || ids.improve_on(self.early_pin)
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

/// A moment means nothing to another process; how long ago it was does.
fn age_of<S: Serializer>(moment: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(|moment| moment.elapsed()).serialize(serializer)
}

/// The moment so long ago; now, where the clock does not go back so far.
fn of_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Instant>, D::Error> {
    let now = Instant::now();
    let age = Option::<Duration>::deserialize(deserializer)?;
    Ok(age.map(|age| now.checked_sub(age).unwrap_or(now)))
}

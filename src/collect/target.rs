//! An instance, with what is known to be durable of it.
//!
//! A target travels: a service sends it to the worker that looks, and gets it back with what the
//! look found.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::Ids;
use super::outcome::Ask;
use crate::clock;
use crate::record::identity::Readable;
use crate::record::subject::Subject;
use crate::settings;
use crate::watch::interval::Schedule;

/// One instance, with what is known to be durable of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The name in the settings, if it has one.
    pub name: Option<String>,
    pub subject: Subject,
    /// Digest of what the last look concluded, once the spool held it too.
    pub(super) known: Option<[u8; 32]>,
    /// Digest of the bytes that this followed from, unless they were no document.
    pub(super) bytes: Option<[u8; 32]>,
    /// When the document was first seen to withdraw a consent, as long as that awaits confirmation.
    #[serde(serialize_with = "age_of", deserialize_with = "of_age")]
    pub(super) unconfirmed_since: Option<Instant>,
    /// What could be read for its id, as long as that id may give way to a better one.
    pub(super) early_pin: Option<Readable>,
    /// When it was last recorded, in milliseconds since 1970, as far as this process knows; `None`
    /// while nothing is collected.
    pub(super) last_record_ms: Option<i64>,
    /// When a record is due although nothing changed.
    pub(super) schedule: Schedule,
}

impl Target {
    /// An instance that has not been looked at yet.
    pub fn new(name: Option<String>, subject: Subject) -> Target {
        Target {
            name,
            subject,
            known: None,
            bytes: None,
            unconfirmed_since: None,
            early_pin: None,
            last_record_ms: None,
            schedule: Schedule::default(),
        }
    }

    /// Whether nothing is known of what the spool holds of it.
    pub fn is_new(&self) -> bool {
        self.known.is_none()
    }

    /// Whether its files, whose bytes have this digest, need no look: they hold the bytes of the
    /// last one, and what followed from them still holds.
    pub fn is_unmodified(&mut self, digest: &[u8; 32], ask: Ask, ids: &Ids) -> bool {
        !self.is_new() && self.bytes.as_ref() == Some(digest) && !self.asks_for_more(ask, ids)
    }

    /// Whether the spool has to be asked although nothing changed.
    pub(super) fn asks_for_more(&mut self, ask: Ask, ids: &Ids) -> bool {
        let is_due = match ask {
            Ask::Difference => false,
            Ask::Interval(interval) => self.due_in(interval, clock::now_ms()) == Some(Duration::ZERO),
            Ask::Force => true,
        };
        is_due || ids.improve_on(self.early_pin)
    }

    /// Time until a record is due although nothing changed; `None` while nothing is collected.
    pub fn due_in(&mut self, interval: Duration, now_ms: i64) -> Option<Duration> {
        self.last_record_ms.map(|last_ms| self.schedule.wait(last_ms, interval, now_ms))
    }

    /// Whether these bytes differ from those of the last look, if there was one.
    pub fn has_changed(&self, digest: &[u8; 32]) -> bool {
        let was_looked_at = self.known.is_some() || self.bytes.is_some();
        was_looked_at && self.bytes.as_ref() != Some(digest)
    }

    /// Ends the wait for the confirmation of a withdrawn consent: the document gives it again.
    pub fn drop_confirmation(&mut self) {
        self.unconfirmed_since = None;
    }

    /// Forgets what the spool was known to hold. The next look compares with the spool again.
    pub fn forget_spool(&mut self) {
        (self.known, self.last_record_ms) = (None, None);
    }

    /// Forgets the last look altogether.
    pub(super) fn forget(&mut self) {
        self.forget_spool();
        self.bytes = None;
    }

    /// The key of the instance, once its service is known.
    pub fn key(&self, service: &str) -> String {
        self.name.clone().unwrap_or_else(|| settings::default_name(service, &self.first_file()))
    }

    /// The file that stands for the instance in messages; the settings have made it absolute.
    pub fn first_file(&self) -> PathBuf {
        self.subject.files.first().cloned().unwrap_or_default()
    }

    /// A name for the instance in messages, where its service is not known.
    pub fn display_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.first_file().display().to_string())
    }
}

/// An `Instant` means nothing to another process; its age does.
fn age_of<S: Serializer>(moment: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(|moment| moment.elapsed()).serialize(serializer)
}

/// The moment of this age; now, where the clock does not go back so far.
fn of_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Instant>, D::Error> {
    let now = Instant::now();
    let age = Option::<Duration>::deserialize(deserializer)?;
    Ok(age.map(|age| now.checked_sub(age).unwrap_or(now)))
}

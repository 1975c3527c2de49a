//! Diagnoses each step of a record's path, from the config file to PostHog.
//!
//! Why: when no records arrive, a dozen different causes look the same to an admin. Each check
//! answers one question, with the next step if the answer is bad. A failed check stops only those
//! that cannot be made without it.
//!
//! Invariants:
//! - Nothing is recorded, erased or delivered. One request without events is sent, of which PostHog
//!   stores nothing.
//! - Of a config file only its path and what follows from it are shown; no key and no proxy's
//!   credentials.
//! - Every check ends: name lookup, connection and request each have a timeout.

use serde::Serialize;

mod local;
mod remote;

pub use local::{clock, instance, space, spool};
pub use remote::{connection, key, proxy};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works, or is off on purpose, and an admin should know.
    Warning,
    /// It does not work.
    Failure,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `settings`, `spool`, `space`, `file`, `clock`, `key`, `proxy`, `name`, `tcp`, `tls` or
    /// `posthog`.
    pub check: &'static str,
    pub level: Level,
    pub text: String,
    pub next: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, text: text.into(), next: None }
    }

    pub fn warning(check: &'static str, text: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warning, text: text.into(), next: Some(next.into()) }
    }

    pub fn failure(check: &'static str, text: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding { check, level: Level::Failure, text: text.into(), next: Some(next.into()) }
    }

    /// A failure with the text of an error, which names its next step behind the last semicolon.
    pub fn error(check: &'static str, error: &dyn std::fmt::Display) -> Finding {
        let text = error.to_string();
        match text.rsplit_once("; ") {
            Some((text, next)) => Finding::failure(check, text, next),
            None => Finding { check, level: Level::Failure, text, next: None },
        }
    }
}

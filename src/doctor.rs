//! The doctor: walks the way of a record, from the config file to PostHog, and says of each step whether it would work.
//!
//! Why: when nothing arrives, an admin sees one of a dozen causes only as silence. Each check here answers one question, with
//! the next step if the answer is bad, and none stops those after it unless they could not be asked any more.
//!
//! Invariants:
//! - Nothing is recorded, erased or delivered: what is sent is one request without events, of which PostHog stores nothing.
//! - Nothing is said of a config file but where it is and what follows from it; no key and no proxy's credentials are said.
//! - Every check ends: looking up, connecting and asking each have a limit.

use serde::Serialize;

mod here;
mod there;

pub use here::{clock, instance, space, spool};
pub use there::{key, line, proxy};

/// How a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works.
    Ok,
    /// It works, or is meant to be off, and should be known.
    Warning,
    /// It does not work.
    Failure,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `settings`, `spool`, `space`, `file`, `clock`, `key`, `proxy`, `name`, `tcp`, `tls` or `posthog`.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub text: String,
    /// What to do about it.
    pub next: Option<String>,
}

impl Finding {
    /// It works.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, text: text.into(), next: None }
    }

    /// It should be known.
    pub fn warning(check: &'static str, text: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warning, text: text.into(), next: Some(next.into()) }
    }

    /// It does not work.
    pub fn failure(check: &'static str, text: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding { check, level: Level::Failure, text: text.into(), next: Some(next.into()) }
    }

    /// It does not work, and an error says why. Errors name their next step themselves, behind the last semicolon.
    pub fn error(check: &'static str, error: &dyn std::fmt::Display) -> Finding {
        let text = error.to_string();
        match text.rsplit_once("; ") {
            Some((text, next)) => Finding::failure(check, text, next),
            None => Finding { check, level: Level::Failure, text, next: None },
        }
    }
}

//! `salver.yaml`, the environment and the flags become one value, validated once.
//!
//! Every other part of salver takes a [`Settings`] (or a piece of it) and may rely on it: ranges
//! are checked, paths are absolute, units are gone, names are distinct. Nothing is read again later
//! and nothing is checked twice.
//!
//! Invariants:
//! 1. A slip is an error, never a default: unknown keys, duplicate keys, numbers without a unit and
//!    values out of range end the program with a message that names the file, the line, the setting
//!    and what would be right.
//! 2. A message never quotes the file. A key or a proxy's password may stand on any mistyped line.
//! 3. A key without a value (`host:`) means the same as no key at all, as in a half-filled sample.
//! 4. The working folder, which others may write, never provides settings, nor a spool unless files
//!    or `--spool` are given.
//! 5. Paths are valid Unicode: they go into the spool, into JSON and into the requests of workers.
//!
//! The stages: `file` parses the text into raw sections, whose values are still anything (`raw`)
//! but know their line; each section validates its own (`spool`, `watch`, `record`, `identity`,
//! `flush`, `posthog`, `instances`) through `fields`, by the `rules`. `resolve` decides which file,
//! if any, and lays the flags over it; `trust` refuses what others could have written; `inputs`
//! tells whether the files have changed since. `suggest` helps with mistyped keys, `error` has the
//! words, `paths` knows each operating system's folders.
//!
//! A section is one file: for each setting its key, default, range and rule. A new setting is an
//! edit there, in packaging/salver.sample.yaml and in docs/settings.md, and a test holds the three
//! together.

mod error;
mod fields;
mod file;
mod flush;
mod identity;
mod inputs;
mod instances;
mod paths;
mod posthog;
mod raw;
mod record;
mod resolve;
mod rules;
mod spool;
mod suggest;
#[cfg(test)]
mod tests;
mod trust;
mod units;
mod watch;

pub use error::{Location, SettingsError};
pub use file::Settings;
pub use flush::{FlushMode, FlushSettings, UnknownWord};
pub use identity::IdentitySettings;
pub use inputs::SettingsInputs;
pub use instances::InstanceSettings;
pub use paths::{TRY_OUT_SPOOL, default_name, system_settings, system_spool};
pub use posthog::{PostHogSettings, is_loopback};
pub use record::RecordSettings;
pub use resolve::{Overrides, Resolved, resolve};

pub use spool::SpoolSettings;
pub use trust::Untrusted;
pub use units::{parse_duration, parse_size, show_duration, show_size};
pub use watch::WatchSettings;

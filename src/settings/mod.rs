//! `salver.yaml`, the environment and the flags become one value, validated once.
//!
//! Every other part of salver takes a [`Settings`] (or a piece of it) and may rely on it: ranges are checked, paths are
//! absolute, units are gone, names are distinct. Nothing is read again later and nothing is checked twice.
//!
//! Invariants:
//! 1. A slip is an error, never a default: unknown keys, duplicate keys, numbers without a unit and values out of range
//!    end the program with a message that names the file, the line, the setting and what would be right.
//! 2. A message never quotes the file. A key or a proxy's password may stand on any mistyped line.
//! 3. A key without a value (`host:`) means the same as no key at all: that is what a half-filled sample looks like.
//! 4. The working folder, which others may write, never provides settings, nor a spool unless files or `--spool` are
//!    given.
//!
//! The way of a file: `file` reads it within bounds and parses it into the `shape` of the document, whose values are
//! still anything (`given`) but know their line; `check` and `instance` turn them into `values` through a `reader`,
//! within the `limits`, by the rules of `units` and `posthog`; `nearest` helps with mistyped keys, `error` has the
//! words. `layers` decides which file, if any, and lays the flags over it; `trust` refuses what others could
//! have written; `place` knows each operating system's folders.

mod check;
mod error;
mod file;
mod given;
mod instance;
mod layers;
mod limits;
mod nearest;
mod place;
mod posthog;
mod reader;
mod shape;
mod source;
mod trust;
mod units;
mod values;

pub use error::{Place, SettingsError};
pub use layers::{Overrides, Resolved, resolve};
pub use place::{TRY_OUT_SPOOL, default_name, system_place, system_spool};
pub use posthog::is_loopback;
pub use source::Source;
pub use trust::Untrusted;
pub use units::{parse_duration, parse_size, show_duration, show_size};
pub use values::{
    Flush, FlushMode, Identity, Instance, PostHog, RecordSettings, Settings, Spool, UnknownWord, Watch,
};

//! `watch`: noticing changes.

use std::time::Duration;

use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::raw::Raw;
use super::rules::{DAY, MINUTE, SECOND, Setting};

/// Zero would read files in the middle of an editor's write.
const SETTLE: Setting<Duration> = Setting {
    name: "watch.settle",
    default: Duration::from_millis(250),
    range: Duration::from_millis(10)..=MINUTE,
};

/// Below a second the disk never rests; beyond a day a change on a network share would be recorded
/// a day late.
const POLL: Setting<Duration> = Setting { name: "watch.poll", default: MINUTE, range: SECOND..=DAY };

#[derive(Clone, Debug, PartialEq)]
pub struct WatchSettings {
    /// How long a file must have been quiet before it is read.
    pub settle: Duration,
    /// How often files are looked at even if the operating system reports nothing (it does not on
    /// network shares).
    pub poll: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { settle: SETTLE.default, poll: POLL.default }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawWatch {
    settle: Option<Raw>,
    poll: Option<Raw>,
}

impl RawWatch {
    pub fn validate(self, fields: &Fields) -> Result<WatchSettings, SettingsError> {
        Ok(WatchSettings {
            settle: fields.duration(&SETTLE, self.settle)?,
            poll: fields.duration(&POLL, self.poll)?,
        })
    }
}

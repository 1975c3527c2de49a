//! `flush`: when records are forwarded, and in what portions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::raw::Raw;
use super::rules::{CENTURY, DAY, HOUR, KIB, MIB, MINUTE, SECOND, Setting, word};

/// Between attempts of the service while PostHog can be reached.
const EVERY: Setting<Duration> =
    Setting { name: "flush.every", default: Duration::from_mins(15), range: SECOND..=DAY.saturating_mul(30) };

/// More than 10,000 gain nothing and make a refused batch long to halve.
const BATCH_EVENTS: Setting<u64> = Setting { name: "flush.batchEvents", default: 2000, range: 1..=10_000 };

/// PostHog takes 20 MiB decoded; 16 KiB still holds the largest record of any generation.
const BATCH_BYTES: Setting<u64> =
    Setting { name: "flush.batchBytes", default: 8 * MIB, range: 16 * KIB..=20 * MIB };

const TIMEOUT: Setting<Duration> = Setting {
    name: "flush.timeout",
    default: Duration::from_secs(30),
    range: SECOND..=MINUTE.saturating_mul(10),
};

const PATIENCE: Setting<Duration> =
    Setting { name: "flush.patience", default: Duration::from_secs(10), range: SECOND..=HOUR };

/// A burst within the last hour is no history; a century switches it off.
const HISTORICAL_AFTER: Setting<Duration> =
    Setting { name: "flush.historicalAfter", default: DAY.saturating_mul(2), range: HOUR..=CENTURY };

#[derive(Clone, Debug, PartialEq)]
pub struct FlushSettings {
    pub mode: FlushMode,
    /// How often the service checks whether records wait.
    pub every: Duration,
    /// Most events in one request.
    pub batch_events: usize,
    /// Most bytes of JSON in one request, before gzip.
    pub batch_bytes: u64,
    /// Longest time that one request may take.
    pub timeout: Duration,
    /// Longest time that a flush by hand waits in all.
    pub patience: Duration,
    /// Age from which records are sent as historical.
    pub historical_after: Duration,
}

impl Default for FlushSettings {
    fn default() -> Self {
        Self {
            mode: FlushMode::default(),
            every: EVERY.default,
            batch_events: as_events(BATCH_EVENTS.default),
            batch_bytes: BATCH_BYTES.default,
            timeout: TIMEOUT.default,
            patience: PATIENCE.default,
            historical_after: HISTORICAL_AFTER.default,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawFlush {
    mode: Option<Raw>,
    every: Option<Raw>,
    batch_events: Option<Raw>,
    batch_bytes: Option<Raw>,
    timeout: Option<Raw>,
    patience: Option<Raw>,
    historical_after: Option<Raw>,
}

impl RawFlush {
    pub fn validate(self, fields: &Fields) -> Result<FlushSettings, SettingsError> {
        let mode = |value: &_| word(value, &FlushMode::WORDS);
        Ok(FlushSettings {
            mode: fields.or(FlushMode::default(), "flush.mode", self.mode, mode)?,
            every: fields.duration(&EVERY, self.every)?,
            batch_events: as_events(fields.count(&BATCH_EVENTS, self.batch_events)?),
            batch_bytes: fields.size(&BATCH_BYTES, self.batch_bytes)?,
            timeout: fields.duration(&TIMEOUT, self.timeout)?,
            patience: fields.duration(&PATIENCE, self.patience)?,
            historical_after: fields.duration(&HISTORICAL_AFTER, self.historical_after)?,
        })
    }
}

/// 10,000 at most: no machine's usize is too small.
fn as_events(count: u64) -> usize {
    count as usize
}

/// Who starts a flush. Prints and parses as the word in the settings file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushMode {
    /// Only `salver flush` forwards.
    #[default]
    Manual,
    /// The service forwards by itself.
    Auto,
}

impl FlushMode {
    /// The words of the settings file and the command line.
    const WORDS: [(&'static str, Self); 2] = [("manual", Self::Manual), ("auto", Self::Auto)];
}

impl fmt::Display for FlushMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
        })
    }
}

impl FromStr for FlushMode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::WORDS.into_iter().find(|(known, _)| *known == word);
        found.map(|(_, mode)| mode).ok_or(UnknownWord("manual or auto"))
    }
}

/// A word on the command line that is none of those known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write {0}")]
pub struct UnknownWord(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_mode_is_its_word() {
        for (word, mode) in FlushMode::WORDS {
            assert_eq!(word.parse(), Ok(mode));
            assert_eq!(mode.to_string(), word);
        }
        assert_eq!("Auto".parse::<FlushMode>().unwrap_err().to_string(), "write manual or auto");
    }
}

//! `record`: records beyond those that a change gives.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::raw::{Raw, RawValue};
use super::rules::{DAY, MINUTE, Refusal, duration};

/// Butler's own cadence is 12 h; once a minute is already far more than anyone reads.
const INTERVAL: RangeInclusive<Duration> = MINUTE..=DAY.saturating_mul(365);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordSettings {
    /// Age of an instance's last record at which one is written although nothing changed; `None` is
    /// `off`.
    pub interval: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawRecord {
    interval: Option<Raw>,
}

impl RawRecord {
    pub fn validate(self, fields: &Fields) -> Result<RecordSettings, SettingsError> {
        Ok(RecordSettings { interval: fields.or(None, "record.interval", self.interval, interval)? })
    }
}

fn interval(value: &RawValue) -> Result<Option<Duration>, Refusal> {
    match value {
        RawValue::Text(text) if text == "off" => Ok(None),
        RawValue::Text(_) => duration(value, &INTERVAL).map(Some),
        _ => Refusal::new("neither off nor a duration; write off, or a number with a unit, such as 12h"),
    }
}

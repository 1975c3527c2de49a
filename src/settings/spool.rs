//! `spool`: the queue on disk.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::paths::system_spool;
use super::raw::Raw;
use super::rules::{CENTURY, DAY, GIB, HOUR, MIB, Setting};

/// Below 2 MiB an empty spool with its ledger and its reserve would already be over the limit.
const MAX_BYTES: Setting<u64> = Setting { name: "spool.maxBytes", default: GIB, range: 2 * MIB..=1024 * GIB };

/// A hundred million records are decades of any server's changes.
const MAX_RECORDS: Setting<u64> =
    Setting { name: "spool.maxRecords", default: 1_000_000, range: 1..=100_000_000 };

/// With less than an hour no record would outlive a short outage; a century means "keep".
const RETENTION: Setting<Duration> =
    Setting { name: "spool.retention", default: DAY.saturating_mul(730), range: HOUR..=CENTURY };

/// A process holds the spool for milliseconds, so 100 ms is short but fair; after 10 minutes a
/// human should look.
const WAIT: Setting<Duration> = Setting {
    name: "spool.wait",
    default: Duration::from_secs(10),
    range: Duration::from_millis(100)..=Duration::from_mins(10),
};

#[derive(Clone, Debug, PartialEq)]
pub struct SpoolSettings {
    pub directory: PathBuf,
    /// Most bytes that the files of the folder may take; beyond it the oldest records are evicted.
    pub max_bytes: u64,
    /// Most records that may wait; beyond it the oldest are evicted.
    pub max_records: u64,
    /// Age at which a record that could not be delivered expires.
    pub retention: Duration,
    /// How long a command waits for another process to release the spool.
    pub wait: Duration,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            directory: system_spool(),
            max_bytes: MAX_BYTES.default,
            max_records: MAX_RECORDS.default,
            retention: RETENTION.default,
            wait: WAIT.default,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawSpool {
    directory: Option<Raw>,
    max_bytes: Option<Raw>,
    max_records: Option<Raw>,
    retention: Option<Raw>,
    wait: Option<Raw>,
}

impl RawSpool {
    pub fn validate(self, fields: &Fields) -> Result<SpoolSettings, SettingsError> {
        Ok(SpoolSettings {
            directory: fields.path("spool.directory", self.directory)?.unwrap_or_else(system_spool),
            max_bytes: fields.size(&MAX_BYTES, self.max_bytes)?,
            max_records: fields.count(&MAX_RECORDS, self.max_records)?,
            retention: fields.duration(&RETENTION, self.retention)?,
            wait: fields.duration(&WAIT, self.wait)?,
        })
    }
}

//! From the document to the settings: where every setting meets its default and its rule.
//!
//! A pure function of the document and of the path of its file. It stops at the first slip: its line is named, and the
//! next run tells the next one.

use std::path::Path;

use super::error::SettingsError;
use super::given::{Leaf, Wrong, count, duration, flag, size, text, word};
use super::instance::instances;
use super::reader::Reader;
use super::values::{Flush, FlushMode, Identity, PostHog, RecordSettings, Settings, Spool, Watch};
use super::{limits, posthog, shape};
use crate::record::identity::SystemIdSource;
use crate::secret::Secret;

const SYSTEM_IDS: [(&str, SystemIdSource); 4] = [
    ("auto", SystemIdSource::Auto),
    ("dmi", SystemIdSource::Dmi),
    ("machine", SystemIdSource::Machine),
    ("none", SystemIdSource::None),
];

/// Judges a document that stands in `file`, against whose folder relative paths are resolved.
pub(super) fn check(document: shape::Document, file: &Path) -> Result<Settings, SettingsError> {
    let read = Reader::new(file);
    Ok(Settings {
        spool: spool(&read, document.spool.unwrap_or_default())?,
        watch: watch(&read, document.watch.unwrap_or_default())?,
        record: record(&read, document.record.unwrap_or_default())?,
        identity: identity(&read, document.identity.unwrap_or_default())?,
        flush: flush(&read, document.flush.unwrap_or_default())?,
        posthog: posthog(&read, document.posthog.unwrap_or_default())?,
        catalogues: read.paths("catalogues", document.catalogues)?,
        instances: instances(&read, document.instances.unwrap_or_default())?,
    })
}

fn spool(read: &Reader, given: shape::Spool) -> Result<Spool, SettingsError> {
    let Spool { directory, max_bytes, max_records, retention, wait } = Spool::default();
    let (bytes, records) = (size(limits::SPOOL_BYTES), count(limits::SPOOL_RECORDS));
    Ok(Spool {
        directory: read.path("spool.directory", given.directory)?.unwrap_or(directory),
        max_bytes: read.or(max_bytes, "spool.maxBytes", given.max_bytes, bytes)?,
        max_records: read.or(max_records, "spool.maxRecords", given.max_records, records)?,
        retention: read.or(retention, "spool.retention", given.retention, duration(limits::RETENTION))?,
        wait: read.or(wait, "spool.wait", given.wait, duration(limits::SPOOL_WAIT))?,
    })
}

fn watch(read: &Reader, given: shape::Watch) -> Result<Watch, SettingsError> {
    let Watch { settle, poll } = Watch::default();
    Ok(Watch {
        settle: read.or(settle, "watch.settle", given.settle, duration(limits::SETTLE))?,
        poll: read.or(poll, "watch.poll", given.poll, duration(limits::POLL))?,
    })
}

fn record(read: &Reader, given: shape::Record) -> Result<RecordSettings, SettingsError> {
    let interval = read.or(None, "record.interval", given.interval, |value| match value {
        Leaf::Text(text) if text == "off" => Ok(None),
        Leaf::Text(_) => duration(limits::INTERVAL)(value).map(Some),
        _ => Wrong::new("neither off nor a duration; write off, or a number with a unit, such as 12h"),
    })?;
    Ok(RecordSettings { interval })
}

fn identity(read: &Reader, given: shape::Identity) -> Result<Identity, SettingsError> {
    let Identity { system_id } = Identity::default();
    Ok(Identity { system_id: read.or(system_id, "identity.systemId", given.system_id, word(&SYSTEM_IDS))? })
}

fn flush(read: &Reader, given: shape::Flush) -> Result<Flush, SettingsError> {
    let default = Flush::default();
    let time = |default, name, given, range| read.or(default, name, given, duration(range));
    // 10,000 at most: no machine's usize is too small.
    let events = |value: &Leaf| Ok(count(limits::BATCH_EVENTS)(value)? as usize);
    let bytes = size(limits::BATCH_BYTES);
    let historical = limits::HISTORICAL_AFTER;
    Ok(Flush {
        mode: read.or(default.mode, "flush.mode", given.mode, word(&FlushMode::WORDS))?,
        every: time(default.every, "flush.every", given.every, limits::EVERY)?,
        batch_events: read.or(default.batch_events, "flush.batchEvents", given.batch_events, events)?,
        batch_bytes: read.or(default.batch_bytes, "flush.batchBytes", given.batch_bytes, bytes)?,
        timeout: time(default.timeout, "flush.timeout", given.timeout, limits::TIMEOUT)?,
        patience: time(default.patience, "flush.patience", given.patience, limits::PATIENCE)?,
        historical_after: time(
            default.historical_after,
            "flush.historicalAfter",
            given.historical_after,
            historical,
        )?,
    })
}

fn posthog(read: &Reader, given: shape::PostHog) -> Result<PostHog, SettingsError> {
    let plain = read.or(false, "posthog.allowPlainHttp", given.allow_plain_http, flag)?;
    let secret = |name, given, rule: fn(&str) -> Result<String, Wrong>| {
        read.optional(name, given, |value| text(value).and_then(rule).map(Secret::new))
    };
    Ok(PostHog {
        host: read.optional("posthog.host", given.host, |value| posthog::host(text(value)?, plain))?,
        api_key: secret("posthog.apiKey", given.api_key, posthog::api_key)?,
        proxy: secret("posthog.proxy", given.proxy, posthog::proxy)?,
        ca_file: read.path("posthog.caFile", given.ca_file)?,
        allow_plain_http: plain,
        geoip: read.or(false, "posthog.geoip", given.geoip, flag)?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(
            text,
            Path::new(if cfg!(windows) { r"C:\conf\salver.yaml" } else { "/conf/salver.yaml" }),
        )
    }

    fn error(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn a_setting_that_is_given_wins_and_the_others_keep_their_default() {
        let text = "flush: {mode: auto, batchEvents: 7, batchBytes: 1 MiB}
record: {interval: 12h}
spool: {maxBytes: 4194304}";
        let settings = parse(text).unwrap();
        let flush =
            Flush { mode: FlushMode::Auto, batch_events: 7, batch_bytes: 1 << 20, ..Flush::default() };
        assert_eq!(settings.flush, flush);
        assert_eq!(settings.record.interval, Some(Duration::from_hours(12)));
        assert_eq!(settings.spool, Spool { max_bytes: 4 << 20, ..Spool::default() });
    }

    #[test]
    fn nothing_after_a_colon_is_nothing_given() {
        for text in
            ["", "# only a comment", "---", "flush:", "instances:", "posthog: {host, apiKey: , geoip: ~}"]
        {
            assert_eq!(parse(text).unwrap(), Settings::default(), "{text}");
        }
    }

    #[test]
    fn a_wrong_unit_names_the_setting_the_line_and_right_ones() {
        for wrong in ["10 parsecs", "31", "15.5", "-1h", "1 month", "true", "[1h]"] {
            let error = error(&format!("flush:\n  every: {wrong}\n"));
            assert!(error.contains("salver.yaml, line 2, column 10: flush.every: "), "{error}");
            assert!(error.contains("12h") && !error.contains(wrong), "{error}");
        }
        let error = error("spool:\n  wait: 5s\n  maxBytes: 10 parsecs\n");
        assert!(
            error.contains("line 3") && error.contains("spool.maxBytes: ") && error.contains("1 GiB"),
            "{error}"
        );
    }

    #[test]
    fn a_value_out_of_range_names_the_range() {
        let cases = [
            ("watch: {settle: 0s}", "10ms to 1m"),
            ("watch: {poll: 999ms}", "1s to 1d"),
            ("flush: {batchEvents: 0}", "1 to 10000"),
            ("flush: {batchEvents: 10001}", "1 to 10000"),
            ("flush: {batchBytes: 21 MiB}", "16 KiB to 20 MiB"),
            ("spool: {maxBytes: 1 MiB}", "2 MiB to 1 TiB"),
            ("spool: {retention: 40000d}", "1h to 36500d"),
            ("record: {interval: 1s}", "1m to 365d"),
        ];
        for (text, range) in cases {
            let error = error(text);
            assert!(error.contains(&format!("out of range; write {range}")), "{error}");
        }
    }

    #[test]
    fn a_word_that_is_none_of_those_known_is_told_them() {
        assert!(error("flush: {mode: off}").contains("one of: manual, auto"));
        assert!(error("identity: {systemId: false}").contains("one of: auto, dmi, machine, none"));
        assert!(error("posthog: {geoip: yes}").contains("write true or false"));
        assert!(error("record: {interval: false}").contains("write off"));
    }

    #[test]
    fn paths_are_resolved_against_the_folder_of_the_settings_file() {
        let text =
            "spool: {directory: spool}\ncatalogues: [a, ./b]\ninstances: [{configFile: [x.yaml, /y.yaml]}]";
        let settings = parse(text).unwrap();
        let folder = Path::new(if cfg!(windows) { r"C:\conf" } else { "/conf" });
        assert_eq!(settings.spool.directory, folder.join("spool"));
        assert_eq!(settings.catalogues, [folder.join("a"), folder.join("b")]);
        let elsewhere = PathBuf::from(if cfg!(windows) { r"C:\y.yaml" } else { "/y.yaml" });
        assert_eq!(settings.instances[0].config_files, [folder.join("x.yaml"), elsewhere]);
        assert!(error("posthog: {caFile: ''}").contains("no path"));
        assert!(error("posthog: {caFile: \"C:\\new\"}").contains("single quotes"));
    }

    #[test]
    fn secrets_are_in_no_message() {
        let long = format!("hunter2{}", "x".repeat(70));
        for value in ["phx_hunter2", "'hunter2 '", "[hunter2]", "{hunter2: 1}", &long] {
            for key in ["apiKey", "proxy", "host"] {
                let error = parse(&format!("posthog:\n  {key}: {value}\n")).unwrap_err();
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
                assert!(
                    error.to_string().contains(&format!("line 2, column {}: posthog.{key}: ", key.len() + 5)),
                    "{error}"
                );
            }
        }
        let settings = parse("posthog: {apiKey: phc_hunter2, proxy: 'http://me:hunter2@proxy:80'}").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.posthog.api_key.unwrap().expose(), "phc_hunter2");
    }
}

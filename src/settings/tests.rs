//! The settings file as a whole: values, defaults and errors, the sample and the documentation.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::sections;
use super::{
    FlushMode, FlushSettings, InstanceSettings, Settings, SettingsError, SpoolSettings, system_spool,
};

const SAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/salver.sample.yaml"));
const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md"));

fn of_sample(text: &str) -> Settings {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn parse(text: &str) -> Result<Settings, SettingsError> {
    Settings::parse(text, Path::new(if cfg!(windows) { r"C:\conf\salver.yaml" } else { "/conf/salver.yaml" }))
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
    let flush = FlushSettings {
        mode: FlushMode::Auto,
        batch_events: 7,
        batch_bytes: 1 << 20,
        ..FlushSettings::default()
    };
    assert_eq!(settings.flush, flush);
    assert_eq!(settings.record.interval, Some(Duration::from_hours(12)));
    assert_eq!(settings.spool, SpoolSettings { max_bytes: 4 << 20, ..SpoolSettings::default() });
}

#[test]
fn nothing_after_a_colon_is_nothing_given() {
    for text in ["", "# only a comment", "---", "flush:", "instances:", "posthog: {host, apiKey: , geoip: ~}"]
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

/// The sample with everything switched on: a setting follows its `#` at once or, within an entry of
/// the list, after two spaces; prose follows after one.
fn sample_in_full() -> String {
    let switch_on = |line: &str| match line.split_once('#') {
        Some((indent, rest)) if indent.trim().is_empty() => match rest.len() - rest.trim_start().len() {
            0 | 2 => format!("{indent}{rest}\n"),
            _ => format!("{line}\n"),
        },
        _ => format!("{line}\n"),
    };
    SAMPLE.lines().map(switch_on).collect()
}

#[test]
fn the_sample_as_it_stands_is_the_defaults() {
    assert_eq!(of_sample(SAMPLE), Settings::default());
    assert_eq!(of_sample(&SAMPLE.replace('\n', "\r\n")), Settings::default());
}

#[test]
fn every_setting_is_in_the_sample_and_in_the_documentation() {
    let sample = sample_in_full();
    let keys = sections().into_iter().flat_map(|(_, keys)| keys);
    for key in keys.chain(["catalogues"]) {
        assert!(
            sample.lines().any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{key}:"))),
            "{key}"
        );
        assert!(DOCS.contains(&format!("\n| `{key}` | ")), "{key}");
    }
}

#[test]
fn what_the_sample_switches_off_works_when_it_is_switched_on() {
    let settings = of_sample(&sample_in_full());
    assert_eq!(settings.posthog.host.as_deref(), Some("https://eu.posthog.com"));
    assert!(settings.posthog.api_key.is_some() && settings.posthog.proxy.is_some());
    assert!(settings.posthog.ca_file.is_some());
    assert_ne!(settings.spool.directory, system_spool());
    let names: Vec<_> = settings.instances.iter().map(|instance| instance.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["butler", "butler-sos"]);
    assert_eq!(
        settings.instances[0],
        InstanceSettings {
            name: Some("butler".into()),
            ..InstanceSettings::of_file(settings.instances[0].config_files[0].clone())
        }
    );
    assert_eq!(settings.instances[1].service_version, Some(semver::Version::new(15, 0, 0)));
}

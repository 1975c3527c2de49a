//! `instances`: the watched installations, and that no two have the same key.
//!
//! An instance's key keeps its state in the spool apart from every other's, and admins type it. So
//! two instances with one key are refused here, before their records are mixed up.

use std::path::PathBuf;

use semver::Version;
use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::raw::{Raw, RawValue};
use super::rules::{Refusal, text};
use crate::yaml::Located;

/// Longest name of an instance or a service: the width of a column of `status`.
const NAME_LENGTH: usize = 64;

/// One installation of Butler or Butler SOS. `None` stands for `auto`.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceSettings {
    /// The instance's key. Without one it is [`super::default_name`], once the service is known.
    pub name: Option<String>,
    /// The service's name in the catalogue; by default the top-level key of the file tells.
    pub service: Option<String>,
    /// The config files, at least one, the later laid over the earlier.
    pub config_files: Vec<PathBuf>,
    /// The tool's release; by default its package.json tells.
    pub service_version: Option<Version>,
    /// The version of Node.js that runs the tool, such as `v20.20.2`.
    pub node_version: Option<String>,
}

impl InstanceSettings {
    /// An instance of which only the file is known, as `--watch FILE` gives it.
    pub fn of_file(file: PathBuf) -> Self {
        Self {
            name: None,
            service: None,
            config_files: vec![file],
            service_version: None,
            node_version: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawInstance {
    name: Option<Raw>,
    service: Option<Raw>,
    config_file: Option<Raw>,
    service_version: Option<Raw>,
    node_version: Option<Raw>,
}

/// Validates the entries, each on its own and beside those before it.
pub(super) fn validate(
    entries: Vec<Located<RawInstance>>,
    fields: &Fields,
) -> Result<Vec<InstanceSettings>, SettingsError> {
    let mut instances: Vec<InstanceSettings> = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        let at = entry.at;
        let next = instance(fields, number, entry)?;
        if let Some((what, first)) =
            instances.iter().zip(1..).find_map(|(a, n)| Some((in_common(a, &next)?, n)))
        {
            let what = format!("{what} as instance {first}; give each a name of its own");
            return Err(fields.refuse(&format!("instance {number}"), at, &Refusal(what.into())));
        }
        instances.push(next);
    }
    Ok(instances)
}

fn instance(
    fields: &Fields,
    number: usize,
    entry: Located<RawInstance>,
) -> Result<InstanceSettings, SettingsError> {
    let Located { value: raw, at } = entry;
    let key = |key: &str| format!("instance {number}, {key}");
    let config_files = fields.paths(&key("configFile"), raw.config_file)?;
    if config_files.is_empty() {
        let missing = "missing; name the YAML config file of Butler or Butler SOS";
        return Err(fields.refuse(&key("configFile"), at, &Refusal(missing.into())));
    }
    Ok(InstanceSettings {
        name: fields.optional(&key("name"), raw.name, |value| name(text(value)?))?,
        service: fields.or(None, &key("service"), raw.service, unless_auto(name))?,
        config_files,
        service_version: fields.or(
            None,
            &key("serviceVersion"),
            raw.service_version,
            unless_auto(service_version),
        )?,
        node_version: fields.or(None, &key("nodeVersion"), raw.node_version, unless_auto(node_version))?,
    })
}

/// What would give two instances the same key. Without a name it follows from the service and the
/// first file.
fn in_common(a: &InstanceSettings, b: &InstanceSettings) -> Option<String> {
    match (&a.name, &b.name) {
        (Some(name), Some(other)) if name == other => Some(format!("the same name, \"{name}\",")),
        (None, None) if a.service == b.service && a.config_files.first() == b.config_files.first() => {
            Some("without a name, and with the same config file".to_owned())
        }
        _ => None,
    }
}

/// Reads the word `auto` as `None` and any other text by `rule`, which refuses the empty text that
/// stands for another type (`15.0` is a number).
fn unless_auto<T>(
    rule: fn(&str) -> Result<T, Refusal>,
) -> impl FnOnce(&RawValue) -> Result<Option<T>, Refusal> {
    move |value| match text(value) {
        Ok("auto") => Ok(None),
        given => rule(given.unwrap_or_default()).map(Some),
    }
}

/// A name that no shell, no table and no path separator gets in the way of.
fn name(text: &str) -> Result<String, Refusal> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = text.chars().count() <= NAME_LENGTH && text.chars().all(inside);
    if fits && text.starts_with(char::is_alphanumeric) {
        return Ok(text.to_owned());
    }
    Refusal::new(
        "not usable as a name; write 1 to 64 letters, digits, dots, hyphens and underscores, starting \
         with a letter or a digit (a number alone in single quotes)",
    )
}

fn service_version(text: &str) -> Result<Version, Refusal> {
    Version::parse(text).or_else(|_| {
        Refusal::new("not a full version; write all three numbers without a v, such as 15.0.0, or auto")
    })
}

fn node_version(text: &str) -> Result<String, Refusal> {
    match text.strip_prefix('v').map(Version::parse) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => {
            Refusal::new("not a version of Node; write what node --version prints, such as v20.20.2, or auto")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::*;

    fn parse(text: &str) -> Result<Vec<InstanceSettings>, String> {
        let settings = Settings::parse(text, Path::new("/conf/salver.yaml"));
        settings.map(|settings| settings.instances).map_err(|error| error.to_string())
    }

    fn error(text: &str) -> String {
        parse(text).expect_err(text)
    }

    #[test]
    fn versions_are_whole_texts() {
        let versions = |text: &str| parse(&format!("instances: [{{configFile: a, {text}}}]"));
        let given = versions("serviceVersion: 15.0.0, nodeVersion: v20.20.2").unwrap();
        assert_eq!(given[0].service_version, Some(Version::new(15, 0, 0)));
        assert_eq!(given[0].node_version.as_deref(), Some("v20.20.2"));
        let auto = versions("serviceVersion: auto, nodeVersion: auto").unwrap();
        assert_eq!((&auto[0].service_version, &auto[0].node_version), (&None, &None));
        for wrong in ["15", "15.0", "'15.0'", "v15.0.0", "latest", "true", "[1]"] {
            let error = versions(&format!("serviceVersion: {wrong}")).expect_err(wrong);
            assert!(error.contains("instance 1, serviceVersion: not a full version"), "{error}");
        }
        for wrong in ["20", "20.20", "20.20.2", "v20"] {
            let error = versions(&format!("nodeVersion: {wrong}")).expect_err(wrong);
            assert!(error.contains("instance 1, nodeVersion: not a version of Node"), "{error}");
        }
    }

    #[test]
    fn two_instances_can_be_told_apart() {
        let same = "instances:
  - {name: prod, configFile: a}
  - {name: test, configFile: a}
  - {name: prod, configFile: b}";
        let error_of_same = error(same);
        assert!(error_of_same.contains("line 4, column 5: instance 3: "), "{error_of_same}");
        assert!(error_of_same.contains("the same name, \"prod\", as instance 1"), "{error_of_same}");
        let unnamed = error("instances: [{configFile: a}, {configFile: ./a}]");
        assert!(unnamed.contains("instance 2: without a name, and with the same config file as instance 1"));
        let told_apart =
            "instances: [{configFile: a, service: butler}, {configFile: a, service: butler-sos}]";
        assert_eq!(parse(told_apart).unwrap().len(), 2);
    }

    #[test]
    fn an_instance_needs_a_file_and_a_usable_name() {
        assert!(
            error("instances: [{name: prod}]").contains("line 1, column 13: instance 1, configFile: missing")
        );
        assert!(error("instances: [{configFile: []}]").contains("instance 1, configFile: missing"));
        for name in ["''", "a b", "-x", "a/b", "'a\\b'", "é!", &"x".repeat(65)] {
            let error = error(&format!("instances: [{{configFile: a, name: {name}}}]"));
            assert!(error.contains("instance 1, name: not usable"), "{error}");
        }
    }
}

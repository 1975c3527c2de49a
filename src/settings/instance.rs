//! The list of instances: their names, versions and files, and that no two are the same.
//!
//! An instance's key keeps its state in the spool apart from every other's, and admins type it. So two instances with
//! one key are refused here rather than found out later by their mixed-up records.

use serde_saphyr::Spanned;

use super::error::SettingsError;
use super::given::{Leaf, Wrong, text};
use super::reader::Reader;
use super::values::Instance;
use super::{limits, shape};

/// Judges the entries of `instances`.
pub(super) fn instances(
    read: &Reader,
    given: Vec<Spanned<shape::Instance>>,
) -> Result<Vec<Instance>, SettingsError> {
    let mut instances: Vec<Instance> = Vec::new();
    for (number, given) in (1..).zip(given) {
        let place = given.referenced;
        let next = instance(read, number, given)?;
        if let Some((what, first)) =
            instances.iter().zip(1..).find_map(|(a, n)| Some((in_common(a, &next)?, n)))
        {
            let what = format!("{what} as instance {first}; give each a name of its own");
            return Err(read.refuse(&format!("instance {number}"), place, &Wrong(what.into())));
        }
        instances.push(next);
    }
    Ok(instances)
}

fn instance(
    read: &Reader,
    number: usize,
    given: Spanned<shape::Instance>,
) -> Result<Instance, SettingsError> {
    let (place, given) = (given.referenced, given.value);
    let key = |key: &str| format!("instance {number}, {key}");
    let config_files = read.paths(&key("configFile"), given.config_file)?;
    if config_files.is_empty() {
        let missing = Wrong("missing; name the YAML config file of Butler or Butler SOS".into());
        return Err(read.refuse(&key("configFile"), place, &missing));
    }
    let auto = |name: &str, given, rule| read.or(None, &key(name), given, unless_auto(rule));
    Ok(Instance {
        name: read.optional(&key("name"), given.name, |value| name(text(value)?))?,
        service: auto("service", given.service, name)?,
        config_files,
        service_version: auto("serviceVersion", given.service_version, service_version)?,
        node_version: auto("nodeVersion", given.node_version, node_version)?,
    })
}

/// What would give two instances the same key. Without a name it follows from the service and the first file.
fn in_common(a: &Instance, b: &Instance) -> Option<String> {
    match (&a.name, &b.name) {
        (Some(name), Some(other)) if name == other => Some(format!("the same name, \"{name}\",")),
        (None, None) if a.service == b.service && a.config_files.first() == b.config_files.first() => {
            Some("without a name, and with the same config file".to_owned())
        }
        _ => None,
    }
}

type Rule = fn(&str) -> Result<String, Wrong>;

/// Reads the word `auto` as `None` and any other text by `rule`; what is no text (`15.0`) no rule takes.
fn unless_auto(rule: Rule) -> impl FnOnce(&Leaf) -> Result<Option<String>, Wrong> {
    move |value| match text(value) {
        Ok("auto") => Ok(None),
        given => rule(given.unwrap_or_default()).map(Some),
    }
}

/// A name that no shell, no table and no path separator gets in the way of.
fn name(text: &str) -> Result<String, Wrong> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = text.chars().count() <= limits::NAME_LENGTH && text.chars().all(inside);
    if fits && text.starts_with(char::is_alphanumeric) {
        return Ok(text.to_owned());
    }
    Wrong::new(
        "not usable as a name; write 1 to 64 letters, digits, dots, hyphens and underscores, starting with a letter \
         or a digit (a number alone in single quotes)",
    )
}

fn service_version(text: &str) -> Result<String, Wrong> {
    match semver::Version::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Wrong::new("not a full version; write all three numbers without a v, such as 15.0.0, or auto")
        }
    }
}

fn node_version(text: &str) -> Result<String, Wrong> {
    match text.strip_prefix('v').map(semver::Version::parse) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Wrong::new("not a version of Node; write what node --version prints, such as v20.20.2, or auto"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;
    use super::*;

    fn parse(text: &str) -> Result<Vec<Instance>, String> {
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
        assert_eq!(given[0].service_version.as_deref(), Some("15.0.0"));
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

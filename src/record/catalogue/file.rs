//! The YAML shape of a catalogue, and how it becomes a [`Service`].

use std::path::Path;

use semver::Version;
use serde::Deserialize;

use super::validate::{self, Line};
use super::{CatalogueError, ConfigPath, ConsentKeys, Field, Rule, Service};
use crate::record::Value;
use crate::yaml::{self, Bounds, Located, YamlError, YamlErrorKind};

/// Room for the largest catalogue that is read, if it holds 10 bytes a node.
const BOUNDS: Bounds = Bounds { nodes: 100_000, leading_zeros_are_text: true };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceFile {
    service: Located<String>,
    top_level_key: Located<String>,
    since: Version,
    newest: Located<Version>,
    consent: Located<ConsentKeys>,
    identity_host: Option<Located<ConfigPath>>,
    docker_flag_since: Option<Version>,
    report: Located<Vec<Section>>,
}

/// Fields with defaults in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    since: Option<Version>,
    until: Option<Version>,
    missing: Option<Missing>,
    fields: Vec<Located<FieldEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldEntry {
    property: Option<String>,
    nested: Option<String>,
    path: OneOrMany,
    when: Option<String>,
    #[serde(default)]
    rule: Rule,
    missing: Option<Missing>,
    since: Option<Version>,
    until: Option<Version>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What may stand for a missing key: a boolean, a number, a word, or the empty map.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Missing {
    Bool(bool),
    Int(i64),
    Text(String),
    Object(Nothing),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl From<Missing> for Value {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Bool(flag) => Value::Bool(flag),
            Missing::Int(number) => Value::Int(number),
            Missing::Text(text) => Value::Text(text),
            Missing::Object(Nothing {}) => Value::Object,
        }
    }
}

/// Reads and checks one catalogue that stands in `file`.
pub(super) fn parse(text: &str, file: &Path) -> Result<Service, CatalogueError> {
    let read: ServiceFile = yaml::parse(text, &BOUNDS).map_err(|error| refusal(&error, file))?;
    let contradiction =
        |(line, cause): (Line, String)| CatalogueError::Contradiction { file: file.to_owned(), line, cause };

    validate_head(&read).map_err(contradiction)?;
    let (service, lines) = read.into_service();
    validate::fields(&service.fields, &lines).map_err(contradiction)?;
    Ok(service)
}

/// Reads a catalogue that build.rs has turned into JSON, and that tests have checked.
pub(super) fn built_in(json: &str) -> Result<Service, serde_json::Error> {
    Ok(serde_json::from_str::<ServiceFile>(json)?.into_service().0)
}

impl ServiceFile {
    /// The service, and the line of each of its fields.
    fn into_service(self) -> (Service, Vec<Line>) {
        let (lines, fields) = self.report.value.into_iter().flat_map(fields).unzip();
        let service = Service {
            name: self.service.value,
            top_level_key: self.top_level_key.value,
            since: self.since,
            newest: self.newest.value,
            consent: self.consent.value,
            identity_host: self.identity_host.map(|path| path.value),
            docker_flag_since: self.docker_flag_since,
            fields,
        };
        (service, lines)
    }
}

/// Checks all that stands before the fields.
fn validate_head(read: &ServiceFile) -> Result<(), (Line, String)> {
    let at = |line: Line| move |cause: String| (line, cause);
    validate::name(&read.service.value).map_err(at(read.service.line()))?;
    validate::key(&read.top_level_key.value).map_err(at(read.top_level_key.line()))?;
    validate::newest(&read.since, &read.newest.value).map_err(at(read.newest.line()))?;
    validate::consent(&read.consent.value).map_err(at(read.consent.line()))?;
    if let Some(host) = &read.identity_host {
        validate::config_path(&host.value).map_err(at(host.line()))?;
    }
    if read.report.value.iter().all(|section| section.fields.is_empty()) {
        return Err((read.report.line(), "no field is reported".into()));
    }
    Ok(())
}

/// The fields of a section, each with its line.
fn fields(section: Section) -> impl Iterator<Item = (Line, Field)> {
    let Section { since, until, missing, fields } = section;
    fields.into_iter().map(move |entry| {
        let line = entry.line();
        let entry = entry.value;
        let field = Field {
            property: entry.property,
            nested: entry.nested,
            paths: match entry.path {
                OneOrMany::One(path) => vec![path],
                OneOrMany::Many(paths) => paths,
            },
            when: entry.when,
            rule: entry.rule,
            missing: entry.missing.or_else(|| missing.clone()).map(Value::from),
            since: entry.since.or_else(|| since.clone()),
            until: entry.until.or_else(|| until.clone()),
        };
        (line, field)
    })
}

/// The error, in words that quote nothing of the file.
fn refusal(error: &YamlError, file: &Path) -> CatalogueError {
    let (line, column) = error.at.map_or((1, 1), |at| (at.line, at.column));
    let cause = match &error.kind {
        YamlErrorKind::UnknownKey { known, .. } => {
            format!("this key is not known here; known are {}", known.join(", "))
        }
        YamlErrorKind::UnknownWord { known } => {
            format!("this rule is not known; known are {}", known.join(", "))
        }
        YamlErrorKind::MissingKey(key) => format!("`{key}` is missing"),
        YamlErrorKind::DuplicateKey => YamlErrorKind::DuplicateKey.words().to_owned(),
        _ => "not a catalogue, or a value of the wrong shape (a version has three numbers: 1.2.0); \
              see docs/catalogues.md"
            .to_owned(),
    };
    CatalogueError::Malformed { file: file.to_owned(), line, column, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "service: x\ntopLevelKey: X\nsince: 1.0.0\nnewest: 2.0.0\nconsent: { key: ok }\nreport:\n";
    const FIELD: &str = "  - fields:\n    - { property: p, path: a }\n";

    fn error(text: &str) -> String {
        parse(text, Path::new("x.yaml")).expect_err(text).to_string()
    }

    fn of_fields(fields: &str) -> String {
        error(&format!("{HEAD}{fields}"))
    }

    #[test]
    fn two_sources_for_one_key_in_one_release_are_refused_with_their_lines() {
        let twice = "  - fields:\n    - { property: p, path: a, until: 2.0.0 }\n    - { property: p, path: b, since: 1.5.0 }\n";
        let text = of_fields(twice);
        assert!(text.contains("x.yaml, line 9") && text.contains("line 8"), "{text}");
        let apart = twice.replace("1.5.0", "2.0.0");
        assert!(parse(&format!("{HEAD}{apart}"), Path::new("x.yaml")).is_ok());
    }

    #[test]
    fn an_unknown_rule_or_key_is_refused_with_its_line_and_the_known_ones_and_is_not_quoted() {
        let text = of_fields("  - fields:\n    - { property: p, path: a, rule: hunter2 }\n");
        assert!(text.contains("onlyTrue") && text.contains("line 8"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let text = of_fields("  - fields:\n    - { property: p, path: a, hunter2: red }\n");
        assert!(text.contains("property") && text.contains("line 8"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_is_no_catalogue_is_not_quoted() {
        for text in [
            "Butler:\n  password: hunter2\n",
            "hunter2: 1\n",
            "hunter2\n",
            "service: [hunter2]\n",
            "service: x\ntopLevelKey: X\nsince: hunter2\n",
            "service: 'hunter2\n",
            "service: x\nservice: hunter2\n",
        ] {
            let error = error(text);
            assert!(error.starts_with("x.yaml, line ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn each_part_of_the_head_is_checked_and_named_with_its_line() {
        let sound = format!("{HEAD}{FIELD}");
        assert!(parse(&sound, Path::new("x.yaml")).is_ok());
        for (part, instead, line) in [
            ("service: x", "service: a/b", 1),
            ("topLevelKey: X", "topLevelKey: ''", 2),
            ("newest: 2.0.0", "newest: 0.9.0", 4),
            ("key: ok", "key: a..b", 5),
            ("key: ok", "key: ok, offWhenFalse: [{ path: x, since: 2.0.0, until: 1.0.0 }]", 5),
            ("report:", "identityHost: { path: '' }\nreport:", 6),
        ] {
            let error = error(&sound.replace(part, instead));
            assert!(error.starts_with(&format!("x.yaml, line {line}: ")), "{instead}: {error}");
        }
        assert!(error(&format!("{HEAD}  - fields: []\n")).contains("no field is reported"));
    }

    #[test]
    fn a_missing_part_is_named() {
        let text = error("service: x\n");
        assert!(text.contains("`topLevelKey` is missing"), "{text}");
    }
}

//! The catalogue: what each service reports, release by release, as data.
//!
//! Why data: an auditor can read two YAML files and know every value that can leave, and a new release or a new service
//! is a change to a file, not to code. No name of a service's feature stands in Rust.
//!
//! Two catalogues are compiled in; folders named in the settings add services to them or replace them by name. Each is
//! checked when it is loaded: an unknown rule or key, a release range that is empty, or two fields that would write the same
//! output key in the same release are errors that name the file and the line.

use std::path::{Path, PathBuf};

use semver::Version;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Value;
use crate::bounded::{self, Unreadable};

/// The largest catalogue that is read. The built-in ones have at most 25 KB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The catalogues that are compiled in, by file name.
const BUILT_IN: [(&str, &str); 2] = [
    ("butler.yaml", include_str!("catalogue/butler.yaml")),
    ("butler-sos.yaml", include_str!("catalogue/butler-sos.yaml")),
];

/// All services that salver can report.
#[derive(Clone, Debug)]
pub struct Catalogue {
    services: Vec<Service>,
}

/// One service: how its config file is recognised and what its releases report.
#[derive(Clone, Debug)]
pub struct Service {
    /// The name that is reported, which is also the `name` in the tool's package.json.
    pub name: String,
    /// The key at the top of its config file; every path below is relative to it.
    pub top_level_key: String,
    /// The first release with telemetry; nothing is collected for older ones.
    pub since: Version,
    /// The newest release known when the catalogue was written: assumed where no version can be found.
    pub newest: Version,
    /// What must be true for anything to be collected.
    pub consent: Consent,
    /// Where the host stands that is hashed into the anonymous id.
    pub identity_host: Option<Source>,
    /// The first release whose system block says whether it runs in Docker.
    pub docker_flag_since: Option<Version>,
    /// Everything that is reported.
    pub fields: Vec<Field>,
}

/// The consent of a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    /// The key that must be the boolean `true`.
    pub key: String,
    /// Keys that switch collection off by being the boolean `false`.
    #[serde(default)]
    pub off_when_false: Vec<Source>,
}

/// A config path, and the releases in which it counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The dotted path below the top-level key.
    pub path: String,
    /// The first release in which it counts.
    since: Option<Version>,
    /// The first release in which it no longer counts.
    until: Option<Version>,
}

impl Source {
    /// Whether it counts in this release.
    pub fn counts_in(&self, version: &Version) -> bool {
        within(version, self.since.as_ref(), self.until.as_ref())
    }
}

/// One reported value.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name among the flat event properties.
    pub property: Option<String>,
    /// Dotted path below `enabledFeatures`.
    pub nested: Option<String>,
    /// The config path that decides it, or several alternatives.
    pub paths: Vec<String>,
    /// A path that must be `true` for the rule to apply.
    pub when: Option<String>,
    /// How the paths decide it.
    pub rule: Rule,
    /// What is reported when the key is missing; `None` leaves the output key out.
    pub missing: Option<Value>,
    since: Option<Version>,
    until: Option<Version>,
}

impl Field {
    /// Whether this release reports it.
    pub fn reported_in(&self, version: &Version) -> bool {
        within(version, self.since.as_ref(), self.until.as_ref())
    }

    fn overlaps(&self, other: &Field) -> bool {
        let starts_before_end = |start: &Option<Version>, end: &Option<Version>| match (start, end) {
            (Some(start), Some(end)) => start < end,
            _ => true,
        };
        starts_before_end(&self.since, &other.until) && starts_before_end(&other.since, &self.until)
    }
}

/// How config paths decide a value. All rules look at types first: what is not of the rule's type counts as missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// The boolean itself; with several paths, true if one of them is true.
    #[default]
    Boolean,
    /// `true`, or as if the key were missing.
    OnlyTrue,
    /// The length of a list.
    Length,
    /// Whether a list has entries, while `when` is true; else false.
    NonEmpty,
    /// A small whole number, or a version of three numbers.
    Version,
    /// A block that the tool hands on whole: its listed keys stand in fields of their own, and an empty block stays empty.
    Object,
}

fn within(version: &Version, since: Option<&Version>, until: Option<&Version>) -> bool {
    since.is_none_or(|since| version >= since) && until.is_none_or(|until| version < until)
}

/// Why a catalogue could not be used. Catalogues hold no secrets, so the parser's words are shown.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file or folder could not be read.
    #[error("{}: cannot read the catalogue: {cause}; check `catalogues` in the settings file", file.display())]
    Unreadable {
        /// What was to be read.
        file: PathBuf,
        /// Why.
        cause: Unreadable,
    },
    /// The file is not a catalogue.
    #[error("{}: {cause}", file.display())]
    Malformed {
        /// The catalogue.
        file: PathBuf,
        /// Line, column and cause.
        cause: String,
    },
    /// A field contradicts another or itself.
    #[error("{}, line {line}: {cause}", file.display())]
    Contradiction {
        /// The catalogue.
        file: PathBuf,
        /// Line of the field, counted from 1.
        line: u64,
        /// What contradicts what.
        cause: String,
    },
}

impl Catalogue {
    /// The built-in services, with those of the given folders added to them or replacing them by name.
    pub fn load(folders: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut catalogue = Catalogue { services: Vec::new() };
        for (name, text) in BUILT_IN {
            catalogue.add(parse(text, Path::new(name))?);
        }
        for folder in folders {
            for file in yaml_files(folder)? {
                let text = bounded::read_text(&file, MAX_BYTES)
                    .map_err(|cause| CatalogueError::Unreadable { file: file.clone(), cause })?;
                catalogue.add(parse(&text, &file)?);
            }
        }
        Ok(catalogue)
    }

    fn add(&mut self, service: Service) {
        match self.services.iter_mut().find(|known| known.name == service.name) {
            Some(known) => *known = service,
            None => self.services.push(service),
        }
    }

    /// All services, the built-in ones first.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let unreadable =
        |error: std::io::Error| CatalogueError::Unreadable { file: folder.to_owned(), cause: error.into() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceFile {
    service: String,
    top_level_key: String,
    since: Version,
    newest: Version,
    consent: Consent,
    identity_host: Option<Source>,
    docker_flag_since: Option<Version>,
    report: Vec<Section>,
}

/// Fields with defaults in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    since: Option<Version>,
    until: Option<Version>,
    missing: Option<Missing>,
    fields: Vec<Spanned<FieldEntry>>,
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

fn parse(text: &str, file: &Path) -> Result<Service, CatalogueError> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let read: ServiceFile = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| CatalogueError::Malformed { file: file.to_owned(), cause: error.to_string() })?;
    let mut fields: Vec<(Field, u64)> = Vec::new();
    for section in read.report {
        for entry in section.fields {
            let line = entry.referenced.line();
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
                missing: entry.missing.or_else(|| section.missing.clone()).map(Value::from),
                since: entry.since.or_else(|| section.since.clone()),
                until: entry.until.or_else(|| section.until.clone()),
            };
            check(&field, &fields).map_err(|cause| CatalogueError::Contradiction {
                file: file.to_owned(),
                line,
                cause,
            })?;
            fields.push((field, line));
        }
    }
    Ok(Service {
        name: read.service,
        top_level_key: read.top_level_key,
        since: read.since,
        newest: read.newest,
        consent: read.consent,
        identity_host: read.identity_host,
        docker_flag_since: read.docker_flag_since,
        fields: fields.into_iter().map(|(field, _)| field).collect(),
    })
}

/// Says what is wrong with a field beside the ones before it.
fn check(field: &Field, before: &[(Field, u64)]) -> Result<(), String> {
    if field.property.is_none() && field.nested.is_none() {
        return Err("the field has neither `property` nor `nested`, so it would be reported nowhere".into());
    }
    if field.paths.is_empty() {
        return Err("the field has no `path`".into());
    }
    if let (Some(since), Some(until)) = (&field.since, &field.until)
        && since >= until
    {
        return Err(format!("no release lies between since {since} and until {until}"));
    }
    for (other, line) in before.iter().filter(|(other, _)| other.overlaps(field)) {
        for (name, theirs) in [(&field.property, &other.property), (&field.nested, &other.nested)] {
            if let Some(name) = name
                && Some(name) == theirs.as_ref()
            {
                return Err(format!(
                    "`{name}` is written twice in one release; its other source is in line {line}"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "service: x\ntopLevelKey: X\nsince: 1.0.0\nnewest: 2.0.0\nconsent: { key: ok }\nreport:\n";

    fn error(fields: &str) -> String {
        parse(&format!("{HEAD}{fields}"), Path::new("x.yaml")).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_catalogues_are_sound() {
        let catalogue = Catalogue::load(&[]).unwrap();
        let names: Vec<_> = catalogue.services().iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["butler", "butler-sos"]);
    }

    #[test]
    fn two_sources_for_one_key_in_one_release_are_refused_with_their_lines() {
        let twice = "  - fields:\n    - { property: p, path: a, until: 2.0.0 }\n    - { property: p, path: b, since: 1.5.0 }\n";
        let text = error(twice);
        assert!(text.contains("x.yaml, line 9") && text.contains("line 8"), "{text}");
        let apart = twice.replace("1.5.0", "2.0.0");
        assert!(parse(&format!("{HEAD}{apart}"), Path::new("x.yaml")).is_ok());
    }

    #[test]
    fn an_unknown_rule_or_key_is_refused_with_its_line() {
        let text = error("  - fields:\n    - { property: p, path: a, rule: guess }\n");
        assert!(text.contains("guess") && text.contains("line 8"), "{text}");
        let text = error("  - fields:\n    - { property: p, path: a, colour: red }\n");
        assert!(text.contains("colour") && text.contains("line 8"), "{text}");
    }

    #[test]
    fn a_folder_adds_services_and_replaces_them_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let fields = "  - fields:\n    - { property: p, path: a }\n";
        std::fs::write(folder.path().join("x.yaml"), format!("{HEAD}{fields}")).unwrap();
        let replaced = format!("{HEAD}{fields}").replace("service: x", "service: butler");
        std::fs::write(folder.path().join("butler.yml"), replaced).unwrap();
        let catalogue = Catalogue::load(&[folder.path().to_owned()]).unwrap();
        assert_eq!(catalogue.services().len(), 3);
        assert_eq!(catalogue.service("butler").unwrap().top_level_key, "X");
    }
}

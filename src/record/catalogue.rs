//! The catalogue: the values that each service reports, release by release, as data.
//!
//! Why data: an auditor can read two YAML files and know every value that can leave, and a new
//! release or a new service is a change to a file, not to code. Rust code names no feature of a
//! service.
//!
//! Two catalogues are compiled in; folders named in the settings add services to them or replace
//! them by name. Tests validate the built-in ones; those from folders are validated when they are
//! loaded, so that a slip is a [`CatalogueError`] with file and line, and never a value that is
//! quietly missing. `docs/catalogues.md` explains how to write one.

use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::Value;
use crate::read_limited;

mod error;
mod file;
mod validate;

pub use error::CatalogueError;

/// The largest catalogue that is read. The built-in ones have at most 25 KB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The catalogues that are compiled in, as JSON, which loads in a tenth of the time (build.rs).
const BUILT_IN: [&str; 2] = [
    include_str!(concat!(env!("OUT_DIR"), "/butler.json")),
    include_str!(concat!(env!("OUT_DIR"), "/butler-sos.json")),
];

/// All services that salver can report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Catalogue {
    services: Vec<Service>,
}

/// One service: how its config file is recognised and what its releases report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// The name that is reported, which is also the `name` in the tool's package.json.
    pub name: String,
    /// The key at the top of its config file; every path below is relative to it.
    pub top_level_key: String,
    /// The first release with telemetry; nothing is collected for older ones.
    pub since: Version,
    /// The newest release known when the catalogue was written: assumed where no version can be
    /// found.
    pub newest: Version,
    pub consent: ConsentKeys,
    /// The config path of the host that is hashed into the anonymous id.
    pub identity_host: Option<ConfigPath>,
    /// The first release whose system block says whether it runs in Docker.
    pub docker_flag_since: Option<Version>,
    pub fields: Vec<Field>,
}

/// The keys by which the config file of a service gives or withholds consent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentKeys {
    /// The key that must be the boolean `true`.
    pub key: String,
    /// Keys that switch collection off by being the boolean `false`.
    #[serde(default)]
    pub off_when_false: Vec<ConfigPath>,
}

/// A config path, and the releases in which it counts: from `since` on, before `until`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigPath {
    /// The dotted path below the top-level key.
    pub path: String,
    since: Option<Version>,
    until: Option<Version>,
}

impl ConfigPath {
    pub fn counts_in(&self, version: &Version) -> bool {
        within(version, self.since.as_ref(), self.until.as_ref())
    }
}

/// One reported value.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// The value that is reported when the key is missing; `None` leaves the output key out.
    pub missing: Option<Value>,
    since: Option<Version>,
    until: Option<Version>,
}

impl Field {
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

/// How config paths decide a value. A node of another type than the rule's counts as missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A block that the tool hands on whole: its listed keys stand in fields of their own, and an
    /// empty block stays empty.
    Object,
}

fn within(version: &Version, since: Option<&Version>, until: Option<&Version>) -> bool {
    since.is_none_or(|since| version >= since) && until.is_none_or(|until| version < until)
}

impl Catalogue {
    /// The built-in services, with those of the given folders added to them or replacing them by
    /// name.
    pub fn load(folders: &[PathBuf]) -> Result<Self, CatalogueError> {
        let built_in = BUILT_IN.into_iter().map(file::built_in);
        let mut catalogue = Catalogue { services: built_in.collect::<Result<_, _>>()? };
        for folder in folders {
            for service in of_folder(folder)? {
                catalogue.add(service);
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

    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

/// The services of one folder, each of which one file describes.
fn of_folder(folder: &Path) -> Result<Vec<Service>, CatalogueError> {
    let mut services: Vec<(Service, PathBuf)> = Vec::new();
    for file in yaml_files(folder)? {
        let text = read_limited::read_text(&file, MAX_BYTES)
            .map_err(|cause| CatalogueError::Unreadable { file: file.clone(), cause })?;
        let service = file::parse(&text, &file)?;
        if let Some((known, first)) = services.iter().find(|(known, _)| known.name == service.name) {
            return Err(CatalogueError::Twice { file, first: first.clone(), service: known.name.clone() });
        }
        services.push((service, file));
    }
    Ok(services.into_iter().map(|(service, _)| service).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "service: x\ntopLevelKey: X\nsince: 1.0.0\nnewest: 2.0.0\nconsent: { key: ok }\n\
                       report:\n  - fields:\n    - { property: p, path: a }\n";

    #[test]
    fn the_built_in_catalogues_are_sound_and_what_their_yaml_says() {
        let catalogue = Catalogue::load(&[]).unwrap();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/catalogue"));
        let sources = of_folder(folder).unwrap();
        let names: Vec<_> = sources.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["butler-sos", "butler"], "one for each file");
        assert_eq!(catalogue.services().len(), sources.len());
        let json = |service: &Service| serde_json::to_value(service).unwrap();
        for source in &sources {
            assert_eq!(json(source), json(catalogue.service(&source.name).unwrap()), "{}", source.name);
        }
    }

    #[test]
    fn a_folder_adds_services_and_replaces_them_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.yaml"), OWN).unwrap();
        let replaced = OWN.replace("service: x", "service: butler");
        std::fs::write(folder.path().join("butler.yml"), replaced).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no catalogue").unwrap();
        let catalogue = Catalogue::load(&[folder.path().to_owned()]).unwrap();
        assert_eq!(catalogue.services().len(), 3);
        assert_eq!(catalogue.service("butler").unwrap().top_level_key, "X");
    }

    #[test]
    fn a_service_that_two_files_of_a_folder_describe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yaml"] {
            std::fs::write(folder.path().join(name), OWN).unwrap();
        }
        let text = Catalogue::load(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(text.contains("b.yaml: ") && text.contains("a.yaml"), "{text}");
    }
}

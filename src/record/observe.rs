//! One look at the config files of one instance: which service, which release, may it be collected, what does it report.
//!
//! Nothing is kept between two looks and nothing outside the files is read, so a look can be repeated at any time and
//! gives the same answer for the same bytes.

use std::path::PathBuf;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, Service};
use super::consent::{self, Consent};
use super::derive::{self, Derived};
use super::document::{self, Node, ReadError};
use super::sources::Sources;
use super::version::{self, Found};

/// What is looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The config files, merged in order.
    pub files: Vec<PathBuf>,
    /// The service, or `None` to take it from the top-level key.
    pub service: Option<String>,
    /// The release, or `None` to look for the tool's package.json.
    pub service_version: Option<Version>,
    /// The Node.js version, or `None` for `unknown`.
    pub node_version: Option<String>,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The service's name.
    pub service: String,
    /// Its release.
    pub version: Found,
    /// What follows from it.
    pub state: State,
}

/// What a readable document says.
#[derive(Clone, Debug)]
pub enum State {
    /// Collect this.
    Reports(Report),
    /// Consent is not given: stop, and erase what is unsent. The text names the key.
    Withdrawn(String),
    /// Consent is not given, and the file may have been cut off: collect, send and erase nothing. The text names the key.
    Unclear(String),
    /// This release had no telemetry. The text says since when.
    TooOld(String),
}

/// What the document reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// Keys and values.
    pub derived: Derived,
    /// The host to be hashed into the anonymous id; `Debug` hides it.
    pub identity_host: Host,
    /// The Node.js version, or `unknown`.
    pub node_version: String,
}

/// A host name from a config file, on its way into a hash.
#[derive(Clone, Default)]
pub struct Host(pub String);

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host(hidden)")
    }
}

/// Why a look found nothing to go by. All of them hold: nothing is collected, sent or erased because of them.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A file could not be read as a document.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No top-level key of a known service.
    #[error("{}: none of the top-level keys {known} is in it; name the config file of a service that salver knows", file.display())]
    NoService {
        /// The (last) file.
        file: PathBuf,
        /// The keys that are known.
        known: String,
    },
    /// The top-level key is there and no keys below it: a file that is being written, not a decision.
    #[error("{}: there are no keys below {key} (half written?); it is read again when it changes", file.display())]
    EmptyBlock {
        /// The (last) file.
        file: PathBuf,
        /// The top-level key.
        key: String,
    },
    /// Top-level keys of two services.
    #[error("{}: it has the top-level keys of several services ({found}); say which one with `service`", file.display())]
    Ambiguous {
        /// The (last) file.
        file: PathBuf,
        /// The keys found.
        found: String,
    },
    /// The settings name a service that no catalogue has.
    #[error("there is no catalogue for the service `{name}`; known are {known}")]
    UnknownService {
        /// As named.
        name: String,
        /// The names that are known.
        known: String,
    },
}

/// Looks at the files of `subject`.
pub fn observe(catalogue: &Catalogue, subject: &Subject) -> Result<Observation, ObserveError> {
    judge(catalogue, subject, &Sources::read(subject))
}

/// What follows from the bytes that the files of `subject` hold. Pure.
pub fn judge(
    catalogue: &Catalogue,
    subject: &Subject,
    sources: &Sources,
) -> Result<Observation, ObserveError> {
    let texts = sources.files.iter().map(|(file, text)| (file, text.as_ref().map_err(Clone::clone)));
    let document = document::lay(texts)?;
    let file = subject.files.last().cloned().unwrap_or_default();
    let (service, block) = recognise(catalogue, subject.service.as_deref(), &document.root, &file)?;
    let given = subject.service_version.as_ref();
    let version = version::of_service(given, &sources.packages, &service.name, &service.newest);
    let state = if version.version < service.since {
        State::TooOld(format!("{} has telemetry from {} on", service.name, service.since))
    } else {
        match consent::decide(service, &version.version, block, document.ends_whole) {
            Consent::Withdrawn(why) => State::Withdrawn(why),
            Consent::Unclear(why) => State::Unclear(why),
            Consent::Given => State::Reports(Report {
                derived: derive::derive(service, &version.version, block),
                identity_host: identity_host(service, &version.version, block),
                node_version: version::of_node(subject.node_version.as_deref()),
            }),
        }
    };
    Ok(Observation { service: service.name.clone(), version, state })
}

/// The service whose top-level key the document has, and the block below it.
fn recognise<'a>(
    catalogue: &'a Catalogue,
    wanted: Option<&str>,
    document: &'a Node,
    file: &std::path::Path,
) -> Result<(&'a Service, &'a Node), ObserveError> {
    let list = |services: &[&Service], text: fn(&Service) -> &str| {
        services.iter().map(|service| text(service)).collect::<Vec<_>>().join(", ")
    };
    let candidates: Vec<&Service> = match wanted {
        Some(name) => vec![catalogue.service(name).ok_or_else(|| ObserveError::UnknownService {
            name: name.to_owned(),
            known: list(&catalogue.services().iter().collect::<Vec<_>>(), |service| &service.name),
        })?],
        None => catalogue.services().iter().collect(),
    };
    let key_of = |service: &Service| match document {
        // Not `at`: a top-level key is one key, even with a dot in it.
        Node::Map(map) => map.contains_key(&service.top_level_key),
        _ => false,
    };
    let found: Vec<&Service> = candidates.iter().copied().filter(|service| key_of(service)).collect();
    match (found.as_slice(), document) {
        ([service], Node::Map(map)) => match &map[&service.top_level_key] {
            block @ Node::Map(_) => Ok((service, block)),
            _ => Err(ObserveError::EmptyBlock { file: file.to_owned(), key: service.top_level_key.clone() }),
        },
        ([], _) => Err(ObserveError::NoService {
            file: file.to_owned(),
            known: list(&candidates, |service| &service.top_level_key),
        }),
        _ => Err(ObserveError::Ambiguous {
            file: file.to_owned(),
            found: list(&found, |service| &service.top_level_key),
        }),
    }
}

/// The host that this release hashes into its id; empty where it has none.
fn identity_host(service: &Service, version: &Version, block: &Node) -> Host {
    let host = service.identity_host.as_ref().filter(|host| host.counts_in(version));
    Host(match host.and_then(|host| block.at(&host.path)) {
        Some(Node::Text(text)) => text.clone(),
        Some(Node::Int(number)) => number.to_string(),
        _ => String::new(),
    })
}

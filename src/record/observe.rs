//! Observes the config files of one instance: its service, its release, the consent, the report.
//!
//! Nothing is kept between two observations and nothing outside the files is read, so an
//! observation can be repeated at any time and gives the same answer for the same bytes.

use std::path::PathBuf;

use semver::Version;

use super::catalogue::{Catalogue, Service};
use super::consent::{self, Consent};
use super::derive::{self, Derived};
use super::document::{self, Node, ReadError};
use super::inputs::Inputs;
use super::subject::Subject;
use super::version::{self, ServiceVersion};

#[derive(Clone, Debug)]
pub struct Observation {
    pub service: String,
    pub version: ServiceVersion,
    pub state: State,
}

/// The decision of a document that could be read.
#[derive(Clone, Debug)]
pub enum State {
    /// Consent is given, and this is the report.
    Reportable(Reportable),
    /// Consent is not given: stop, and erase unsent records. The text names the key.
    Withdrawn(String),
    /// Consent is not given, and the file may have been cut off: collect, send and erase nothing.
    /// The text names the key.
    Unclear(String),
    /// This release had no telemetry. The text says since when.
    TooOld(String),
}

/// The report that follows from a document.
#[derive(Clone, Debug)]
pub struct Reportable {
    pub derived: Derived,
    /// Hashed into the anonymous id; `Debug` hides it.
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

/// Why files give no observation. Nothing is collected, sent or erased because of an error.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A file could not be read as a document.
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}: none of the top-level keys {known} is in it; name the config file of a service that salver knows", file.display())]
    NoService {
        /// The (last) file.
        file: PathBuf,
        known: String,
    },
    /// The block of the service is empty: a file that is being written, not a decision.
    #[error("{}: there are no keys below {key} (half written?); it is read again when it changes", file.display())]
    EmptyBlock {
        /// The (last) file.
        file: PathBuf,
        key: String,
    },
    #[error("{}: it has the top-level keys of several services ({found}); say which one with `service`", file.display())]
    Ambiguous {
        /// The (last) file.
        file: PathBuf,
        found: String,
    },
    #[error("there is no catalogue for the service `{name}`; known are {known}")]
    UnknownService { name: String, known: String },
}

/// Reads the files of `subject` and judges them.
pub fn observe(catalogue: &Catalogue, subject: &Subject) -> Result<Observation, ObserveError> {
    judge(catalogue, subject, &Inputs::read(subject))
}

/// Judges the bytes that were read from the files of `subject`. Pure.
pub fn judge(catalogue: &Catalogue, subject: &Subject, inputs: &Inputs) -> Result<Observation, ObserveError> {
    let texts = inputs.files.iter().map(|(file, text)| (file, text.as_ref().map_err(Clone::clone)));
    let document = document::lay(texts)?;
    let file = subject.files.last().cloned().unwrap_or_default();
    let (service, block) = recognise(catalogue, subject.service.as_deref(), &document.root, &file)?;
    let given = subject.service_version.as_ref();
    let version = version::of_service(given, &inputs.packages, &service.name, &service.newest);
    let state = if version.version < service.since {
        State::TooOld(format!("{} has telemetry from {} on", service.name, service.since))
    } else {
        match consent::decide(service, &version.version, block, document.ends_whole) {
            Consent::Withdrawn(why) => State::Withdrawn(why),
            Consent::Unclear(why) => State::Unclear(why),
            Consent::Given => State::Reportable(Reportable {
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
        // Not `at`: a top-level key is one key, even if it has a dot in it.
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

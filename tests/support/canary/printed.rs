//! What a program could print of the values that it reads from a config file: in a message, in a panic, or by a `{:?}` that
//! somebody left behind.

use std::path::PathBuf;

use salver::record::catalogue::Catalogue;
use salver::record::document::{self, Node};
use salver::record::observe::{Observation, ObserveError, State, observe};
use salver::record::subject::Subject;

use super::heard::Heard;

/// The name of the channel.
pub const PRINTED: &str = "what could be printed";

/// Hears the document, the observation and the errors of some files that are laid over each other. Tells what was observed.
pub fn observed(
    heard: &mut Heard,
    catalogue: &Catalogue,
    files: &[PathBuf],
) -> Result<Observation, ObserveError> {
    match document::read(files) {
        Ok(document) => nodes(heard, &document.root),
        Err(error) => heard.error(PRINTED, &error),
    }
    let subject = Subject { files: files.to_vec(), service: None, service_version: None, node_version: None };
    let observed = observe(catalogue, &subject);
    heard.debug(PRINTED, &observed);
    match &observed {
        Ok(observation) => heard.debug(PRINTED, observation),
        Err(error) => heard.error(PRINTED, error),
    }
    observed
}

/// Hears each place of a document by itself.
fn nodes(heard: &mut Heard, node: &Node) {
    heard.debug(PRINTED, node);
    if let Node::Map(map) = node {
        map.values().for_each(|below| nodes(heard, below));
    }
}

/// Whether something is reported.
pub fn reports(observed: &Result<Observation, ObserveError>) -> bool {
    matches!(observed, Ok(Observation { state: State::Reportable(_), .. }))
}

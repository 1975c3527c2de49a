//! What a program could print of the values that it reads from a config file: in a message, in a panic, or by a `{:?}` that
//! somebody left behind.

use std::path::PathBuf;

use salver::record::catalogue::Catalogue;
use salver::record::document::{self, Node};
use salver::record::observe::{Observation, ObserveError, State, observe};
use salver::record::subject::Subject;

use super::captured::Captured;

/// The name of the channel.
pub const PRINTED: &str = "what could be printed";

/// Captures the document, the observation and the errors of some files that are laid over each other. Tells what was observed.
pub fn observed(
    captured: &mut Captured,
    catalogue: &Catalogue,
    files: &[PathBuf],
) -> Result<Observation, ObserveError> {
    match document::read(files) {
        Ok(document) => nodes(captured, &document.root),
        Err(error) => captured.error(PRINTED, &error),
    }
    let subject = Subject { files: files.to_vec(), service: None, service_version: None, node_version: None };
    let observed = observe(catalogue, &subject);
    captured.debug(PRINTED, &observed);
    match &observed {
        Ok(observation) => captured.debug(PRINTED, observation),
        Err(error) => captured.error(PRINTED, error),
    }
    observed
}

/// Captures each place of a document by itself.
fn nodes(captured: &mut Captured, node: &Node) {
    captured.debug(PRINTED, node);
    if let Node::Map(map) = node {
        map.values().for_each(|below| nodes(captured, below));
    }
}

/// Whether something is reported.
pub fn reports(observed: &Result<Observation, ObserveError>) -> bool {
    matches!(observed, Ok(Observation { state: State::Reportable(_), .. }))
}

//! An instance as the settings describe it: the input of an observation.

use std::path::PathBuf;

use semver::Version;
use serde::{Deserialize, Serialize};

/// The config files of an instance, and what the settings say about it.
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

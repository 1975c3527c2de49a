//! Which release of a tool a config file belongs to, and which Node.js runs it.
//!
//! Why: a config file does not name the release that reads it, yet the release decides which keys are reported. The
//! tools are installed with their `package.json` beside or above the config folder, and that file tells. Where it is
//! absent (packaged binaries have none) the newest release known is assumed, and whoever asks is told so.
//!
//! Invariant: a version leaves this module only as a semantic version, never as free text.

use std::path::{Path, PathBuf};

use semver::Version;
use serde::Deserialize;

use super::document;
use crate::bounded;

/// A service version, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The release, such as `15.0.0`.
    pub version: Version,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a version comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Given in the settings or on the command line.
    Given,
    /// Read from the tool's package.json.
    PackageJson,
    /// Assumed: the newest release the catalogue knows.
    Assumed,
}

/// The parts of a package.json that are read.
#[derive(Deserialize)]
struct Package {
    name: Option<String>,
    version: Option<String>,
}

/// How many folders above the config file are searched: `config/` lies in the tool's folder, the file perhaps one deeper.
const LEVELS: usize = 3;

/// Looks for the package.json of `package` beside `config_file` and in the folders above it.
pub fn beside(config_file: &Path, package: &str) -> Option<Version> {
    let file = std::path::absolute(config_file).ok()?;
    file.ancestors().skip(1).take(LEVELS).find_map(|folder| {
        let text = bounded::read_text(&folder.join("package.json"), document::MAX_BYTES).ok()?;
        let found: Package = serde_json::from_str(&text).ok()?;
        (found.name? == package).then_some(())?;
        Version::parse(&found.version?).ok()
    })
}

/// Takes the version that was given, else the one beside the first config file that has one, else the newest that is known.
pub fn of_service(given: Option<&Version>, files: &[PathBuf], package: &str, newest: &Version) -> Found {
    match given {
        Some(version) => Found { version: version.clone(), origin: Origin::Given },
        None => match files.iter().find_map(|file| beside(file, package)) {
            Some(version) => Found { version, origin: Origin::PackageJson },
            None => Found { version: newest.clone(), origin: Origin::Assumed },
        },
    }
}

/// Node's `process.version`: a `v` and a semantic version. Anything else is `unknown`, which is also what is reported
/// when nothing is given: the Node.js that runs a service cannot be told from its files.
pub fn of_node(given: Option<&str>) -> String {
    given
        .and_then(|text| Version::parse(text.trim_start_matches('v')).ok())
        .map_or_else(|| "unknown".to_owned(), |version| format!("v{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_json_above_the_config_folder_tells_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::create_dir(&config).unwrap();
        let file = config.join("production.yaml");
        assert_eq!(beside(&file, "butler"), None);
        let package = folder.path().join("package.json");
        std::fs::write(&package, r#"{"name": "butler", "version": "13.1.2"}"#).unwrap();
        assert_eq!(beside(&file, "butler"), Some(Version::new(13, 1, 2)));
        assert_eq!(beside(&file, "butler-sos"), None, "another tool's package.json");
        std::fs::write(&package, r#"{"name": "butler", "version": "hunter2"}"#).unwrap();
        assert_eq!(beside(&file, "butler"), None, "not a semantic version");
    }

    #[test]
    fn a_node_version_is_a_version_or_unknown() {
        assert_eq!(of_node(Some("v20.20.2")), "v20.20.2");
        assert_eq!(of_node(Some("20.20.2")), "v20.20.2");
        assert_eq!(of_node(Some("hunter2")), "unknown");
        assert_eq!(of_node(None), "unknown");
    }
}

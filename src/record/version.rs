//! The release of the tool that a config file belongs to, and the Node.js that runs it.
//!
//! Why: a config file does not name the release that reads it, yet the release decides which keys
//! are reported. The tools are installed with their `package.json` beside or above the config
//! folder, and that file names the release. Where it is absent (packaged binaries have none) the
//! newest release known is assumed, and the result says so.
//!
//! Invariant: a version leaves this module only as a semantic version, never as free text.

use std::path::{Path, PathBuf};

use semver::Version;
use serde::Deserialize;

/// The release of a service, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceVersion {
    /// The release, such as `15.0.0`.
    pub version: Version,
    pub origin: VersionOrigin,
}

/// How a release was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionOrigin {
    /// Given in the settings or on the command line.
    Given,
    /// Read from the tool's package.json.
    PackageJson,
    /// Assumed: the newest release the catalogue knows.
    Assumed,
}

/// The keys of a package.json that are read.
#[derive(Deserialize)]
struct Package {
    name: Option<String>,
    version: Option<String>,
}

/// How many folders are searched: `config/` lies in the tool's folder, the file perhaps one deeper.
const LEVELS: usize = 3;

/// The package.json files that may name the release: beside the config file and in the folders
/// above.
pub fn packages_near(config_file: &Path) -> Vec<PathBuf> {
    let file = std::path::absolute(config_file).unwrap_or_else(|_| config_file.to_owned());
    file.ancestors().skip(1).take(LEVELS).map(|folder| folder.join("package.json")).collect()
}

/// Takes the version that was given, else that of the first package.json of this name, else the
/// newest that is known.
pub fn of_service(
    given: Option<&Version>,
    packages: &[String],
    name: &str,
    newest: &Version,
) -> ServiceVersion {
    match given {
        Some(version) => ServiceVersion { version: version.clone(), origin: VersionOrigin::Given },
        None => match packages.iter().find_map(|text| version_in(text, name)) {
            Some(version) => ServiceVersion { version, origin: VersionOrigin::PackageJson },
            None => ServiceVersion { version: newest.clone(), origin: VersionOrigin::Assumed },
        },
    }
}

/// The version in the text of a package.json, if the package has this name.
fn version_in(text: &str, name: &str) -> Option<Version> {
    let found: Package = serde_json::from_str(text).ok()?;
    (found.name? == name).then_some(())?;
    Version::parse(&found.version?).ok()
}

/// Node's `process.version`: a `v` and a semantic version. Anything else, and nothing, gives
/// `unknown`: the files of a service do not name the Node.js that runs it.
pub fn of_node(given: Option<&str>) -> String {
    given
        .and_then(|text| Version::parse(text.trim_start_matches('v')).ok())
        .map_or_else(|| "unknown".to_owned(), |version| format!("v{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_json_is_looked_for_beside_the_config_file_and_above() {
        let near = packages_near(Path::new("/opt/butler/config/production.yaml"));
        let expected = ["/opt/butler/config", "/opt/butler", "/opt"];
        let expected = expected.map(|folder| Path::new(folder).join("package.json"));
        assert_eq!(near, expected.map(|file| std::path::absolute(file).unwrap()));
        assert_eq!(packages_near(Path::new("/production.yaml")).len(), 1, "there is nothing above the root");
    }

    #[test]
    fn the_first_package_json_of_that_name_gives_the_version() {
        let newest = Version::new(15, 1, 0);
        let found = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let found = of_service(None, &texts, "butler", &newest);
            (found.version.to_string(), found.origin)
        };
        let (ours, other) =
            (r#"{"name": "butler", "version": "13.1.2"}"#, r#"{"name": "butler-sos", "version": "9.0.0"}"#);
        assert_eq!(found(&[other, ours]), ("13.1.2".into(), VersionOrigin::PackageJson));
        for none in ["", other, r#"{"name": "butler", "version": "hunter2"}"#, r#"{"name": "butler"}"#] {
            assert_eq!(found(&[none]), ("15.1.0".into(), VersionOrigin::Assumed), "{none}");
        }
    }

    #[test]
    fn a_node_version_is_a_version_or_unknown() {
        assert_eq!(of_node(Some("v20.20.2")), "v20.20.2");
        assert_eq!(of_node(Some("20.20.2")), "v20.20.2");
        assert_eq!(of_node(Some("hunter2")), "unknown");
        assert_eq!(of_node(None), "unknown");
    }
}

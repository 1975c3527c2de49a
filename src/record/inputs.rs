//! The bytes that an observation follows from: read once, and told apart by a digest.
//!
//! Why: a file says nothing reliable about its own change. Times survive a rename, clocks are set,
//! shares lie. So the bytes are read, and only bytes that differ from those of the last look are
//! parsed. Everything is derived from these very bytes; a file that is replaced a moment later
//! concerns the next look.
//!
//! Invariant: equal digests lead to equal observations, as long as the catalogue and the subject
//! are the same.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::document::MAX_BYTES;
use super::subject::Subject;
use super::version;
use crate::read_limited::{self, Unreadable};

/// The content of a subject's files when they were read.
pub struct Inputs {
    /// The config files, in order.
    pub files: Vec<(PathBuf, Result<String, Unreadable>)>,
    /// The package.json files that may name the release, the first of them decides.
    pub packages: Vec<String>,
    /// Digest of all these bytes.
    pub digest: [u8; 32],
}

impl Inputs {
    /// Reads every file that the subject depends on.
    pub fn read(subject: &Subject) -> Inputs {
        let text = |file: &Path| read_limited::read_text(file, MAX_BYTES);
        let files: Vec<_> = subject.files.iter().map(|file| (file.clone(), text(file))).collect();
        let packages: Vec<_> = packages_of(subject).iter().map(|file| text(file).ok()).collect();
        let mut digest = Sha256::new();
        for text in files.iter().map(|(_, text)| text.as_ref()) {
            match text {
                Ok(text) => add(&mut digest, b"text", text),
                Err(cause) => add(&mut digest, b"none", &format!("{cause:?}")),
            }
        }
        for text in packages.iter().flatten() {
            add(&mut digest, b"pack", text);
        }
        let packages = packages.into_iter().flatten().collect();
        Inputs { files, packages, digest: digest.finalize().into() }
    }
}

/// Every file that an observation depends on, whether it exists or not.
pub fn files(subject: &Subject) -> Vec<PathBuf> {
    subject.files.iter().cloned().chain(packages_of(subject)).collect()
}

/// The package.json files to search; none if the release was given.
fn packages_of(subject: &Subject) -> Vec<PathBuf> {
    match subject.service_version {
        Some(_) => Vec::new(),
        None => subject.files.iter().flat_map(|file| version::packages_near(file)).collect(),
    }
}

/// The length in front keeps two files from adding up to the digest of another pair.
fn add(digest: &mut Sha256, kind: &[u8; 4], text: &str) {
    digest.update(kind);
    digest.update((text.len() as u64).to_le_bytes());
    digest.update(text);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_of_any_input_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let file = config.join("production.yaml");
        let subject = |service_version| Subject {
            files: vec![file.clone()],
            service: None,
            service_version,
            node_version: None,
        };
        let digest = || Inputs::read(&subject(None)).digest;
        let mut digests = vec![digest()];
        let mut changed = |what: &str| {
            let now = digest();
            assert_eq!(now, digest(), "{what}: the same bytes, the same digest");
            assert!(!digests.contains(&now), "{what}");
            digests.push(now);
        };
        fs::create_dir(&config).unwrap();
        fs::write(&file, "").unwrap();
        changed("empty is not missing");
        fs::write(&file, "a: 1\n").unwrap();
        changed("content");
        fs::write(folder.path().join("package.json"), "{}").unwrap();
        changed("a package.json above");
        fs::write(config.join("package.json"), "{}").unwrap();
        changed("one beside it");
        let given = subject(Some("1.0.0".parse().unwrap()));
        assert_eq!(
            files(&given),
            std::slice::from_ref(&file),
            "a release that is given is looked for nowhere"
        );
        assert!(Inputs::read(&given).packages.is_empty());
    }
}

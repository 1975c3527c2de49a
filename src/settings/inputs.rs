//! The files that the settings come from, and whether they still hold what was read.
//!
//! As with config files, only the bytes count: the settings are read anew when these differ, not
//! when a file was merely touched.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::file::{MAX_BYTES, Settings};
use crate::read_limited::{self, Unreadable};

/// The settings file, and the certificates and catalogues that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsInputs {
    settings_file: Option<PathBuf>,
    /// The digest of the text that the settings were read from.
    text_read: [u8; 32],
    ca_file: Option<PathBuf>,
    catalogues: Vec<PathBuf>,
}

impl SettingsInputs {
    /// The inputs of `settings`, which were read from `file` when it held `text`.
    pub(super) fn new(settings: &Settings, file: Option<(&Path, &str)>) -> SettingsInputs {
        SettingsInputs {
            settings_file: file.map(|(file, _)| file.to_owned()),
            text_read: file.map(|(_, text)| digest_of(Ok(text))).unwrap_or_default(),
            ca_file: settings.posthog.ca_file.clone(),
            catalogues: settings.catalogues.clone(),
        }
    }

    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.settings_file.iter().chain(&self.ca_file).map(PathBuf::as_path)
    }

    /// The folders of which every file counts.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.catalogues.iter().map(PathBuf::as_path)
    }

    /// The digest of what the inputs hold now.
    pub fn digest(&self) -> [u8; 32] {
        self.digest_with(self.settings_file.as_deref().map(digest_of_file).unwrap_or_default())
    }

    /// The digest of what the settings follow from: the text that was read, and what the other
    /// inputs hold now. To be called before those are read, so that a change in between makes the
    /// digests differ; then the settings are read once more than needed, and no change is lost.
    pub fn digest_in_force(&self) -> [u8; 32] {
        self.digest_with(self.text_read)
    }

    fn digest_with(&self, settings_text: [u8; 32]) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(settings_text);
        let catalogues = self.catalogues.iter().flat_map(|folder| files_in(folder));
        for file in self.ca_file.iter().cloned().chain(catalogues) {
            digest.update(digest_of(Ok(&file.to_string_lossy())));
            digest.update(digest_of_file(&file));
        }
        digest.finalize().into()
    }
}

fn digest_of_file(file: &Path) -> [u8; 32] {
    digest_of(read_limited::read_text(file, MAX_BYTES).as_deref().map_err(Clone::clone))
}

/// A file that cannot be read differs from every text, and by its cause.
fn digest_of(text: Result<&str, Unreadable>) -> [u8; 32] {
    match text {
        Ok(text) => Sha256::new_with_prefix(b"text").chain_update(text).finalize().into(),
        Err(cause) => Sha256::new_with_prefix(b"none").chain_update(format!("{cause:?}")).finalize().into(),
    }
}

/// The regular files of a catalogue folder, in a fixed order.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_digest_is_of_what_the_files_hold() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("catalogues")).unwrap();
        fs::write(at("salver.yaml"), "a").unwrap();
        let mut settings = Settings { catalogues: vec![at("catalogues")], ..Settings::default() };
        settings.posthog.ca_file = Some(at("ca.pem"));
        let file = at("salver.yaml");
        let inputs = SettingsInputs::new(&settings, Some((&file, "a")));
        assert_eq!(inputs.digest(), inputs.digest_in_force());
        let mut digests = vec![inputs.digest()];
        for (file, text) in
            [("salver.yaml", "b"), ("ca.pem", ""), ("catalogues/x.yaml", "x"), ("catalogues/x.yaml", "y")]
        {
            fs::write(at(file), text).unwrap();
            let digest = inputs.digest();
            assert!(!digests.contains(&digest), "{file}: {text}");
            digests.push(digest);
        }
        assert_ne!(inputs.digest(), inputs.digest_in_force(), "the text that was read stays the same");
        fs::write(at("other"), "of no account").unwrap();
        assert_eq!(Some(&inputs.digest()), digests.last());
        assert_eq!((inputs.files().count(), inputs.folders().count()), (2, 1));
    }
}

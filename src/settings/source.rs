//! Where the settings come from, and whether they are still what was read there.
//!
//! As with config files, only the bytes count: the settings are read anew when they differ, and at no touch of the file.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::layers::Resolved;
use super::limits;
use crate::read_limited;
use crate::watch::events::WatchTarget;

/// The files that say what salver does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    files: Vec<PathBuf>,
    catalogues: Vec<PathBuf>,
}

impl Source {
    /// Those of these settings: the settings file, the certificates and the catalogues that it names.
    pub fn of(resolved: &Resolved) -> Source {
        let certificates = &resolved.settings.posthog.ca_file;
        Source {
            files: resolved.file.iter().chain(certificates).cloned().collect(),
            catalogues: resolved.settings.catalogues.clone(),
        }
    }

    /// Where a change may happen.
    pub fn places(&self) -> Vec<WatchTarget> {
        let files = self.files.iter().cloned().map(WatchTarget::File);
        files.chain(self.catalogues.iter().cloned().map(WatchTarget::Folder)).collect()
    }

    /// Tells what the files hold now from what they held before.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in self.files.iter().cloned().chain(self.catalogues.iter().flat_map(files_in)) {
            let text =
                read_limited::read_text(&file, limits::FILE_BYTES).map_err(|cause| format!("{cause:?}"));
            for part in [file.to_string_lossy().as_bytes(), text.unwrap_or_else(|cause| cause).as_bytes()] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        digest.finalize().into()
    }
}

/// The files of a catalogue that may be read. Any other file beside them is nobody's business.
fn files_in(folder: &PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::values::Settings;
    use super::*;

    #[test]
    fn the_digest_is_of_what_the_files_hold() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("catalogues")).unwrap();
        fs::write(at("salver.yaml"), "a").unwrap();
        let mut settings = Settings { catalogues: vec![at("catalogues")], ..Settings::default() };
        settings.posthog.ca_file = Some(at("ca.pem"));
        let source = Source::of(&Resolved { settings, file: Some(at("salver.yaml")), try_out: false });
        let mut digests = vec![source.digest()];
        for (file, text) in
            [("salver.yaml", "b"), ("ca.pem", ""), ("catalogues/x.yaml", "x"), ("catalogues/x.yaml", "y")]
        {
            fs::write(at(file), text).unwrap();
            let digest = source.digest();
            assert!(!digests.contains(&digest), "{file}: {text}");
            digests.push(digest);
        }
        fs::write(at("other"), "of no account").unwrap();
        assert_eq!(Some(&source.digest()), digests.last());
        assert_eq!(source.places().len(), 3);
    }
}

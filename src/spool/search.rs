//! Searching the folder for what a purge erased.
//!
//! Why: that erased records are gone follows from how they are erased; an auditor wants to see it.
//! So a purge ends by reading every file of the folder once more, as bytes, and says how many it
//! read.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::error::{Doing, SpoolError};
use super::files;

/// Length of a uuid and of an id as text.
const UUID: usize = 36;
const ID: usize = 64;

/// How much of a file is searched at a time.
const PORTION: usize = 256 * 1024;

/// Uuids and ids that must be nowhere.
#[derive(Default)]
pub(super) struct Erased {
    uuids: HashSet<u128>,
    ids: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The number of files that were searched.
    pub files: u64,
    /// Files that still hold something erased, or could not be read, with the reason.
    pub left: Vec<(PathBuf, String)>,
}

impl Erased {
    pub(super) fn add_uuid(&mut self, uuid: &str) {
        self.uuids.extend(Uuid::try_parse(uuid).ok().map(|uuid| uuid.as_u128()));
    }

    pub(super) fn add_id(&mut self, id: &str) {
        self.ids.insert(id.to_owned());
    }

    pub(super) fn keep_ids(&mut self, keep: impl Fn(&str) -> bool) {
        self.ids.retain(|id| keep(id));
    }

    /// Searches all files of a folder, and waits for one that is locked as long as `wait` (Windows).
    pub(super) fn search(&self, spool: &Path, wait: Duration) -> Result<Search, SpoolError> {
        let mut search = Search::default();
        for path in files::files(spool)? {
            match files::read_patiently(wait, || self.is_in(&path)) {
                Ok(false) => {}
                Ok(true) => search.left.push((path, "it still holds something of them".into())),
                Err(error) => search.left.push((path, error.to_string())),
            }
            search.files += 1;
        }
        Ok(search)
    }

    fn is_in(&self, path: &Path) -> Result<bool, SpoolError> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            opened => opened.doing("read", path)?,
        };
        // The lock files are empty. On Windows one that is held cannot be read.
        if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        loop {
            let begun = bytes.len();
            (&mut file).take(PORTION as u64).read_to_end(&mut bytes).doing("read", path)?;
            if self.is_in_bytes(&bytes) {
                return Ok(true);
            }
            if bytes.len() == begun {
                return Ok(false);
            }
            // A text may lie across the border.
            bytes.drain(..bytes.len().saturating_sub(ID - 1));
        }
    }

    fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        let is_uuid = |text: &[u8]| {
            text[8] == b'-'
                && text[13] == b'-'
                && text[18] == b'-'
                && text[23] == b'-'
                && Uuid::try_parse_ascii(text).is_ok_and(|uuid| self.uuids.contains(&uuid.as_u128()))
        };
        let is_id = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| self.ids.contains(text));
        (!self.uuids.is_empty() && bytes.windows(UUID).any(is_uuid))
            || (!self.ids.is_empty() && hex_runs(bytes).any(|run| run.windows(ID).any(is_id)))
    }
}

/// The runs of hex digits that are long enough for an id.
fn hex_runs(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID_TEXT: &str = "0190f3c8-0000-7000-8000-0123456789ab";

    fn erased() -> (Erased, String) {
        let id = format!("{:064x}", 0xabc);
        let mut erased = Erased::default();
        erased.add_uuid(UUID_TEXT);
        erased.add_id(&id);
        (erased, id)
    }

    #[test]
    fn a_uuid_or_an_id_is_found_wherever_it_lies() {
        let (erased, id) = erased();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let file = folder.path().join("inner/file");
        for text in [UUID_TEXT, &id, &format!("00{id}ff")] {
            for before in [0, 1, PORTION - 70, PORTION - 20, PORTION, PORTION + 1] {
                let mut bytes = vec![b'.'; before];
                bytes.extend(text.as_bytes());
                bytes.extend(vec![0; PORTION]);
                std::fs::write(&file, &bytes).unwrap();
                let search = erased.search(folder.path(), Duration::ZERO).unwrap();
                assert_eq!((search.files, search.left.len()), (1, 1), "{before} bytes before {text}");
            }
        }
    }

    #[cfg(windows)]
    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        use std::os::windows::fs::OpenOptionsExt;
        let (erased, _) = erased();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let unshared = File::options().read(true).share_mode(0).open(&path).unwrap();
        let search = erased.search(folder.path(), Duration::ZERO).unwrap();
        assert_eq!(search.left.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&path]);
        drop(unshared);
        assert!(erased.search(folder.path(), Duration::ZERO).unwrap().left.is_empty());
    }

    #[test]
    fn what_is_alike_is_not_taken_for_it() {
        let (erased, id) = erased();
        let folder = tempfile::tempdir().unwrap();
        let other = format!("{} {} {}", UUID_TEXT.replace('b', "c"), &id[1..], id.replace('a', "0"));
        std::fs::write(folder.path().join("file"), other).unwrap();
        assert_eq!(erased.search(folder.path(), Duration::ZERO).unwrap(), Search { files: 1, left: vec![] });
    }

    #[test]
    fn an_id_that_may_stay_is_not_looked_for() {
        let (mut erased, id) = erased();
        erased.add_id(&"f".repeat(ID));
        erased.keep_ids(|kept| kept != id);
        assert_eq!([id, "f".repeat(ID)].map(|text| erased.is_in_bytes(text.as_bytes())), [false, true]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_went_meanwhile_holds_nothing_and_one_that_cannot_be_read_is_named() {
        let (erased, _) = erased();
        let folder = tempfile::tempdir().unwrap();
        let [gone, looped] = ["gone", "looped"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("nowhere", &gone).unwrap();
        std::os::unix::fs::symlink("looped", &looped).unwrap();
        let Search { files, left } = erased.search(folder.path(), Duration::ZERO).unwrap();
        assert_eq!((files, left.len(), &left[0].0), (2, 1, &looped));
    }
}

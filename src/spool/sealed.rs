//! Small files of JSON that are whole or not there: the witness and the identities.
//!
//! One line names the kind, the version and a checksum, and the JSON stands behind it, so that an admin can read it. Such a
//! file is replaced atomically, and a torn or damaged one counts as none.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Doing, SpoolError};
use super::store;

/// Reads the file of this kind; `None` if there is none or it is torn.
pub(super) fn read<T: DeserializeOwned>(spool: &Path, kind: &str) -> Option<T> {
    let text = std::fs::read_to_string(spool.join(kind)).ok()?;
    let (line, body) = text.split_once('\n')?;
    let checksum = u32::from_str_radix(line.strip_prefix(&head(kind))?, 16).ok()?;
    (crc32fast::hash(body.as_bytes()) == checksum).then(|| serde_json::from_str(body).ok())?
}

/// Replaces the file of this kind: after this returns the new one is on stable storage, before it the old one is whole.
pub(super) fn write<T: Serialize>(spool: &Path, kind: &str, value: &T) -> Result<(), SpoolError> {
    let body = serde_json::to_string(value).unwrap_or_default();
    let line = format!("{}{:08x}\n", head(kind), crc32fast::hash(body.as_bytes()));
    replace(spool, kind, (line + &body).as_bytes())
}

/// Replaces a file of the spool by these bytes, in the same way.
pub(super) fn replace(spool: &Path, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
    let path = spool.join(name);
    let fresh = spool.join(format!("{name}.new"));
    let file = std::fs::File::create(&fresh);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).doing("write", &fresh)?;
    std::fs::rename(&fresh, &path).doing("replace", &path)?;
    store::sync_folder(spool)
}

fn head(kind: &str) -> String {
    format!("salver {kind} 1 crc32 ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let value: Vec<u32> = (0..50).collect();
        assert_eq!(read::<Vec<u32>>(folder.path(), "witness"), None);
        write(folder.path(), "witness", &value).unwrap();
        assert_eq!(read(folder.path(), "witness"), Some(value));
        let path = folder.path().join("witness");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read::<Vec<u32>>(folder.path(), "witness"), None, "cut at {cut}");
        }
    }
}

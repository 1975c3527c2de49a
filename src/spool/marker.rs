//! The marker: the file that makes a folder a spool. No folder without it is touched.
//!
//! ```text
//! This folder is a spool of salver. Do not change files in it by hand.
//! format 2
//! check 8f3a01cc
//! ```
//!
//! The last line is a CRC-32 of the lines before. So a damaged marker does not pass for one of
//! another format, and where the manifest or records are ours it is written anew.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use super::FORMAT;
use super::error::{Doing, SpoolError};
use super::files;

pub(super) const NAME: &str = "SALVER-SPOOL";
const HEAD: &str = "This folder is a spool of salver. Do not change files in it by hand.\nformat ";

/// A longer marker is none of ours, in bytes.
const MAX_BYTES: u64 = 1024;

/// What the marker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// There is none.
    Absent,
    /// It names this format. Format 1 had no check.
    Format(u32),
    /// It is none of ours, or damaged.
    Unknown,
}

pub(super) fn read(spool: &Path) -> Result<Marker, SpoolError> {
    let path = spool.join(NAME);
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Marker::Absent),
        found => found.doing("look at", &path)?,
    };
    if !found.is_file() {
        return Ok(Marker::Unknown);
    }
    let mut bytes = Vec::new();
    let file = files::open_without_waiting(&path).doing("read", &path)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).doing("read", &path)?;
    Ok(String::from_utf8(bytes).map_or(Marker::Unknown, |text| decode(&text)))
}

fn decode(text: &str) -> Marker {
    if text == format!("{HEAD}1\n") {
        return Marker::Format(1);
    }
    let format = text.strip_prefix(HEAD).and_then(|rest| rest.split('\n').next()?.parse().ok());
    format.filter(|format| text == encode(*format)).map_or(Marker::Unknown, Marker::Format)
}

fn encode(format: u32) -> String {
    let body = format!("{HEAD}{format}\n");
    format!("{body}check {:08x}\n", crc32fast::hash(body.as_bytes()))
}

/// Writes the marker, durably. Written beside and renamed, so that nobody ever sees half of it.
pub(super) fn write(spool: &Path) -> Result<(), SpoolError> {
    let fresh = spool.join(format!("{NAME}.{}", std::process::id()));
    let file = std::fs::File::create(&fresh);
    file.and_then(|mut file| file.write_all(encode(FORMAT).as_bytes()).and_then(|()| file.sync_all()))
        .doing("write", &fresh)?;
    files::rename(&fresh, &spool.join(NAME))?;
    files::sync_folder(spool)
}

/// Whether there is a marker, or something in its place.
pub(super) fn exists(spool: &Path) -> bool {
    let is_absent =
        |error: std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    !spool.join(NAME).symlink_metadata().is_err_and(is_absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_turns_a_marker_into_one_of_another_format() {
        let text = encode(FORMAT);
        assert_eq!(decode(&text), Marker::Format(FORMAT));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let damaged = String::from_utf8(bytes).map_or(Marker::Unknown, |text| decode(&text));
            assert_eq!(damaged, Marker::Unknown, "bit {bit}");
        }
    }

    #[test]
    fn markers_of_other_formats_are_told() {
        assert_eq!(decode(&format!("{HEAD}1\n")), Marker::Format(1));
        assert_eq!(decode(&encode(3)), Marker::Format(3));
    }

    #[test]
    fn a_marker_is_told_from_none_and_from_something_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let spool = place.path();
        let seen = || (read(spool).unwrap(), exists(spool));
        assert_eq!(seen(), (Marker::Absent, false));
        write(spool).unwrap();
        assert_eq!(seen(), (Marker::Format(FORMAT), true));
        assert_eq!(files::files(spool).unwrap(), [spool.join(NAME)], "nothing beside it");
        assert!(!exists(&spool.join(NAME)), "a file in the place of the folder");
        if cfg!(unix) {
            assert!(read(&spool.join(NAME)).is_err(), "an error of the system is not taken for none");
        }
        std::fs::remove_file(spool.join(NAME)).unwrap();
        std::fs::create_dir(spool.join(NAME)).unwrap();
        assert_eq!(seen(), (Marker::Unknown, true));
    }
}

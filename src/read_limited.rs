//! Reading text files that others write, within bounds: config files, settings, catalogues, a package.json.
//!
//! Invariants: only a regular file is ever opened (opening a FIFO would wait for ever), no more than a bound is read, and an
//! error tells nothing of the content.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Why a file could not be read, with the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No such file.
    #[error("there is no such file; check the path")]
    Missing,
    /// A folder, a FIFO, a device or a socket.
    #[error("this is {0}, not a regular file; name the YAML file itself")]
    NotAFile(&'static str),
    /// Larger than the bound, in bytes.
    #[error("larger than {} MiB, which no such file needs to be; check the path", .0 / 1024 / 1024)]
    TooLarge(u64),
    /// Not UTF-8, such as the UTF-16 that some Windows editors write.
    #[error("not UTF-8 text{}; save it as UTF-8", if *.utf16 { " but UTF-16" } else { "" })]
    NotUtf8 {
        /// The file starts with the byte order mark of UTF-16.
        utf16: bool,
    },
    /// The operating system said no.
    #[error("it cannot be read: {0}; check its rights and the account that runs salver")]
    Io(ErrorKind),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Unreadable::Missing,
            kind => Unreadable::Io(kind),
        }
    }
}

/// The text of a regular file of at most `most` bytes, without its byte order mark.
pub fn read_text(file: &Path, most: u64) -> Result<String, Unreadable> {
    regular(&std::fs::metadata(file)?, most)?;
    let opened = File::open(file)?;
    regular(&opened.metadata()?, most)?;
    let mut bytes = Vec::new();
    opened.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Unreadable::TooLarge(most));
    }
    text(bytes)
}

fn regular(metadata: &Metadata, most: u64) -> Result<(), Unreadable> {
    if metadata.is_dir() {
        Err(Unreadable::NotAFile("a folder"))
    } else if !metadata.is_file() {
        Err(Unreadable::NotAFile("a pipe or a device"))
    } else if metadata.len() > most {
        Err(Unreadable::TooLarge(most))
    } else {
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let bytes = error.as_bytes();
            Err(Unreadable::NotUtf8 {
                utf16: bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounded_regular_utf8_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.yaml");
        assert_eq!(read_text(&file, 10), Err(Unreadable::Missing));
        assert_eq!(read_text(folder.path(), 10), Err(Unreadable::NotAFile("a folder")));
        for (bytes, expected) in [
            (b"\xEF\xBB\xBFabc".as_slice(), Ok("abc".to_owned())),
            (b"12345678901", Err(Unreadable::TooLarge(10))),
            (b"\xFF\xFEa\0", Err(Unreadable::NotUtf8 { utf16: true })),
            (b"a\xC3(", Err(Unreadable::NotUtf8 { utf16: false })),
        ] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(read_text(&file, 10), expected);
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_refused_instead_of_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(read_text(&pipe, 10), Err(Unreadable::NotAFile("a pipe or a device")));
    }
}

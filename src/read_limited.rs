//! Reading of text files that others write, within limits: config files, settings, catalogues, a
//! package.json.
//!
//! Invariants:
//! - Only a regular file is read, no more of it than a limit, and an error says nothing of its
//!   content.
//! - Nothing waits, even if the file is exchanged between the check and the opening: on Unix a FIFO
//!   or a device is opened without blocking and refused by what was opened. On Windows a pipe has a
//!   path of its own and cannot take the place of a file; a link to one is refused as well.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Why a file could not be read, with the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("there is no such file; check the path")]
    Missing,
    /// A folder, a FIFO, a device or a socket.
    #[error("this is {0}, not a regular file; name the YAML file itself")]
    NotAFile(&'static str),
    /// Larger than the limit, in bytes.
    #[error("larger than {} MiB, which no such file needs to be; check the path", .0 / 1024 / 1024)]
    TooLarge(u64),
    #[error("not UTF-8 text{}; save it as UTF-8", if *.utf16 { " but UTF-16" } else { "" })]
    NotUtf8 {
        /// The file starts with the byte order mark of UTF-16, as some Windows editors write it.
        utf16: bool,
    },
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

/// The text of a regular file of at most `limit` bytes, without its byte order mark.
pub fn read_text(file: &Path, limit: u64) -> Result<String, Unreadable> {
    read(file, limit, || ())
}

/// Checks twice: before the opening, as opening a device may have effects, and after it, as the
/// file may have been exchanged in between, which `meanwhile` does in tests.
fn read(file: &Path, limit: u64, meanwhile: impl FnOnce()) -> Result<String, Unreadable> {
    check(&std::fs::metadata(file)?, limit)?;
    meanwhile();
    let opened = open(file)?;
    check(&opened.metadata()?, limit)?;
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Unreadable::TooLarge(limit));
    }
    text(bytes)
}

/// Opens a file without waiting for the other end of a FIFO or for a device, and without taking a
/// terminal as the controlling one.
#[cfg(unix)]
fn open(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    File::options().read(true).custom_flags(flags.cast_signed()).open(file)
}

#[cfg(not(unix))]
fn open(file: &Path) -> io::Result<File> {
    File::open(file)
}

fn check(metadata: &Metadata, limit: u64) -> Result<(), Unreadable> {
    if metadata.is_dir() {
        Err(Unreadable::NotAFile("a folder"))
    } else if !metadata.is_file() {
        Err(Unreadable::NotAFile("a pipe or a device"))
    } else if metadata.len() > limit {
        Err(Unreadable::TooLarge(limit))
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
    fn only_regular_utf8_files_within_the_limit_are_read() {
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

    #[cfg(unix)]
    fn make_pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        make_pipe(&pipe);
        assert_eq!(read_text(&pipe, 10), Err(Unreadable::NotAFile("a pipe or a device")));
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_that_takes_the_place_of_a_checked_file_is_not_waited_for() {
        use std::sync::mpsc::channel;
        use std::time::Duration;

        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("f.yaml"), folder.path().join("pipe"));
        std::fs::write(&file, "a").unwrap();
        make_pipe(&pipe);
        let (sender, receiver) = channel();
        // On a thread of its own, which a wait for the pipe's other end would hold for ever.
        std::thread::spawn(move || {
            let exchange = || std::fs::rename(&pipe, &file).unwrap();
            sender.send(read(&file, 10, exchange)).unwrap();
        });
        let read = receiver.recv_timeout(Duration::from_secs(20)).expect("nothing waits for a pipe");
        assert_eq!(read, Err(Unreadable::NotAFile("a pipe or a device")));
    }
}

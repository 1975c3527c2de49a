//! The errors of the settings, in words that an admin can act on.
//!
//! The settings file holds a project key and perhaps a proxy's password, and a slip of one
//! character can turn either into a key or into a value of another setting. So an error never
//! quotes the file: it names the file, the line, the setting, the cause and the next step, and an
//! unknown key only if [`super::suggest`] takes it for a mistyped word.

use std::fmt;
use std::path::PathBuf;

use crate::read_limited::Unreadable;
use crate::yaml::Position;

/// A place in the settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub file: PathBuf,
    /// `None` where the parser could not tell.
    pub at: Option<Position>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.at {
            Some(Position { line, column }) => write!(f, ", line {line}, column {column}"),
            None => Ok(()),
        }
    }
}

/// All of these end the program with exit code 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A settings file was named that is not there.
    #[error(
        "the settings file {} does not exist; check --config and SALVER_CONFIG, or copy \
         packaging/salver.sample.yaml there",
        file.display()
    )]
    Missing { file: PathBuf },
    /// The settings file cannot be read.
    #[error("the settings file {}: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: Unreadable },
    /// Others could have written the settings file or a catalogue.
    #[error(transparent)]
    Untrusted(#[from] super::trust::Untrusted),
    /// Not one YAML document of sections, keys and values.
    #[error("{at}: {what}")]
    Syntax {
        at: Location,
        /// What the parser objected to, in words of our own.
        what: &'static str,
    },
    /// A key that is no setting.
    #[error("{at}: {what}; {help}")]
    UnknownKey {
        at: Location,
        /// The key, if it can be shown, and that it is unknown.
        what: String,
        /// The nearest known key, or all that are known there.
        help: String,
    },
    /// A setting with a value that it cannot have.
    #[error("{at}: {setting}: {what}")]
    Value {
        at: Location,
        /// The setting, such as `flush.every` or `instance 2, configFile`.
        setting: String,
        /// Cause and next step.
        what: String,
    },
    /// Neither settings nor files: there is nothing to work on.
    #[error(
        "there are no settings: {} does not exist; copy packaging/salver.sample.yaml there and name \
         the config files of Butler or Butler SOS in it, or try salver without settings: \
         salver run --watch FILE",
        looked_at.display()
    )]
    NoSettings { looked_at: PathBuf },
    /// A path that cannot be kept in the spool, in JSON or in a worker's request.
    #[error(
        "{}: a path has to be valid Unicode; give the file, or the folder above it, another name",
        path.display()
    )]
    NotUnicode { path: PathBuf },
    /// A path given on the command line that cannot be made absolute.
    #[error("{} cannot be made an absolute path: {cause}; name it in full", path.display())]
    NoSuchFolder {
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::ErrorKind,
    },
}

//! What can be wrong with the settings, in words that an admin can act on.
//!
//! The settings file holds a project key and perhaps a proxy's password, and a slip of one character can turn either
//! into a key or into a value of another setting. So an error never quotes the file: it names the file, the line, the
//! setting, the cause and the next step, and of an unknown key only what [`super::nearest`] takes for a mistyped
//! word.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::read_limited::Unreadable;

/// Where in the settings file something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The settings file.
    pub file: PathBuf,
    /// Line, counted from 1, where the parser could tell.
    pub line: Option<u64>,
    /// Column, counted from 1, where the parser could tell.
    pub column: Option<u64>,
}

impl Place {
    /// The place that a location of the parser stands for; its zeros mean "unknown".
    pub(super) fn new(file: &Path, location: Option<serde_saphyr::Location>) -> Self {
        let known = location.filter(|location| location.line() > 0);
        Self {
            file: file.to_owned(),
            line: known.map(|location| location.line()),
            column: known.map(|location| location.column()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, ", line {line}, column {column}"),
            _ => Ok(()),
        }
    }
}

/// Why there are no settings to work with. All of these end the program with exit code 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A settings file was named that is not there.
    #[error(
        "the settings file {} does not exist; check --config and SALVER_CONFIG, or copy \
         packaging/salver.sample.yaml there",
        file.display()
    )]
    Missing {
        /// The file looked for.
        file: PathBuf,
    },
    /// The settings file cannot be read.
    #[error("the settings file {}: {cause}", file.display())]
    Unreadable {
        /// The file looked at.
        file: PathBuf,
        /// Why.
        cause: Unreadable,
    },
    /// Others could have written the settings file or a catalogue.
    #[error(transparent)]
    Untrusted(#[from] super::trust::Untrusted),
    /// Not one YAML document of sections, keys and values.
    #[error("{at}: {what}")]
    Syntax {
        /// Where.
        at: Place,
        /// What the parser objected to, in words of our own.
        what: &'static str,
    },
    /// A key that is no setting.
    #[error("{at}: {what}; {help}")]
    UnknownKey {
        /// Where.
        at: Place,
        /// The key, if it can be shown, and that it is unknown.
        what: String,
        /// The nearest known key, or all that are known there.
        help: String,
    },
    /// A setting with a value that it cannot have.
    #[error("{at}: {setting}: {what}")]
    Value {
        /// Where.
        at: Place,
        /// The setting, such as `flush.every` or `instance 2, configFile`.
        setting: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// Neither settings nor files: there is nothing to work on.
    #[error(
        "there are no settings: {} does not exist; copy packaging/salver.sample.yaml there and name the config \
         files of Butler or Butler SOS in it, or try salver without settings: salver run --watch FILE",
        place.display()
    )]
    Nothing {
        /// The system place that was looked at.
        place: PathBuf,
    },
    /// A path given on the command line that cannot be made absolute.
    #[error("{} cannot be made an absolute path: {cause}; name it in full", path.display())]
    NoSuchFolder {
        /// The path as given.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::ErrorKind,
    },
}

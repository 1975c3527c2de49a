//! The errors of a catalogue, each with the next step.
//!
//! A text of the file is quoted only after the file was read as a catalogue: the folder named in
//! the settings may by mistake be that of a tool's config files, which hold passwords.

use std::path::PathBuf;

use crate::read_limited::Unreadable;

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file or folder could not be read.
    #[error("{}: cannot read the catalogue: {cause}; check `catalogues` in the settings file", file.display())]
    Unreadable { file: PathBuf, cause: Unreadable },
    /// No other program wrote it, so only a mistake in the build can be the cause.
    #[error("a catalogue that is compiled in cannot be read ({0}); install another build of salver")]
    BuiltIn(#[from] serde_json::Error),
    /// The file is not a catalogue.
    #[error("{}, line {line}, column {column}: {cause}", file.display())]
    Malformed {
        file: PathBuf,
        line: u64,
        column: u64,
        /// Cause and next step.
        cause: String,
    },
    /// A catalogue contradicts itself.
    #[error("{}, line {line}: {cause}", file.display())]
    Contradiction { file: PathBuf, line: u64, cause: String },
    /// Two files of one folder describe the same service.
    #[error("{}: the service `{service}` is described in {} as well; keep one of them", file.display(), first.display())]
    Twice {
        /// The later file.
        file: PathBuf,
        /// The earlier one.
        first: PathBuf,
        service: String,
    },
}

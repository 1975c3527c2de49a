//! Rights on Windows, as far as they are looked at: links.
//!
//! Access lists are neither made nor checked: a new folder inherits those of the folder above it, and `%ProgramData%` lets
//! everybody read. Until that is built, an administrator shuts the folder with `icacls`, as docs/settings.md says.

use std::io;
use std::os::windows::fs::FileTypeExt;
use std::path::Path;

use super::Exposed;

/// Who wrote what salver obeys. Not told apart here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author;

impl Author {
    /// The author of what is at a path.
    pub(crate) fn of(_: &Path) -> Result<Option<Author>, String> {
        Ok(None)
    }

    /// Whether they decide about this program anyway.
    pub(crate) fn is_trusted(&self) -> bool {
        true
    }

    /// The command that gives something to the administrators.
    pub(crate) fn giving(&self, path: &Path) -> String {
        format!("icacls \"{}\" /setowner \"*S-1-5-32-544\" /t", path.display())
    }
}

/// New files take the access list of their folder.
pub fn keep_new_files_private() {}

/// Makes a folder.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Not looked at.
pub(super) fn check_owner(_: &Path) -> Result<(), Exposed> {
    Ok(())
}

/// Not looked at.
pub(super) fn check_shut(_: &Path) -> Result<(), Exposed> {
    Ok(())
}

pub(super) fn remove_link(path: &Path) -> String {
    let of_folder = std::fs::symlink_metadata(path).is_ok_and(|found| {
        // A junction is a link of a folder that is neither of the two.
        !found.file_type().is_symlink_file()
    });
    format!("{} \"{}\"", if of_folder { "rmdir" } else { "del" }, path.display())
}

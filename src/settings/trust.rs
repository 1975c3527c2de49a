//! Who may write the files that salver obeys.
//!
//! Why: the settings decide where records go, and the catalogues they name decide which values of a
//! config file may leave. So the settings file may not be writable for everybody, and a catalogue
//! is trusted like the settings file that names it: it belongs to the same user, to root, or to the
//! user who runs salver, and is not writable for everybody either. The folder counts as well, since
//! a user who can write it can exchange its files.
//!
//! On Windows nothing is checked here: the rights are those of the folder, and below
//! `%ProgramData%\salver` they are what its administrator made them. docs/settings.md says so.

use std::path::{Path, PathBuf};

use crate::rights::Author;

/// Another user could have written a file that salver obeys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Others may write it.
    #[error("{}: everybody may write to it, and salver would obey; run `{mend}`", path.display())]
    Writable {
        path: PathBuf,
        /// The command that mends it.
        mend: String,
    },
    /// A catalogue of a user who has no say here.
    #[error(
        "{}: it belongs to another user than the settings file that names it; run `{mend}`, or take it \
         out of `catalogues`",
        path.display()
    )]
    Owner {
        path: PathBuf,
        /// The command that mends it.
        mend: String,
    },
}

/// Checks the settings file and all catalogues that it names. A missing one is an error when it is
/// read, not here.
pub(super) fn check(settings: &Path, catalogues: &[PathBuf]) -> Result<(), Untrusted> {
    let Some(author) = author_of(settings)? else { return Ok(()) };
    for folder in catalogues {
        same_author(folder, &author)?;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            same_author(&entry.path(), &author)?;
        }
    }
    Ok(())
}

fn same_author(path: &Path, settings: &Author) -> Result<(), Untrusted> {
    match author_of(path)? {
        Some(found) if found != *settings && !found.is_trusted() => {
            Err(Untrusted::Owner { path: path.to_owned(), mend: settings.giving(path) })
        }
        _ => Ok(()),
    }
}

fn author_of(path: &Path) -> Result<Option<Author>, Untrusted> {
    Author::of(path).map_err(|mend| Untrusted::Writable { path: path.to_owned(), mend })
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    /// A settings file and a folder with one catalogue.
    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (settings, folder) = (place.path().join("salver.yaml"), place.path().join("catalogues"));
        fs::create_dir(&folder).unwrap();
        fs::write(&settings, "").unwrap();
        fs::write(folder.join("x.yaml"), "").unwrap();
        (place, settings, folder)
    }

    #[test]
    fn what_everybody_may_write_is_not_obeyed() {
        let (_place, settings, folder) = place();
        let catalogues = [folder.clone()];
        check(&settings, &catalogues).unwrap();
        for path in [settings.clone(), folder.clone(), folder.join("x.yaml")] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o002)).unwrap();
            let error = check(&settings, &catalogues).unwrap_err();
            assert!(matches!(&error, Untrusted::Writable { path: found, .. } if *found == path), "{error}");
            fs::set_permissions(&path, before).unwrap();
        }
        check(&settings, &[folder.join("absent")]).expect("reading it is an error, not this");
    }

    #[test]
    fn a_catalogue_of_another_user_than_the_settings_file_is_not_obeyed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can give a file to another user");
            return;
        }
        let (_place, settings, folder) = place();
        let catalogue = folder.join("x.yaml");
        chown(&catalogue, Some(65534), None).unwrap();
        let error = check(&settings, std::slice::from_ref(&folder)).unwrap_err();
        assert!(matches!(&error, Untrusted::Owner { path, .. } if *path == catalogue), "{error}");
        chown(&settings, Some(65534), None).unwrap();
        check(&settings, &[folder]).expect("the same user as that of the settings, or root");
    }
}

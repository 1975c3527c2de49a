//! Who may write what salver obeys.
//!
//! Why: the settings say where records go, and the catalogues they name say which values of a config file may leave.
//! Whoever can write either decides about both. So the settings file may not be writable for everybody, and a
//! catalogue is trusted like the settings file that names it: it belongs to the same user, to root, or to the user who
//! runs salver, and is not writable for everybody either. The folder counts as well, since who can write it can
//! exchange its files.
//!
//! On Windows the rights are inherited from the folder; below `%ProgramData%\salver` they are what its installer or
//! administrator made them, and nothing is checked here.

use std::path::{Path, PathBuf};

/// Somebody else could have written this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Everybody may write it.
    #[error("{}: everybody may write to it, and salver would obey; run `chmod o-w` on it", .0.display())]
    Writable(PathBuf),
    /// It belongs to a user who has no say here.
    #[error(
        "{}: it belongs to another user than the settings file that names it; run `chown` on it, or take it out of \
         `catalogues`",
        .0.display()
    )]
    Owner(PathBuf),
}

/// Checks the settings file and all catalogues that it names. What is not there is left to whoever reads it.
pub(super) fn check(settings: &Path, catalogues: &[PathBuf]) -> Result<(), Untrusted> {
    let Some(owner) = owner_of_private(settings)? else { return Ok(()) };
    for folder in catalogues {
        same_owner(folder, owner)?;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            same_owner(&entry.path(), owner)?;
        }
    }
    Ok(())
}

fn same_owner(path: &Path, owner: u32) -> Result<(), Untrusted> {
    match owner_of_private(path)? {
        Some(found) if found != owner && found != ROOT && found != user() => {
            Err(Untrusted::Owner(path.to_owned()))
        }
        _ => Ok(()),
    }
}

const ROOT: u32 = 0;

/// The owner of what not everybody may write; `None` where it is absent, or where owners are no numbers.
#[cfg(unix)]
fn owner_of_private(path: &Path) -> Result<Option<u32>, Untrusted> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(path) {
        Ok(found) if found.mode() & 0o002 != 0 => Err(Untrusted::Writable(path.to_owned())),
        Ok(found) => Ok(Some(found.uid())),
        Err(_) => Ok(None),
    }
}

#[cfg(not(unix))]
fn owner_of_private(_: &Path) -> Result<Option<u32>, Untrusted> {
    Ok(None)
}

/// The user who runs salver.
#[cfg(unix)]
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn user() -> u32 {
    ROOT
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
        assert_eq!(check(&settings, &catalogues), Ok(()));
        for path in [settings.clone(), folder.clone(), folder.join("x.yaml")] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o002)).unwrap();
            assert_eq!(check(&settings, &catalogues), Err(Untrusted::Writable(path.clone())));
            fs::set_permissions(&path, before).unwrap();
        }
        assert_eq!(check(&settings, &[folder.join("absent")]), Ok(()), "whoever reads it says so");
    }

    #[test]
    fn a_catalogue_of_another_user_than_the_settings_file_is_not_obeyed() {
        if user() != ROOT {
            eprintln!("SKIPPED: only root can give a file to another user");
            return;
        }
        let (_place, settings, folder) = place();
        let catalogue = folder.join("x.yaml");
        chown(&catalogue, Some(65534), None).unwrap();
        assert_eq!(check(&settings, std::slice::from_ref(&folder)), Err(Untrusted::Owner(catalogue)));
        chown(&settings, Some(65534), None).unwrap();
        assert_eq!(check(&settings, &[folder]), Ok(()), "the same user as that of the settings, or root");
    }
}

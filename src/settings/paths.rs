//! The paths of settings and spool on each operating system, and the default name of an instance.
//!
//! They are a contract: packages install into them and scripts look there.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The spool of a try-out, in the working folder. Used only when config files are named on the
/// command line.
pub const TRY_OUT_SPOOL: &str = "salver-spool";

/// The settings file that is used when none is named.
pub fn system_settings() -> PathBuf {
    if cfg!(windows) {
        program_data().join("salver").join("salver.yaml")
    } else if cfg!(target_os = "macos") {
        PathBuf::from("/Library/Application Support/salver/salver.yaml")
    } else {
        PathBuf::from("/etc/salver/salver.yaml")
    }
}

/// The spool that is used when the settings name none.
pub fn system_spool() -> PathBuf {
    if cfg!(windows) {
        program_data().join("salver").join("spool")
    } else if cfg!(target_os = "macos") {
        PathBuf::from("/Library/Application Support/salver/spool")
    } else {
        PathBuf::from("/var/lib/salver/spool")
    }
}

/// `%ProgramData%`. It is set for every account; the fallback is its value on any ordinary
/// installation.
fn program_data() -> PathBuf {
    let set = std::env::var_os("ProgramData").map(PathBuf::from).filter(|folder| folder.is_absolute());
    set.unwrap_or_else(|| PathBuf::from(r"C:\ProgramData"))
}

/// The key of an instance that has no `name`: the service and eight hex digits of the SHA-256 of
/// its (first) config file's absolute path.
///
/// The key must be the same at every start, so it depends on nothing but the path's text. Windows
/// compares paths without regard to case, so they are digested in lower case: `c:\` and `C:\` are
/// one instance.
pub fn default_name(service: &str, path: &Path) -> String {
    let path = path.to_string_lossy();
    let text = if cfg!(windows) { path.to_lowercase() } else { path.into_owned() };
    let digest = Sha256::digest(text.as_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{service}-{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_absolute_and_belong_together() {
        assert!(system_settings().is_absolute() && system_spool().is_absolute());
        assert_eq!(system_settings().file_name().unwrap(), "salver.yaml");
        assert_eq!(system_spool().file_name().unwrap(), "spool");
        if cfg!(target_os = "linux") {
            assert_eq!(system_settings(), Path::new("/etc/salver/salver.yaml"));
            assert_eq!(system_spool(), Path::new("/var/lib/salver/spool"));
        }
    }

    #[test]
    fn an_unnamed_instance_has_the_same_short_key_at_every_start() {
        // printf /opt/butler/production.yaml | sha256sum
        let name = default_name("butler", Path::new("/opt/butler/production.yaml"));
        assert_eq!(name, "butler-0ccdec76");
        assert_ne!(name, default_name("butler", Path::new("/opt/butler/test.yaml")));
    }
}

//! Modes of files and folders, and the user who runs the tests.

use std::path::Path;

/// Sets the mode of a file or folder. Windows has none.
#[cfg(unix)]
pub fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets the mode of a file or folder. Windows has none.
#[cfg(not(unix))]
pub fn chmod(_: &Path, _: u32) {}

#[cfg(unix)]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

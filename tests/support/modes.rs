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

/// A user and a group without rights, by number, since not every machine has a name for them.
#[cfg(unix)]
pub const NOBODY: u32 = 65534;

/// Makes it the owner of a folder and of all files in it. Only root may do that.
#[cfg(unix)]
pub fn give_to_nobody(folder: &Path) {
    let owner = format!("{NOBODY}:{NOBODY}");
    super::expect(std::process::Command::new("chown").args(["-R", &owner]).arg(folder), 0);
}

#[cfg(unix)]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

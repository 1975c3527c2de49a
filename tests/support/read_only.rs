//! Spool folders that cannot be written to, and the program running on them.
//!
//! Each way stands for one that admins meet: a file system that is mounted read-only (a real bind mount, in a mount namespace
//! of its own, so that nothing of it outlives the command), and an account that may read but not write.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a folder that cannot be prepared should fail its test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::folders::files;

/// A way in which a folder cannot be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its file system is mounted read-only. Only root may mount.
    #[cfg(target_os = "linux")]
    Mounted,
    /// The account may not write.
    Forbidden,
}

/// The ways that can be shown here.
pub fn ways() -> Vec<Way> {
    #[cfg(target_os = "linux")]
    if is_root() {
        let mounts = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|it| it.success());
        let drops = Command::new("setpriv").args(NOBODY).arg("true").status().is_ok_and(|it| it.success());
        let ways = [(mounts, Way::Mounted), (drops, Way::Forbidden)];
        for (_, way) in ways.iter().filter(|(possible, _)| !possible) {
            eprintln!("SKIPPED: this machine cannot show a spool that is {way:?}");
        }
        return ways.into_iter().filter_map(|(possible, way)| possible.then_some(way)).collect();
    }
    // Nothing is forbidden to root, and elsewhere it is not tried to run as somebody else.
    #[cfg(all(unix, not(target_os = "linux")))]
    if is_root() {
        eprintln!("SKIPPED: root may write everywhere");
        return Vec::new();
    }
    #[cfg(unix)]
    return vec![Way::Forbidden];
    // A read-only folder there still lets files be made in it; a read-only mount was not at hand.
    #[cfg(not(unix))]
    {
        eprintln!("SKIPPED: no spool can be shown here that cannot be written to");
        Vec::new()
    }
}

#[cfg(target_os = "linux")]
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // What this process makes belongs to whom it runs as.
    fs::metadata(tempfile::tempdir().unwrap().path()).unwrap().uid() == 0
}

impl Way {
    /// The program, with `spool` not to be written to. `SALVER_SPOOL` names it.
    pub fn salver(self, spool: &Path) -> Command {
        let mut command = match self {
            #[cfg(target_os = "linux")]
            Way::Mounted => {
                let mut command = Command::new("unshare");
                let script =
                    "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
                command.args(["--mount", "sh", "-c", script, "sh"]).arg(spool).arg(program());
                command
            }
            Way::Forbidden => {
                forbid(spool);
                forbidden()
            }
        };
        command.env("SALVER_SPOOL", spool);
        for variable in ["SALVER_CONFIG", "SALVER_LOG", "DO_NOT_TRACK"] {
            command.env_remove(variable);
        }
        command
    }
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_salver"))
}

/// Root may write everywhere, so there somebody else runs the program.
#[cfg(target_os = "linux")]
fn forbidden() -> Command {
    if !is_root() {
        return Command::new(program());
    }
    let mut command = Command::new("setpriv");
    command.args(NOBODY).arg(program());
    command
}

#[cfg(not(target_os = "linux"))]
fn forbidden() -> Command {
    Command::new(program())
}

/// Takes away the right to write.
fn forbid(folder: &Path) {
    each_below(folder, &|path| {
        #[cfg(unix)]
        {
            if is_root() {
                std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
            }
            rights(path, if path.is_dir() { 0o500 } else { 0o400 });
        }
        #[cfg(not(unix))]
        if path.is_file() {
            set_read_only(path, true);
        }
    });
}

/// Gives the right to write back, so that the folder can be removed.
pub fn allow(folder: &Path) {
    each_below(folder, &|path| {
        #[cfg(unix)]
        rights(path, if path.is_dir() { 0o700 } else { 0o600 });
        #[cfg(not(unix))]
        if path.is_file() {
            set_read_only(path, false);
        }
    });
}

/// Sets the rights of a file or folder, where there are such.
#[cfg(unix)]
pub fn rights(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets the rights of a file or folder, where there are such.
#[cfg(not(unix))]
pub fn rights(_: &Path, _: u32) {}

#[cfg(not(unix))]
fn set_read_only(path: &Path, is: bool) {
    let mut rights = fs::metadata(path).unwrap().permissions();
    rights.set_readonly(is);
    fs::set_permissions(path, rights).unwrap();
}

/// The folder itself first, so that what is in it can be reached once it is allowed.
fn each_below(folder: &Path, change: &dyn Fn(&Path)) {
    change(folder);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { each_below(&path, change) } else { change(&path) }
    }
}

/// Every file below a folder: its bytes, and when it was last written.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let content = |path: &PathBuf| (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap());
    files(folder).into_iter().map(|path| (path.clone(), content(&path))).collect()
}

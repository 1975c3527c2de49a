//! Spool folders that cannot be written to, and the program running on them.
//!
//! Each way stands for one that admins meet: a file system that is mounted read-only (a real bind mount, in a mount namespace
//! of its own, so that nothing of it outlives the command), and an account that may read but not write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::folders::files;
#[cfg(unix)]
use super::modes::{chmod, is_root};
use super::needs::{Need, skip};

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
    {
        if !is_root() {
            skip(Need::ReadOnlyMount);
            return vec![Way::Forbidden];
        }
        let mounts = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|it| it.success());
        let drops = Command::new("setpriv").args(NOBODY).arg("true").status().is_ok_and(|it| it.success());
        let ways = [(mounts, Way::Mounted), (drops, Way::Forbidden)];
        if !(mounts && drops) {
            skip(Need::ReadOnlyMount);
        }
        ways.into_iter().filter_map(|(possible, way)| possible.then_some(way)).collect()
    }
    // Nothing is forbidden to root, and only on Linux is there a way to run as another user.
    #[cfg(all(unix, not(target_os = "linux")))]
    {
        if is_root() {
            skip(Need::NotRoot);
            return Vec::new();
        }
        vec![Way::Forbidden]
    }
    // A read-only folder there still lets files be made in it; a read-only mount was not at hand.
    #[cfg(not(unix))]
    {
        skip(Need::UnixModes);
        Vec::new()
    }
}

#[cfg(target_os = "linux")]
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

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
            chmod(path, if path.is_dir() { 0o500 } else { 0o400 });
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
        chmod(path, if path.is_dir() { 0o700 } else { 0o600 });
        #[cfg(not(unix))]
        if path.is_file() {
            set_read_only(path, false);
        }
    });
}

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

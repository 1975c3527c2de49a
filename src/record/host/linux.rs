//! Host fields of Linux.
//!
//! The tools' library prints all release files of the system one after another and reads
//! `KEY=value` lines from the whole, the last one winning. Where `/etc/lsb-release` exists beside
//! `/etc/os-release`, as on Ubuntu, a record therefore mixes both. Its reading of a line is cruder
//! than `os-release(5)`: double quotes vanish wherever they stand, single quotes stay, a second `=`
//! ends the value, and `NAME=""` is a name, an empty one. A file without a newline at its end runs
//! into the next one.
//!
//! `fixtures/linux/` has the release files of many distributions with what the library says of
//! them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Distribution, UNKNOWN, hardware};

pub const PLATFORM: &str = "linux";

/// Where udev keeps one link a disk, named by model and serial number.
const DISK_IDS: &str = "/dev/disk/by-id";

pub fn distribution() -> Distribution {
    distribution_of(&release_files(Path::new("/")))
}

pub fn is_virtual() -> bool {
    hardware::is_virtual()
        || file_names(Path::new(DISK_IDS)).any(|name| is_virtual_disk(&name))
        || is_wsl_kernel(&sysinfo::System::kernel_version().unwrap_or_default())
}

/// The text of all release files, in the order in which later ones overrule.
fn release_files(root: &Path) -> String {
    let etc = root.join("etc");
    let mut names: Vec<String> =
        file_names(&etc).filter(|name| name.ends_with("-release") && !name.starts_with('.')).collect();
    names.sort();
    let mut paths: Vec<PathBuf> = names.iter().map(|name| etc.join(name)).collect();
    paths.extend([root.join("usr/lib/os-release"), etc.join("openwrt_release")]);
    let bytes: Vec<u8> =
        paths.iter().filter(|path| path.is_file()).filter_map(|path| fs::read(path).ok()).flatten().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn file_names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn distribution_of(release_files: &str) -> Distribution {
    let fields: HashMap<String, &str> = release_files.split('\n').filter_map(field).collect();
    let first = |names: &[&str]| -> &str {
        let mut found = names.iter().filter_map(|name| fields.get(*name).copied());
        found.find(|value| !value.is_empty()).unwrap_or_default()
    };

    let distro = plain(or_unknown(first(&["DISTRIB_ID", "NAME"])));
    let version = match plain(first(&["PRETTY_NAME"])).strip_prefix(&format!("{distro} ")) {
        Some(rest) => trim(rest).to_owned(),
        None => plain(first(&["VERSION"])),
    };
    let (version, codename) = match version.split_once('(') {
        Some((version, rest)) => (trim(version).to_owned(), in_parentheses(rest)),
        None => (version, plain(first(&["DISTRIB_CODENAME", "VERSION_CODENAME"]))),
    };
    let release = match version.is_empty() {
        true => plain(or_unknown(first(&["DISTRIB_RELEASE", "VERSION_ID"]))),
        false => version,
    };
    Distribution { distro, release, codename }
}

fn field(line: &str) -> Option<(String, &str)> {
    let mut parts = line.split('=');
    let (key, value) = (parts.next()?, parts.next()?);
    Some((trim(key).to_uppercase(), trim(value)))
}

/// Trims as JavaScript does, whose white space is not quite that of Unicode.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}'))
}

fn plain(text: &str) -> String {
    text.replace('"', "")
}

/// The text between an opening parenthesis, already taken off, and the next one or the end.
fn in_parentheses(rest: &str) -> String {
    let inner = rest.split_once('(').map_or(rest, |(inner, _)| inner);
    trim(&inner.replace(')', "")).to_owned()
}

fn or_unknown(value: &str) -> &str {
    if value.is_empty() { UNKNOWN } else { value }
}

/// Disks of QEMU and VirtualBox carry the name of the hypervisor in their model.
fn is_virtual_disk(id: &str) -> bool {
    id.contains("QEMU") || id.contains("VBOX")
}

/// Only the kernel's release text shows the Windows Subsystem for Linux.
fn is_wsl_kernel(release: &str) -> bool {
    let release = release.to_lowercase();
    release.contains("microsoft") || release.ends_with("wsl2")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A system of `fixtures/linux/`.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Case {
        name: String,
        os_release: Option<String>,
        #[serde(default)]
        etc: BTreeMap<String, String>,
        /// Distro, release and codename.
        reported: [String; 3],
    }

    impl Case {
        fn named(&self) -> [String; 3] {
            let root = tempfile::tempdir().unwrap();
            let (etc, lib) = (root.path().join("etc"), root.path().join("usr/lib"));
            fs::create_dir(&etc).unwrap();
            fs::create_dir_all(&lib).unwrap();
            for (name, text) in &self.etc {
                fs::write(etc.join(name), text).unwrap();
            }
            if let Some(text) = &self.os_release {
                fs::write(lib.join("os-release"), text).unwrap();
                fs::write(etc.join("os-release"), text).unwrap();
            }
            let Distribution { distro, release, codename } = distribution_of(&release_files(root.path()));
            [distro, release, codename]
        }
    }

    fn assert_named_as_in(fixture: &str, at_least: usize) {
        let bounds = crate::yaml::Bounds { nodes: 10_000, leading_zeros_are_text: true };
        let cases: Vec<Case> = crate::yaml::parse(fixture, &bounds).unwrap();
        assert!(cases.len() >= at_least);
        for case in cases {
            assert_eq!(case.named(), case.reported, "{}", case.name);
        }
    }

    #[test]
    fn every_distribution_is_named_as_the_tools_library_names_it() {
        assert_named_as_in(include_str!("../../../fixtures/linux/distributions.yaml"), 40);
    }

    #[test]
    fn release_files_are_read_as_crudely_as_the_tools_library_reads_them() {
        assert_named_as_in(include_str!("../../../fixtures/linux/oddities.yaml"), 25);
    }

    #[test]
    fn hidden_files_folders_and_dangling_links_are_no_release_files() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir_all(etc.join("folder-release")).unwrap();
        fs::write(etc.join(".hidden-release"), "NAME=hidden").unwrap();
        std::os::unix::fs::symlink("nowhere", etc.join("os-release")).unwrap();
        assert_eq!(release_files(root.path()), "");
        fs::write(etc.join("a-release"), "NAME=").unwrap();
        fs::write(etc.join("b-release"), [b'x', 0xff]).unwrap();
        assert_eq!(release_files(root.path()), "NAME=x\u{fffd}");
    }

    #[test]
    fn disks_and_kernels_of_virtual_machines_are_recognised() {
        assert!(is_virtual_disk("scsi-0QEMU_QEMU_HARDDISK_drive-scsi0"));
        assert!(is_virtual_disk("ata-VBOX_HARDDISK_VB1d2f-1"));
        assert!(!is_virtual_disk("nvme-Samsung_SSD_980"));
        assert!(is_wsl_kernel("5.15.90.1-microsoft-standard-WSL2"));
        assert!(is_wsl_kernel("4.4.0-19041-Microsoft"));
        assert!(!is_wsl_kernel("6.1.0-18-amd64"));
    }
}

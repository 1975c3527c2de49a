//! Host fields of Linux.
//!
//! The tools' library prints all release files of the system one after another and reads `KEY=value` lines
//! from the whole, the last one winning. Where `/etc/lsb-release` exists beside `/etc/os-release`, as on
//! Ubuntu, a record therefore mixes both. Its reading of a line is cruder than `os-release(5)`: double quotes
//! vanish wherever they stand, single quotes stay, and a second `=` ends the value.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Distribution, UNKNOWN, hardware};

pub const PLATFORM: &str = "linux";

/// Where udev keeps one link a disk, named by model and serial number.
const DISK_IDS: &str = "/dev/disk/by-id";

pub fn distribution() -> Distribution {
    distribution_of(&release_files())
}

pub fn is_virtual() -> bool {
    hardware::is_virtual()
        || file_names(DISK_IDS).any(|name| is_virtual_disk(&name))
        || is_wsl_kernel(&sysinfo::System::kernel_version().unwrap_or_default())
}

/// The text of all release files, in the order in which later ones overrule.
fn release_files() -> String {
    let mut names: Vec<String> =
        file_names("/etc").filter(|name| name.ends_with("-release") && !name.starts_with('.')).collect();
    names.sort();
    let mut paths: Vec<PathBuf> = names.iter().map(|name| Path::new("/etc").join(name)).collect();
    paths.extend(["/usr/lib/os-release", "/etc/openwrt_release"].map(PathBuf::from));
    let texts = paths.iter().filter(|path| path.is_file()).filter_map(|path| fs::read(path).ok());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect::<Vec<_>>().join("\n")
}

fn file_names(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn distribution_of(release_files: &str) -> Distribution {
    let fields: HashMap<String, &str> = release_files.lines().filter_map(field).collect();
    let first = |names: &[&str]| -> String {
        let found = names.iter().filter_map(|name| fields.get(*name)).find(|value| !value.is_empty());
        found.map(|value| value.replace('"', "")).unwrap_or_default()
    };

    let distro = or_unknown(first(&["DISTRIB_ID", "NAME"]));
    let pretty = first(&["PRETTY_NAME"]);
    let version = match pretty.strip_prefix(&format!("{distro} ")) {
        Some(rest) => rest.trim().to_owned(),
        None => first(&["VERSION"]),
    };
    let (version, codename) = match version.split_once('(') {
        Some((version, rest)) => (version.trim().to_owned(), in_parentheses(rest)),
        None => (version, first(&["DISTRIB_CODENAME", "VERSION_CODENAME"])),
    };
    let release = if version.is_empty() { first(&["DISTRIB_RELEASE", "VERSION_ID"]) } else { version };
    Distribution { distro, release: or_unknown(release), codename }
}

fn field(line: &str) -> Option<(String, &str)> {
    let mut parts = line.split('=');
    let (key, value) = (parts.next()?, parts.next()?);
    Some((key.trim().to_uppercase(), value.trim()))
}

/// What stands between an opening parenthesis, already taken off, and the next one or the end.
fn in_parentheses(rest: &str) -> String {
    let inner = rest.split_once('(').map_or(rest, |(inner, _)| inner);
    inner.replace(')', "").trim().to_owned()
}

fn or_unknown(value: String) -> String {
    if value.is_empty() { UNKNOWN.to_owned() } else { value }
}

/// Disks of QEMU and VirtualBox carry the name of the hypervisor in their model.
fn is_virtual_disk(id: &str) -> bool {
    id.contains("QEMU") || id.contains("VBOX")
}

/// The Windows Subsystem for Linux shows in the kernel's release text alone.
fn is_wsl_kernel(release: &str) -> bool {
    let release = release.to_lowercase();
    release.contains("microsoft") || release.ends_with("wsl2")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts distro, release and codename of a system with these release files.
    fn assert_named(release_files: &str, expected: [&str; 3]) {
        let Distribution { distro, release, codename } = distribution_of(release_files);
        assert_eq!([distro, release, codename], expected);
    }

    #[test]
    fn debian_is_named_by_its_pretty_name() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n\
            VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_named(text, ["Debian GNU/Linux", "12", "bookworm"]);
    }

    #[test]
    fn ubuntu_mixes_lsb_release_and_os_release() {
        let text = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\nDISTRIB_CODENAME=jammy\n\
            DISTRIB_DESCRIPTION=\"Ubuntu 22.04.3 LTS\"\nPRETTY_NAME=\"Ubuntu 22.04.3 LTS\"\n\
            NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nVERSION=\"22.04.3 LTS (Jammy Jellyfish)\"\n";
        assert_named(text, ["Ubuntu", "22.04.3 LTS", "jammy"]);
    }

    #[test]
    fn red_hat_and_its_kin_have_the_codename_in_parentheses() {
        let rocky = "Rocky Linux release 9.3 (Blue Onyx)\nNAME=\"Rocky Linux\"\nVERSION=\"9.3 (Blue Onyx)\"\n\
            VERSION_ID=\"9.3\"\nPRETTY_NAME=\"Rocky Linux 9.3 (Blue Onyx)\"\n";
        assert_named(rocky, ["Rocky Linux", "9.3", "Blue Onyx"]);
        let rhel = "NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"9.4 (Plow)\"\nVERSION_ID=\"9.4\"\n\
            PRETTY_NAME=\"Red Hat Enterprise Linux 9.4 (Plow)\"\n";
        assert_named(rhel, ["Red Hat Enterprise Linux", "9.4", "Plow"]);
    }

    #[test]
    fn a_pretty_name_that_starts_otherwise_is_ignored() {
        let sles = "NAME=\"SLES\"\nVERSION=\"15-SP5\"\nVERSION_ID=\"15.5\"\n\
            PRETTY_NAME=\"SUSE Linux Enterprise Server 15 SP5\"\nID=\"sles\"\n";
        assert_named(sles, ["SLES", "15-SP5", ""]);
    }

    #[test]
    fn systems_without_version_or_codename_still_get_a_release() {
        let alpine = "3.19.1\nNAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.19.1\n\
            PRETTY_NAME=\"Alpine Linux v3.19\"\n";
        assert_named(alpine, ["Alpine Linux", "v3.19", ""]);
        assert_named("NAME=Void\r\nVERSION_ID=\"7\"\r\n", ["Void", "7", ""]);
        assert_named("NAME=\"Arch Linux\"\nPRETTY_NAME=\"Arch Linux\"\n", ["Arch Linux", "unknown", ""]);
        assert_named("no such file", ["unknown", "unknown", ""]);
    }

    #[test]
    fn later_files_overrule_and_lines_are_read_as_crudely_as_the_tools_do() {
        let text = "NAME=first\n name = 'Second' \nVERSION=1=2\nPRETTY_NAME=\"'Second' 3 (a (b) c)\"\n";
        assert_named(text, ["'Second'", "3", "a"]);
        assert_named("NAME=x\nVERSION=1=2\n", ["x", "1", ""]);
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

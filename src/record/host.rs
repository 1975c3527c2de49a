//! The host fields of a record.
//!
//! A record must fall into the same charts as the tool's own, so every field is derived by the
//! rules of `systeminformation`, the Node library that Butler and Butler SOS ask, including its
//! habits that a reader of `os-release(5)` would not expect. Nothing here names the host: no host
//! name, address or serial number.
//!
//! - The decisions are pure functions on text; only thin readers around them touch the system.
//! - Reading never fails. A field that cannot be read is `"unknown"`, except a codename, which is
//!   empty as in the library, since most systems have none. A name written as empty (`NAME=""`)
//!   stays empty, as there.
//! - Every source is readable without privileges, so that a record written by an admin and one
//!   written by the service account do not differ. For that reason the library's search of the
//!   kernel's message buffer for traces of a hypervisor, whose answer changes with the user and
//!   with time, is left out.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

#[cfg(not(target_os = "macos"))]
mod hardware;
#[cfg_attr(windows, path = "host/windows.rs")]
#[cfg_attr(target_os = "macos", path = "host/macos.rs")]
#[cfg_attr(not(any(windows, target_os = "macos")), path = "host/linux.rs")]
mod os;

/// The value of a field that cannot be read on this host.
const UNKNOWN: &str = "unknown";

/// The host fields of a record. Serialised under the names that the tools use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// Processor architecture in Node's words: `x64`, `arm64`, `ia32`, `arm`.
    pub arch: String,
    /// `linux`, `darwin` or `Windows`.
    pub platform: String,
    /// Version of the distribution, of macOS, or of the Windows kernel (`12`, `15.1`,
    /// `10.0.20348`).
    pub release: String,
    /// Name of the distribution or the Windows caption (`Debian GNU/Linux`).
    pub distro: String,
    /// Name or feature release of this version (`bookworm`, `Sequoia`, `21H2`); empty where there
    /// is none.
    pub codename: String,
    /// Whether hardware, disks or kernel show a virtual machine.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    #[serde(rename = "isRunningInDocker")]
    pub docker: bool,
}

/// The host fields that name the operating system.
#[derive(Debug, PartialEq, Eq)]
struct Distribution {
    distro: String,
    release: String,
    codename: String,
}

/// Reads the host fields. Cheap enough to be called for every record.
pub fn facts() -> System {
    let Distribution { distro, release, codename } = os::distribution();
    System {
        arch: node_arch(std::env::consts::ARCH).to_owned(),
        platform: os::PLATFORM.to_owned(),
        release,
        distro,
        codename,
        is_virtual: os::is_virtual(),
        docker: in_docker(),
    }
}

/// Node's name (`process.arch`) of a Rust architecture. Both name the architecture of the program,
/// not of the kernel.
fn node_arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "x86" => "ia32",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        same => same,
    }
}

/// The two signs that Node's `is-docker` looks for.
pub(super) fn in_docker() -> bool {
    Path::new("/.dockerenv").exists()
        || fs::read_to_string("/proc/self/cgroup").is_ok_and(|groups| groups.contains("docker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_bear_the_names_that_node_gives_them() {
        let names = ["x86_64", "aarch64", "x86", "arm", "riscv64"].map(node_arch);
        assert_eq!(names, ["x64", "arm64", "ia32", "arm", "riscv64"]);
    }

    #[test]
    fn every_field_has_a_value_on_an_ordinary_host() {
        let facts = facts();
        for value in [&facts.arch, &facts.platform, &facts.release, &facts.distro] {
            assert!(!value.trim().is_empty(), "{facts:?}");
        }
    }

    #[test]
    fn fields_are_written_under_the_names_of_the_tools() {
        let written = serde_json::to_value(facts()).unwrap();
        let names: Vec<&String> = written.as_object().unwrap().keys().collect();
        let expected = ["arch", "platform", "release", "distro", "codename", "virtual", "isRunningInDocker"];
        assert_eq!(names, expected);
    }
}

//! Host fields of Windows.
//!
//! The tools ask WMI, which may hang for minutes or be barred to a service account. The registry
//! holds the same facts, answers at once and is readable by everyone. The caption that WMI shows is
//! the registry's product name with the maker's name before it.

use sysinfo::System;
use windows_registry::LOCAL_MACHINE;

use super::{Distribution, UNKNOWN, hardware};

pub const PLATFORM: &str = "Windows";

const CURRENT_VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";

pub fn distribution() -> Distribution {
    Distribution {
        // `sysinfo` corrects the product name of Windows 11, which still reads "Windows 10".
        distro: System::long_os_version().map_or_else(|_| UNKNOWN.to_owned(), |name| caption(&name)),
        release: kernel().unwrap_or_else(|| UNKNOWN.to_owned()),
        // Windows before 20H2, Server 2019 among them, has no display version.
        codename: display_version().unwrap_or_default(),
    }
}

pub fn is_virtual() -> bool {
    hardware::is_virtual()
}

fn caption(product_name: &str) -> String {
    match product_name.trim() {
        "" => UNKNOWN.to_owned(),
        name if name.starts_with("Microsoft ") => name.to_owned(),
        name => format!("Microsoft {name}"),
    }
}

/// The kernel version in Node's form, such as `10.0.20348`. It stays at 10.0 on Windows 11 and
/// Server 2025.
fn kernel() -> Option<String> {
    let key = LOCAL_MACHINE.open(CURRENT_VERSION).ok()?;
    let major = key.get_u32("CurrentMajorVersionNumber").ok()?;
    let minor = key.get_u32("CurrentMinorVersionNumber").ok()?;
    let build = key.get_string("CurrentBuildNumber").ok()?;
    Some(format!("{major}.{minor}.{build}"))
}

fn display_version() -> Option<String> {
    LOCAL_MACHINE.open(CURRENT_VERSION).ok()?.get_string("DisplayVersion").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caption_is_the_product_name_with_its_maker() {
        let server = "Microsoft Windows Server 2022 Standard";
        assert_eq!(caption("Windows Server 2022 Standard"), server);
        assert_eq!(caption(server), server);
        assert_eq!(caption(" "), UNKNOWN);
    }

    #[test]
    fn the_release_is_three_numbers_or_unknown() {
        let release = distribution().release;
        let numbers = release.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        assert!(numbers == 3 || release == UNKNOWN, "{release}");
    }
}

//! Host fields of macOS: its name, the product version and the marketing name.

use sysinfo::System;

use super::{Distribution, UNKNOWN};

pub const PLATFORM: &str = "darwin";

const NAME: &str = "macOS";

pub fn distribution() -> Distribution {
    let release = System::os_version().unwrap_or_else(|_| UNKNOWN.to_owned());
    let codename = codename(&System::long_os_version().unwrap_or_default(), &release);
    Distribution { distro: NAME.to_owned(), release, codename }
}

/// The tools' library looks for virtual machines on Linux and Windows only.
pub fn is_virtual() -> bool {
    false
}

/// The marketing name at the end of `sysinfo`'s long form, such as `macOS 15.1 Sequoia`. A version
/// that has none there is called `macOS`, as in the tools' library.
fn codename(long: &str, release: &str) -> String {
    let name = long.split_once(release).map_or("", |(_, name)| name.trim());
    if name.is_empty() { NAME.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::codename;

    #[test]
    fn the_codename_is_the_marketing_name() {
        assert_eq!(codename("macOS 15.1 Sequoia", "15.1"), "Sequoia");
        assert_eq!(codename("macOS 11.7 Big Sur", "11.7"), "Big Sur");
        assert_eq!(codename("macOS 99.0", "99.0"), "macOS");
    }
}

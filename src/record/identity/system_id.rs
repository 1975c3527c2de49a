//! The id of the machine, the fourth input of the anonymous id.
//!
//! The tools take the product UUID of the firmware (DMI, SMBIOS). On Linux only root may read it,
//! and some virtual machines and most containers have none. There salver takes the id of the
//! operating system, which the public description of the id names, unless the settings say
//! otherwise.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The setting `identity.systemId`: the source of the system id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemIdSource {
    /// The firmware's UUID, else the operating system's machine id.
    #[default]
    Auto,
    /// The firmware's UUID only, as the tools do.
    Dmi,
    /// The operating system's machine id only.
    Machine,
    /// None: the id equals that of a tool that cannot read the UUID.
    None,
}

/// The source of a system id, in ascending order of how well it tells machines apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemIdOrigin {
    /// Nothing was readable or wanted.
    Empty,
    /// The operating system; the same on machines made from one disk image.
    Machine,
    /// The firmware.
    Dmi,
}

/// A system id and its source.
#[derive(Clone, PartialEq, Eq)]
pub struct SystemId {
    /// Lower-case; empty if there is none.
    pub text: String,
    pub origin: SystemIdOrigin,
}

/// Hides the id: it may not reach a log or an error message.
impl fmt::Debug for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemId").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Reads the system id. A source that is not readable counts as absent.
pub fn system_id(source: SystemIdSource) -> SystemId {
    choose(source, dmi_id, machine_id)
}

/// The product UUID: on Linux from `/sys` and for root only, on Windows from the SMBIOS tables, on
/// macOS from the I/O registry.
pub(super) fn dmi_id() -> Option<String> {
    sysinfo::Product::uuid().ok().and_then(|text| clean(&text))
}

/// The operating system's own id; on Windows the `MachineGuid`.
pub(super) fn machine_id() -> Option<String> {
    machine_uid::get().ok().and_then(|text| clean(&text))
}

fn choose(
    source: SystemIdSource,
    dmi: impl FnOnce() -> Option<String>,
    machine: impl FnOnce() -> Option<String>,
) -> SystemId {
    let dmi = || dmi().map(|text| SystemId { text, origin: SystemIdOrigin::Dmi });
    let machine = || machine().map(|text| SystemId { text, origin: SystemIdOrigin::Machine });
    let found = match source {
        SystemIdSource::Auto => dmi().or_else(machine),
        SystemIdSource::Dmi => dmi(),
        SystemIdSource::Machine => machine(),
        SystemIdSource::None => None,
    };
    found.unwrap_or(SystemId { text: String::new(), origin: SystemIdOrigin::Empty })
}

/// The text as the tools hash it; `None` if it names no machine. Firmware whose maker filled
/// nothing in says so in words, and systemd writes `uninitialized` into the machine id of an image
/// that was never started.
fn clean(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let placeholder = text.contains("o.e.m.")
        || text.contains("default string")
        || ["", "default", "uninitialized"].contains(&text.as_str());
    (!placeholder).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRMWARE: &str = "4c4c4544-0042-3510-8052-b4c04f4d3332";

    fn chosen(source: SystemIdSource, dmi: Option<&str>) -> (String, SystemIdOrigin) {
        let id = choose(source, || dmi.and_then(clean), || clean("3D1219C7C4C5404A"));
        (id.text, id.origin)
    }

    #[test]
    fn auto_takes_the_firmware_and_falls_back_to_the_operating_system() {
        let upper = FIRMWARE.to_uppercase();
        assert_eq!(chosen(SystemIdSource::Auto, Some(&upper)), (FIRMWARE.to_owned(), SystemIdOrigin::Dmi));
        let machine = ("3d1219c7c4c5404a".to_owned(), SystemIdOrigin::Machine);
        assert_eq!(chosen(SystemIdSource::Auto, None), machine);
        assert_eq!(chosen(SystemIdSource::Auto, Some("To be filled by O.E.M.")), machine);
    }

    #[test]
    fn a_source_that_was_chosen_is_the_only_one_asked() {
        let nothing = (String::new(), SystemIdOrigin::Empty);
        assert_eq!(chosen(SystemIdSource::Dmi, None), nothing);
        assert_eq!(chosen(SystemIdSource::None, Some(FIRMWARE)), nothing);
        assert_eq!(chosen(SystemIdSource::Machine, Some(FIRMWARE)).1, SystemIdOrigin::Machine);
    }

    #[test]
    fn placeholders_of_makers_count_as_empty() {
        for text in ["To Be Filled By O.E.M.", "Default string", "default", "Uninitialized", " \n", ""] {
            assert_eq!(clean(text), None, "{text}");
        }
        assert_eq!(clean("default-7\n").as_deref(), Some("default-7"));
    }

    #[test]
    fn settings_name_the_sources_in_lower_case() {
        let names = ["auto", "dmi", "machine", "none"].map(|name| format!("\"{name}\""));
        for name in names {
            let source: SystemIdSource = serde_json::from_str(&name).unwrap();
            assert_eq!(serde_json::to_string(&source).unwrap(), name);
        }
    }

    #[test]
    fn the_id_is_not_shown() {
        let id = choose(SystemIdSource::Dmi, || clean(FIRMWARE), || None);
        assert!(!format!("{id:?}").contains("4c4c"));
    }
}

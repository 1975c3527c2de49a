//! Recognises virtual machines by their hardware.
//!
//! Firmware names the model and the vendor in its SMBIOS tables, and hypervisors put their own
//! names there. The comparison is deliberately as narrow as that of the tools' library, which
//! misses, for example, the models of public clouds.

use sysinfo::Product;

const MODELS: [&str; 4] = ["virtualbox", "kvm", "virtual machine", "bochs"];
const MODEL_PREFIXES: [&str; 2] = ["vmware", "droplet"];
const VENDORS: [&str; 1] = ["xen"];
const VENDOR_PREFIXES: [&str; 1] = ["vmware"];
/// Compared with model and vendor, in the library's Windows branch only.
const WINDOWS_PREFIXES: [&str; 2] = ["qemu", "parallels"];

/// Reads model and vendor and decides. Missing tables, as in most containers, mean no.
pub fn is_virtual() -> bool {
    let model = Product::name().unwrap_or_default();
    let vendor = Product::vendor_name().unwrap_or_default();
    names_a_hypervisor(&model, &vendor, cfg!(windows))
}

fn names_a_hypervisor(model: &str, vendor: &str, on_windows: bool) -> bool {
    let model = model.to_lowercase();
    let vendor = vendor.to_lowercase();
    let starts = |text: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    MODELS.contains(&model.as_str())
        || starts(&model, &MODEL_PREFIXES)
        || VENDORS.contains(&vendor.as_str())
        || starts(&vendor, &VENDOR_PREFIXES)
        || (on_windows && (starts(&model, &WINDOWS_PREFIXES) || starts(&vendor, &WINDOWS_PREFIXES)))
}

#[cfg(test)]
mod tests {
    use super::names_a_hypervisor;

    #[test]
    fn hypervisors_are_known_by_model_or_vendor() {
        for (model, vendor) in [
            ("VirtualBox", "innotek GmbH"),
            ("KVM", "Red Hat"),
            ("Virtual Machine", "Microsoft Corporation"),
            ("Bochs", ""),
            ("VMware Virtual Platform", "VMware, Inc."),
            ("VMware7,1", ""),
            ("Droplet", "DigitalOcean"),
            ("HVM domU", "Xen"),
        ] {
            assert!(names_a_hypervisor(model, vendor, false), "{model}, {vendor}");
        }
    }

    #[test]
    fn real_machines_and_empty_tables_are_not_virtual() {
        for (model, vendor) in
            [("PowerEdge R740", "Dell Inc."), ("Virtual Machine Host 2000", "Xenon"), ("", "")]
        {
            assert!(!names_a_hypervisor(model, vendor, true), "{model}, {vendor}");
        }
    }

    #[test]
    fn qemu_and_parallels_count_on_windows_only() {
        let model = "Standard PC (Q35 + ICH9, 2009)";
        assert!(names_a_hypervisor(model, "QEMU", true));
        assert!(!names_a_hypervisor(model, "QEMU", false));
        assert!(names_a_hypervisor("Parallels ARM Virtual Machine", "", true));
    }
}

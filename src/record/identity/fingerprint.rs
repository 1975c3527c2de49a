//! Tells whether this is still the host on which an id was pinned, or a clone of it.
//!
//! A pinned id outlives changes of address and of user. Copied along with its disk, the spool would
//! therefore make a second machine report under the id of the first. So a fingerprint of the host
//! is kept beside the pins, and a machine that cannot be the same host gets ids of its own.
//!
//! 1. **It rules out, it never proves.** The marks of a host are kept one by one and compared only
//!    where both sides have them, the best first: the firmware's UUID, which a hypervisor gives
//!    anew to a copy and which survives a new disk or interface; without it the operating system's
//!    machine id, which many copies share; without a difference there, hardware addresses and host
//!    name together. A replaced network card alone, a new name alone, a lost network or the missing
//!    right to read the UUID make no clone.
//! 2. **It cannot be turned back.** A digest of a hardware address could be found again by trying
//!    all of them, however good the digest. Each mark is therefore cut to 16 bits: more than four
//!    billion addresses share it. A clone passes for the original once in 65,536 times for each
//!    mark that differs.
//! 3. **A container is not a host.** Its name and addresses are as short-lived as itself, so inside
//!    one they are left out: a spool on a volume outlives them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::keyed_digest;
use super::system_id::{dmi_id, machine_id};
use crate::record::host::in_docker;
use crate::record::network::hardware_addresses;

/// Separates these digests from any other use of the same texts.
const CONTEXT: &str = "salver host fingerprint 1";

/// How many hardware addresses are kept. The kernel lists the built-in interfaces first; the
/// short-lived ones of containers follow and would, in great number, make two hosts look alike by
/// chance.
const MOST_ADDRESSES: usize = 8;

/// Marks that tell hosts apart, cut so far that nothing about the host can be learned from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    dmi: Option<u16>,
    machine: Option<u16>,
    name: Option<u16>,
    addresses: BTreeSet<u16>,
}

/// The marks in full.
#[derive(Default)]
struct Marks {
    dmi: Option<String>,
    machine: Option<String>,
    name: Option<String>,
    addresses: Vec<String>,
}

/// Takes the fingerprint of this host, from all marks that this user may read.
pub fn fingerprint() -> Fingerprint {
    let mut marks = Marks { dmi: dmi_id(), machine: machine_id(), ..Marks::default() };
    if !in_docker() {
        marks.name = sysinfo::System::host_name().ok().map(|name| name.to_lowercase());
        marks.addresses = hardware_addresses();
    }
    Fingerprint::of(&marks)
}

impl Fingerprint {
    fn of(marks: &Marks) -> Self {
        let mark = |kind, mark: &Option<String>| mark.as_ref().map(|text| cut(kind, text));
        Self {
            dmi: mark("dmi", &marks.dmi),
            machine: mark("machine", &marks.machine),
            name: mark("name", &marks.name),
            addresses: marks.addresses.iter().take(MOST_ADDRESSES).map(|text| cut("address", text)).collect(),
        }
    }

    /// Whether the two cannot belong to one host.
    pub fn rules_out(&self, other: &Self) -> bool {
        let differ = |a: Option<u16>, b: Option<u16>| a.zip(b).map(|(a, b)| a != b);
        let machine_differs = differ(self.machine, other.machine) == Some(true);
        let (ours, theirs) = (&self.addresses, &other.addresses);
        let no_address_shared = !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(theirs);
        match differ(self.dmi, other.dmi) {
            Some(true) => true,
            // Some makers write the same UUID into every board, so a clone differs in the rest.
            Some(false) => machine_differs && no_address_shared,
            None => machine_differs || no_address_shared && differ(self.name, other.name) == Some(true),
        }
    }

    /// The fingerprint after the host was seen once more. A mark that cannot be read now is kept,
    /// so that a process without privileges does not weaken the comparison for good. Addresses are
    /// taken over only if they share one with those known.
    #[must_use]
    pub fn learn(&self, now: &Self) -> Self {
        let replaced = self.addresses.is_empty() || !self.addresses.is_disjoint(&now.addresses);
        Self {
            dmi: now.dmi.or(self.dmi),
            machine: now.machine.or(self.machine),
            name: now.name.or(self.name),
            addresses: if replaced && !now.addresses.is_empty() { &now.addresses } else { &self.addresses }
                .clone(),
        }
    }
}

/// A mark, cut to 16 bits.
fn cut(kind: &str, text: &str) -> u16 {
    let digest = keyed_digest(CONTEXT, &[kind, "\0", text]);
    u16::from_be_bytes([digest[0], digest[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(dmi: &str, machine: &str, name: &str, addresses: &[&str]) -> Fingerprint {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Fingerprint::of(&Marks {
            dmi: some(dmi),
            machine: some(machine),
            name: some(name),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
        })
    }

    const A: &str = "02:fc:00:00:00:01";
    const B: &str = "02:fc:00:00:00:02";
    const C: &str = "02:fc:00:00:00:03";

    #[test]
    fn a_clone_is_ruled_out_by_the_best_mark_that_both_have() {
        let original = host("uuid 1", "image", "sense1", &[A]);
        for clone in [
            host("uuid 2", "image", "sense1", &[A]),
            host("uuid 1", "other", "sense1", &[B]),
            host("", "other", "sense1", &[A]),
            host("", "image", "sense2", &[B]),
            host("", "", "sense2", &[B]),
        ] {
            assert!(original.rules_out(&clone) && clone.rules_out(&original), "{clone:?}");
        }
    }

    #[test]
    fn what_happens_to_one_host_in_its_life_is_no_clone() {
        let original = host("uuid 1", "image", "sense1", &[A, B]);
        for now in [
            host("uuid 1", "image", "sense1", &[]),
            host("uuid 1", "image", "renamed", &[C]),
            host("uuid 1", "reinstalled", "sense1", &[A]),
            host("", "image", "sense1", &[C]),
            host("", "image", "renamed", &[B, C]),
            host("", "", "", &[]),
        ] {
            assert!(!original.rules_out(&now) && !now.rules_out(&original), "{now:?}");
        }
    }

    #[test]
    fn interfaces_may_be_replaced_one_after_another_and_what_was_readable_once_stays_known() {
        let known = host("", "image", "sense1", &[A, B]).learn(&host("uuid 1", "image", "sense1", &[B, C]));
        assert_eq!(known, host("uuid 1", "image", "sense1", &[B, C]));
        let known = known.learn(&host("", "", "", &[]));
        assert!(known.rules_out(&host("uuid 2", "image", "sense1", &[C])));
        let one_card = host("", "image", "sense1", &[A]);
        let known = one_card.learn(&host("", "image", "sense1", &[B]));
        assert!(
            known.rules_out(&host("", "image", "sense2", &[B])),
            "a clone that is renamed after its first start"
        );
    }

    #[test]
    fn the_short_lived_interfaces_of_containers_do_not_count() {
        let veths: Vec<String> = (0..300).map(|number| format!("5e:00:00:00:00:{number:02x}")).collect();
        let marks = Marks { addresses: veths, ..Marks::default() };
        assert_eq!(Fingerprint::of(&marks).addresses.len(), MOST_ADDRESSES);
    }

    #[test]
    fn this_host_does_not_rule_itself_out() {
        let before = fingerprint();
        let written = serde_json::to_string(&before).unwrap();
        let kept: Fingerprint = serde_json::from_str(&written).unwrap();
        assert!(!kept.rules_out(&fingerprint()));
    }
}

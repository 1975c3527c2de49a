//! Is this still the host on which an id was pinned, or a clone of it?
//!
//! A pinned id outlives changes of address and of user. Copied along with its disk, the spool would therefore
//! make a second machine report under the id of the first. So a fingerprint of the host is kept beside the
//! pin, and a machine that cannot be the one it was taken from gets an id of its own.
//!
//! 1. **It rules out, it never proves.** The firmware's UUID, the operating system's machine id and the
//!    hardware addresses are noted one by one and compared only where both sides have them. A service that
//!    loses its network, an interface, or the right to read the UUID is not taken for a clone.
//! 2. **It cannot be turned back.** A digest of a hardware address could be found again by trying all of
//!    them, however good the digest. Each note is therefore cut to 16 bits: more than four billion addresses
//!    share it, and no effort tells which one was meant. A clone passes for the original once in 65,536 times
//!    for each note that differs, and usually two differ.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::keyed_digest;
use super::system_id::{dmi_id, machine_id};
use crate::record::network::hardware_addresses;

/// Keeps these digests apart from any other use of the same texts.
const CONTEXT: &str = "salver host fingerprint 1";

/// So many hardware addresses are noted. The kernel lists the built-in interfaces first; the short-lived ones
/// of containers come after them and would, in great number, make two hosts look alike by chance.
const MOST_ADDRESSES: usize = 8;

/// Notes that tell hosts apart and from which nothing about the host can be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    dmi: Option<u16>,
    machine: Option<u16>,
    addresses: BTreeSet<u16>,
}

/// Takes the fingerprint of this host, from whatever this user may read.
pub fn fingerprint() -> Fingerprint {
    Fingerprint::of(dmi_id(), machine_id(), &hardware_addresses())
}

impl Fingerprint {
    fn of(dmi: Option<String>, machine: Option<String>, addresses: &[String]) -> Self {
        Self {
            dmi: dmi.map(|text| note("dmi", &text)),
            machine: machine.map(|text| note("machine", &text)),
            addresses: addresses.iter().take(MOST_ADDRESSES).map(|text| note("address", text)).collect(),
        }
    }

    /// Whether the two cannot be of one host: a note that both have differs, or both have hardware addresses
    /// and share none of them.
    pub fn rules_out(&self, other: &Self) -> bool {
        let differ = |a: Option<u16>, b: Option<u16>| a.is_some() && b.is_some() && a != b;
        let (ours, theirs) = (&self.addresses, &other.addresses);
        let none_shared = !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(theirs);
        differ(self.dmi, other.dmi) || differ(self.machine, other.machine) || none_shared
    }

    /// Takes over what a later fingerprint of the same host knows, so that interfaces may be replaced one
    /// after another and a first look without privileges does not weaken the comparison for good.
    pub fn learn(&mut self, now: &Self) {
        self.dmi = now.dmi.or(self.dmi);
        self.machine = now.machine.or(self.machine);
        if !now.addresses.is_empty() {
            self.addresses.clone_from(&now.addresses);
        }
    }
}

fn note(kind: &str, text: &str) -> u16 {
    let digest = keyed_digest(CONTEXT, &[kind, "\0", text]);
    u16::from_be_bytes([digest[0], digest[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(dmi: &str, machine: &str, addresses: &[&str]) -> Fingerprint {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let addresses: Vec<String> = addresses.iter().map(|text| (*text).to_owned()).collect();
        Fingerprint::of(some(dmi), some(machine), &addresses)
    }

    #[test]
    fn a_clone_is_ruled_out_by_whatever_differs() {
        let original = host("uuid 1", "image", &["02:fc:00:00:00:01"]);
        assert!(original.rules_out(&host("uuid 2", "image", &["02:fc:00:00:00:01"])));
        assert!(original.rules_out(&host("uuid 1", "other", &["02:fc:00:00:00:01"])));
        assert!(original.rules_out(&host("", "image", &["02:fc:00:00:00:02"])));
    }

    #[test]
    fn losing_the_network_an_interface_or_privileges_is_no_clone() {
        let original = host("uuid 1", "image", &["02:fc:00:00:00:01", "02:fc:00:00:00:02"]);
        for now in [
            host("uuid 1", "image", &[]),
            host("", "image", &["02:fc:00:00:00:02", "02:fc:00:00:00:03"]),
            host("", "", &[]),
        ] {
            assert!(!original.rules_out(&now) && !now.rules_out(&original));
        }
    }

    #[test]
    fn interfaces_may_be_replaced_one_after_another() {
        let mut known = host("", "image", &["02:fc:00:00:00:01", "02:fc:00:00:00:02"]);
        known.learn(&host("uuid 1", "image", &["02:fc:00:00:00:02", "02:fc:00:00:00:03"]));
        assert!(!known.rules_out(&host("uuid 1", "image", &["02:fc:00:00:00:03"])));
        known.learn(&host("", "", &[]));
        assert!(known.rules_out(&host("uuid 2", "image", &["02:fc:00:00:00:03"])));
    }

    #[test]
    fn the_short_lived_interfaces_of_containers_do_not_count() {
        let veths: Vec<String> = (0..300).map(|number| format!("5e:00:00:00:00:{number:02x}")).collect();
        assert_eq!(Fingerprint::of(None, None, &veths).addresses.len(), MOST_ADDRESSES);
    }

    #[test]
    fn this_host_does_not_rule_itself_out() {
        let before = fingerprint();
        let written = serde_json::to_string(&before).unwrap();
        let kept: Fingerprint = serde_json::from_str(&written).unwrap();
        assert!(!kept.rules_out(&fingerprint()));
    }
}

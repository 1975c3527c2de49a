//! The anonymous id of an instance, and the conditions under which it was computed.
//!
//! A record must land in the same instance as the tool's own, so the id is computed exactly as the
//! tools do it: HMAC-SHA256 over hardware address, IPv4 address, host and system id, keyed with the
//! hardware address. The tools compute it anew at each start, and it changes when an address
//! changes or another user runs them; salver pins it. This module computes the id as it is now, and
//! how good the conditions were; the spool keeps the pin.
//!
//! - Inputs leave this module only as a digest: they are not stored, and `Debug` does not show
//!   them.
//! - This module never changes an id that was delivered. Before that, a pin made while something
//!   could not be read gives way to a better one; see [`Readable::better_than`].
//! - A copied disk must not report under the id of the original; see [`Fingerprint`].

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::network::default_interface;

mod fingerprint;
mod system_id;

pub use fingerprint::{Fingerprint, fingerprint};
pub use system_id::{SystemId, SystemIdOrigin, SystemIdSource, system_id};

/// The four texts that make an id.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityInputs {
    /// Hardware address of the default interface, lower-case with colons.
    pub mac: String,
    /// Its first IPv4 address; empty without one.
    pub ipv4: String,
    /// The host named in the config file; empty for a service whose id does not use it.
    pub host: String,
    /// The id of the machine; empty where none is readable or wanted.
    pub system_id: String,
}

/// Hides the inputs: they may not reach a log or an error message.
impl fmt::Debug for IdentityInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityInputs").finish_non_exhaustive()
    }
}

/// Which inputs could be read when an id was made; no values. Kept beside a pinned id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readable {
    /// The source of the system id in the settings.
    pub source: SystemIdSource,
    /// There was a network interface.
    pub network: bool,
    /// It had an IPv4 address.
    pub ipv4: bool,
    pub system: SystemIdOrigin,
}

impl Readable {
    /// Whether an id made under these conditions replaces one made under `other` that was not
    /// delivered or exported yet. True if nothing is worse and something is better. Conditions that
    /// are better in one point and worse in another do not replace each other, or two users taking
    /// turns would change the id each time. Also true if the settings name another source since, as
    /// that is an admin's decision.
    pub fn better_than(&self, other: &Self) -> bool {
        let not_worse =
            self.network >= other.network && self.ipv4 >= other.ipv4 && self.system >= other.system;
        self.source != other.source || (not_worse && self != other)
    }
}

/// An anonymous id with the conditions under which it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// 64 lower-case hex digits.
    pub id: String,
    pub readable: Readable,
}

/// Computes the id as it is now, for `host` as the config file names it. Reads the network
/// interfaces and the system id. An input that cannot be read makes a different id, never an error.
pub fn identify(host: &str, source: SystemIdSource) -> Identity {
    let interface = default_interface();
    let system = system_id(source);
    let network = interface.is_real();
    let readable =
        Readable { source, network, ipv4: network && !interface.ipv4.is_empty(), system: system.origin };
    let id = anonymous_id(&IdentityInputs {
        mac: interface.mac,
        ipv4: interface.ipv4,
        host: host.to_owned(),
        system_id: system.text,
    });
    Identity { id, readable }
}

/// The id as the tools compute it: 64 lower-case hex digits.
pub fn anonymous_id(inputs: &IdentityInputs) -> String {
    let IdentityInputs { mac, ipv4, host, system_id } = inputs;
    let digest = keyed_digest(mac, &[mac, ipv4, host, system_id]);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA256 of the parts, with nothing between them.
#[cfg_attr(not(test), expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104)"))]
fn keyed_digest(key: &str, parts: &[&str]) -> [u8; 32] {
    let mut digest =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length (RFC 2104)");
    for part in parts {
        digest.update(part.as_bytes());
    }
    digest.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(host: &str) -> IdentityInputs {
        IdentityInputs {
            mac: "02:fc:00:00:00:01".to_owned(),
            ipv4: "192.0.2.2".to_owned(),
            host: host.to_owned(),
            system_id: String::new(),
        }
    }

    #[test]
    fn the_ids_are_those_of_the_tools() {
        let with_host = "a00aa3f353decc3953bcb2fc2ac935df5b4505e4894536311a4a030e00c6a0ac";
        let without = "d5d5ba440d789facebd30598089bb7f6089e23da50647a9cb3ed433a1988e7d3";
        assert_eq!(anonymous_id(&inputs("10.0.0.5")), with_host);
        assert_eq!(anonymous_id(&inputs("")), without);
    }

    #[test]
    fn the_same_host_has_the_same_id_each_time() {
        let first = identify("10.0.0.5", SystemIdSource::Auto);
        assert_eq!(first.id.len(), 64);
        assert_eq!(identify("10.0.0.5", SystemIdSource::Auto), first);
    }

    #[test]
    fn a_pin_gives_way_only_to_what_is_better_in_every_point() {
        let note = |network, ipv4, system| Readable { source: SystemIdSource::Auto, network, ipv4, system };
        let poor = note(false, false, SystemIdOrigin::Empty);
        let no_root = note(true, true, SystemIdOrigin::Machine);
        let no_network = note(false, false, SystemIdOrigin::Dmi);
        let good = note(true, true, SystemIdOrigin::Dmi);
        for worse in [poor, no_root, no_network] {
            assert!(good.better_than(&worse));
            assert!(!worse.better_than(&good));
        }
        assert!(!no_root.better_than(&no_network) && !no_network.better_than(&no_root));
        assert!(!good.better_than(&good));
    }

    #[test]
    fn a_pin_gives_way_to_another_source_in_the_settings() {
        let good = identify("", SystemIdSource::Auto).readable;
        let none = identify("", SystemIdSource::None).readable;
        assert!(none.better_than(&good));
    }

    #[test]
    fn no_input_is_shown() {
        let shown = format!("{:?}", inputs("10.0.0.5"));
        for secret in ["02:fc", "192.0", "10.0"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

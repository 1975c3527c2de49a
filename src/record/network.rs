//! The network interface whose addresses go into the anonymous id.
//!
//! The id must equal the one that the tool itself computed, so the choice follows the tools'
//! library to the detail: first the interface of the default route; without one, which is the rule
//! on an air-gapped server, the first interface in the order of the kernel's list that is up and
//! not internal. That order is kept throughout, because with several addresses the first one
//! counts.
//!
//! - Nothing is sent to find out. On Windows and macOS a UDP socket is connected, which only asks
//!   the routing table for a source address.
//! - Reading never fails: without a usable interface the answer is the pair of stand-ins that the
//!   tools use.
//! - The addresses go into a keyed digest and nowhere else; `Debug` does not show them.

use std::fmt;
use std::net::IpAddr;

use mac_address::{MacAddress, MacAddressIterator, mac_address_by_name};

/// The hardware address of an interface that has none, such as a tunnel, and of a host without
/// interfaces.
const NO_MAC: &str = "00:00:00:00:00:00";
const NO_ADDRESS: &str = "127.0.0.1";

/// Hardware and IPv4 address of the default interface, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct DefaultInterface {
    /// Lower-case hex with colons, such as `02:fc:00:00:00:01`.
    pub mac: String,
    /// Dotted decimal; empty if the interface has no IPv4 address.
    pub ipv4: String,
}

impl DefaultInterface {
    /// What the tools take on a host without any usable interface.
    fn stand_in() -> Self {
        Self { mac: NO_MAC.to_owned(), ipv4: NO_ADDRESS.to_owned() }
    }

    /// Whether an interface was found, in contrast to the stand-ins for none.
    pub fn is_real(&self) -> bool {
        *self != Self::stand_in()
    }
}

/// Hides the addresses: they may not reach a log or an error message.
impl fmt::Debug for DefaultInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultInterface").finish_non_exhaustive()
    }
}

/// Reads the default interface. Needs no privileges.
pub fn default_interface() -> DefaultInterface {
    let addresses = addresses();
    let Some(interface) = default_route(&addresses).or_else(|| first_external(&addresses)) else {
        return DefaultInterface::stand_in();
    };
    let mac = mac_address_by_name(&interface).ok().flatten();
    DefaultInterface {
        mac: mac.map_or_else(|| NO_MAC.to_owned(), text),
        ipv4: first_ipv4(&addresses, &interface),
    }
}

/// The hardware addresses of all interfaces, up or not, in the kernel's order and without the empty
/// ones.
pub fn hardware_addresses() -> Vec<String> {
    let all = MacAddressIterator::new().into_iter().flatten();
    all.map(text).filter(|mac| mac != NO_MAC).collect()
}

fn text(mac: MacAddress) -> String {
    mac.to_string().to_lowercase()
}

/// One address of one interface.
struct Address {
    interface: String,
    ip: IpAddr,
    up: bool,
    /// The interface's index, for an IPv6 link-local address; such an address means nothing without
    /// it.
    scope: Option<u32>,
}

/// All addresses in the kernel's order; empty if it gives none. `sysinfo` knows them too, but hands
/// them out as a set, without their order. `if-addrs` needs its feature `link-local` here: an
/// interface that has no other address is a candidate for the tools.
fn addresses() -> Vec<Address> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    all.into_iter()
        .map(|address| Address {
            ip: address.ip(),
            up: address.is_oper_up(),
            scope: address.index.filter(|_| address.ip().is_ipv6() && address.is_link_local()),
            // Linux lists an address with a label under the label: `eth0:1` is `eth0`.
            interface: address.name.split(':').next().unwrap_or_default().to_owned(),
        })
        .collect()
}

#[cfg(target_os = "linux")]
fn default_route(_: &[Address]) -> Option<String> {
    first_default_route(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The interface of the first usable default route in a table in the form of `/proc/net/route`: a
/// heading, then a line for each route with interface, destination, gateway, flags, three counters
/// and mask, numbers in hex. The kernel lists default routes first and among them the one with the
/// lowest metric.
#[cfg(target_os = "linux")]
fn first_default_route(table: &str) -> Option<String> {
    const ANY: &str = "00000000";
    const UP: u32 = 0x1;
    const REJECT: u32 = 0x200;
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, _, flags, _, _, _, mask, ..] = columns[..] else {
            return None;
        };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let usable = flags & UP != 0 && flags & REJECT == 0;
        (usable && destination == ANY && mask == ANY).then(|| interface.to_owned())
    })
}

/// The interface that has the source address which the system picks for a far destination. The
/// destination is of a network reserved for documentation (RFC 5737), so that no route but the
/// default one leads there.
#[cfg(not(target_os = "linux"))]
fn default_route(addresses: &[Address]) -> Option<String> {
    use std::net::{Ipv4Addr, UdpSocket};
    const FAR: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(FAR).ok()?;
    let source = socket.local_addr().ok()?.ip();
    let holder = addresses.iter().find(|address| address.ip == source && !source.is_loopback())?;
    Some(holder.interface.clone())
}

/// The first interface that is up and not internal. As in the tools' library, interfaces with an
/// IPv6 link-local address come first, by their index.
fn first_external(addresses: &[Address]) -> Option<String> {
    let external = || addresses.iter().filter(|address| address.up && !is_internal(addresses, address));
    let scoped = external().filter(|address| address.scope.is_some()).min_by_key(|address| address.scope);
    scoped.or_else(|| external().next()).map(|address| address.interface.clone())
}

/// An interface is internal if any of its addresses is a loopback address, whatever else was added
/// to it.
fn is_internal(addresses: &[Address], address: &Address) -> bool {
    addresses.iter().any(|other| other.interface == address.interface && other.ip.is_loopback())
}

fn first_ipv4(addresses: &[Address], interface: &str) -> String {
    let mut own = addresses.iter().filter(|address| address.interface == interface);
    own.find(|address| address.ip.is_ipv4()).map(|address| address.ip.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: &str, ip: &str, scope: Option<u32>) -> Address {
        Address { interface: interface.to_owned(), ip: ip.parse().unwrap(), up: true, scope }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_first_default_route_that_is_usable_counts() {
        let heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let reject = "*\t00000000\t00000000\t0201\t0\t0\t50\t00000000\t0\t0\t0\n";
        let eth0 = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        let wlan0 = "wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
        let half = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n";
        let table = [heading, half, reject, eth0, wlan0].concat();
        assert_eq!(first_default_route(&table).as_deref(), Some("eth0"));
        for table in ["", heading, &[heading, half, reject, "torn 00000000"].concat()] {
            assert_eq!(first_default_route(table), None);
        }
    }

    #[test]
    fn without_a_default_route_the_first_external_interface_counts() {
        let mut list = vec![
            address("lo", "127.0.0.1", None),
            address("lo", "10.255.0.1", None),
            address("eth0", "192.0.2.2", None),
            address("eth1", "192.0.2.3", None),
        ];
        assert_eq!(first_external(&list).as_deref(), Some("eth0"));
        list.push(address("eth2", "fe80::2", Some(4)));
        list.push(address("eth1", "fe80::1", Some(3)));
        assert_eq!(first_external(&list).as_deref(), Some("eth1"));
    }

    #[test]
    fn interfaces_that_are_internal_or_down_are_passed_over() {
        let mut down = address("eth0", "192.0.2.2", None);
        down.up = false;
        let list = [address("lo", "127.0.0.1", None), address("lo", "::1", None), down];
        assert_eq!(first_external(&list), None);
        assert_eq!(first_external(&[]), None);
    }

    #[test]
    fn of_several_ipv4_addresses_the_first_counts_and_none_is_empty() {
        let list = [
            address("eth1", "203.0.113.7", None),
            address("eth0", "fe80::1", Some(2)),
            address("eth0", "192.0.2.9", None),
            address("eth0", "192.0.2.2", None),
            address("eth2", "2001:db8::1", None),
        ];
        assert_eq!(first_ipv4(&list, "eth0"), "192.0.2.9");
        assert_eq!(first_ipv4(&list, "eth2"), "");
    }

    #[test]
    fn the_addresses_are_not_shown() {
        let shown = format!("{:?}", DefaultInterface::stand_in());
        assert!(!shown.contains("00:00") && !shown.contains("127"), "{shown}");
    }
}

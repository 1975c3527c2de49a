//! Promise: the anonymous id is the one that the tool itself works out, whatever the network of the host looks like, so
//! that a forwarded record falls into the same instance as the tool's own.
//!
//! The ids are those of real processes on hosts whose interfaces, addresses and routes were made by `ip`. What they should
//! be is worked out by the tests from those addresses, and two worked examples are given by the tools' description. Linux
//! only: nowhere else can a test make up a host.

#![cfg(target_os = "linux")]

use std::process::Command;

use crate::support::host::{Host, id_of, ids, printed};
use crate::support::service::Service;
use crate::support::site::Site;
use crate::support::{expect, out};

/// Nothing reads an id before so many starts without its being the same.
const RESTARTS: usize = 20;

const MAC: &str = "02:fc:00:00:00:01";
const OTHER_MAC: &str = "02:fc:00:00:00:02";
const QRS_HOST: &str = "10.0.0.5";

/// The worked examples: this MAC, the address 192.0.2.2, no system id; with that host, and without any.
const WORKED_BUTLER: &str = "a00aa3f353decc3953bcb2fc2ac935df5b4505e4894536311a4a030e00c6a0ac";
const WORKED_SOS: &str = "d5d5ba440d789facebd30598089bb7f6089e23da50647a9cb3ed433a1988e7d3";

/// Settings with an instance of each service, and this source of the system id.
fn site(source: &str) -> Site {
    let site = Site::new();
    site.write(
        "config/butler.yaml",
        &format!("Butler: {{anonTelemetry: true, configQRS: {{host: {QRS_HOST}}}}}\n"),
    );
    site.write(
        "config/sos.yaml",
        "Butler-SOS: {anonTelemetry: true, logdb: {host: only-old-releases-use-it}}\n",
    );
    site.settings(&format!(
        "identity: {{systemId: {source}}}\ninstances:\n  \
         - {{name: butler, configFile: config/butler.yaml, serviceVersion: 15.1.0}}\n  \
         - {{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}\n"
    ));
    site
}

/// The ids of both instances with these inputs.
fn ids_of(mac: &str, ipv4: &str, system_id: &str) -> [String; 2] {
    [QRS_HOST, ""].map(|host| id_of(mac, ipv4, host, system_id))
}

fn id(site: &Site) -> Command {
    let mut command = site.salver();
    command.arg("id");
    command
}

#[test]
fn the_worked_ids_come_out_of_every_command_that_shows_one() {
    let Some(host) = Host::new() else { return };
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    host.sh("ip route add default via 192.0.2.1");
    let worked = [WORKED_BUTLER, WORKED_SOS];
    assert_eq!(ids_of(MAC, "192.0.2.2", ""), worked, "the tests' own code agrees with the examples");

    let by_run = site("none");
    let mut service = Service::start(&mut host.at(by_run.salver().arg("run")));
    service.wait_for_records(2);
    assert_eq!(printed(&service.stop().stdout.join("\n")), worked);
    assert_eq!(ids(&mut host.at(&id(&by_run))), worked);

    let by_record = site("none");
    expect(&mut host.at(by_record.salver().arg("record")), 0);
    assert_eq!(ids(&mut host.at(&id(&by_record))), worked);

    assert_eq!(ids(&mut host.at(&id(&site("none")))), worked, "without a record before");

    for site in [by_run, by_record] {
        let dumped = expect(host.at(&site.salver()).args(["dump", "--as", "event", "--format", "json"]), 0);
        let events: Vec<serde_json::Value> = serde_json::from_slice(&dumped.stdout).unwrap();
        let distinct_ids: Vec<_> =
            events.iter().map(|event| event["distinct_id"].as_str().unwrap()).collect();
        assert_eq!(distinct_ids, worked);
        for (event, id) in events.iter().zip(worked) {
            assert_eq!(event["properties"]["system_id"], id);
        }
    }
}

#[test]
fn the_host_of_the_log_database_counts_in_the_releases_of_butler_sos_that_had_one() {
    let Some(host) = Host::new() else { return };
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    for (version, name) in [("5.6.0", "db.example"), ("10.2.1", "db.example"), ("11.0.0", ""), ("15.0.0", "")]
    {
        let site = Site::of_sos("Butler-SOS: {anonTelemetry: true, logdb: {host: db.example}}\n");
        site.settings(&format!(
            "identity: {{systemId: none}}\n\
             instances: [{{name: sos, configFile: config/sos.yaml, serviceVersion: {version}}}]\n"
        ));
        let should = id_of(MAC, "192.0.2.2", name, "");
        assert_eq!(ids(&mut host.at(&id(&site))), [should], "{version}");
    }
}

/// A network, and the addresses of the interface that the tools take for the default one.
struct Network {
    what: &'static str,
    prepare: fn(&Host),
    mac: &'static str,
    ipv4: &'static str,
}

/// Checks the ids of several processes on a host with this network: the first of them pins, the others find the pin. Each
/// works its id out anew as well, and would say so if that gave another one.
fn check(network: &Network, restarts: usize) {
    let Some(host) = Host::new() else { return };
    (network.prepare)(&host);
    let site = site("none");
    let should = ids_of(network.mac, network.ipv4, "");
    for restart in 0..restarts {
        assert_eq!(ids(&mut host.at(&id(&site))), should, "{}, start {restart}", network.what);
    }
}

#[test]
fn with_a_default_route_its_interface_counts_at_every_start() {
    let prepare = |host: &Host| {
        host.interface("eth0", OTHER_MAC, &["198.51.100.9/24"]);
        host.interface("eth1", MAC, &["192.0.2.2/24"]);
        host.sh("ip route add default via 192.0.2.1");
    };
    check(
        &Network { what: "default route on the second interface", prepare, mac: MAC, ipv4: "192.0.2.2" },
        RESTARTS,
    );
}

#[test]
fn without_a_default_route_the_first_interface_counts_at_every_start() {
    let prepare = |host: &Host| {
        host.interface("eth1", MAC, &["192.0.2.2/24"]);
        host.interface("eth0", OTHER_MAC, &["198.51.100.9/24"]);
    };
    check(&Network { what: "no default route", prepare, mac: MAC, ipv4: "192.0.2.2" }, RESTARTS);
}

#[test]
fn of_several_addresses_the_first_counts_at_every_start() {
    let prepare = |host: &Host| {
        host.interface("eth0", MAC, &["203.0.113.77/24", "192.0.2.3/24", "192.0.2.2/24", "203.0.113.5/24"]);
        host.sh("ip route add default via 192.0.2.1");
    };
    check(&Network { what: "four addresses", prepare, mac: MAC, ipv4: "203.0.113.77" }, RESTARTS);
}

#[test]
fn with_ipv6_only_the_address_is_empty_at_every_start() {
    if !Host::new().is_some_and(|host| host.has_ipv6()) {
        return;
    }
    let prepare = |host: &Host| {
        host.interface("eth0", MAC, &["2001:db8::2/64", "fe80::2/64"]);
        host.sh("ip -6 route add default via 2001:db8::1");
    };
    check(&Network { what: "IPv6 only", prepare, mac: MAC, ipv4: "" }, RESTARTS);
}

#[test]
fn with_a_loopback_interface_only_the_stand_ins_count_at_every_start() {
    let prepare = |_: &Host| {};
    check(&Network { what: "loopback only", prepare, mac: "00:00:00:00:00:00", ipv4: "127.0.0.1" }, RESTARTS);
}

#[test]
fn an_unusual_network_is_read_as_the_tools_read_it() {
    let networks = [
        Network {
            what: "one interface is down, without a default route",
            prepare: |host| {
                host.interface_that_is_down("eth0", OTHER_MAC, &["198.51.100.9/24"]);
                host.interface("eth1", MAC, &["192.0.2.2/24"]);
            },
            mac: MAC,
            ipv4: "192.0.2.2",
        },
        Network {
            what: "the only interface is down",
            prepare: |host| host.interface_that_is_down("eth0", MAC, &["192.0.2.2/24"]),
            mac: "00:00:00:00:00:00",
            ipv4: "127.0.0.1",
        },
        Network {
            what: "no interface is up at all",
            prepare: |host| host.sh("ip link set lo down"),
            mac: "00:00:00:00:00:00",
            ipv4: "127.0.0.1",
        },
        Network {
            what: "the loopback interface bears the address of a service, too",
            prepare: |host| host.sh("ip addr add 10.255.0.1/32 dev lo"),
            mac: "00:00:00:00:00:00",
            ipv4: "127.0.0.1",
        },
        Network {
            what: "two default routes, the better of which came later",
            prepare: |host| {
                host.interface("eth0", OTHER_MAC, &["198.51.100.9/24"]);
                host.interface("eth1", MAC, &["192.0.2.2/24"]);
                host.sh("ip route add default via 198.51.100.1 metric 200; ip route add default via 192.0.2.1 metric 100");
            },
            mac: MAC,
            ipv4: "192.0.2.2",
        },
        Network {
            what: "a default route that forbids",
            prepare: |host| {
                host.interface("eth0", MAC, &["192.0.2.2/24"]);
                host.sh("ip route add unreachable default");
            },
            mac: MAC,
            ipv4: "192.0.2.2",
        },
        Network {
            what: "routes to both halves of the world, as tunnels set them, are no default route",
            prepare: |host| {
                host.interface("eth0", MAC, &["192.0.2.2/24"]);
                host.interface("tun0", OTHER_MAC, &["198.51.100.9/24"]);
                host.sh("ip route add 0.0.0.0/1 via 198.51.100.1; ip route add 128.0.0.0/1 via 198.51.100.1");
                host.sh("ip route add default via 192.0.2.1 metric 500");
            },
            mac: MAC,
            ipv4: "192.0.2.2",
        },
        Network {
            what: "the address stands under a label",
            prepare: |host| {
                host.interface("eth0", MAC, &[]);
                host.sh("ip addr add 192.0.2.2/24 dev eth0 label eth0:7; ip route add default via 192.0.2.1");
            },
            mac: MAC,
            ipv4: "192.0.2.2",
        },
        Network {
            what: "the interface of the default route has no address",
            prepare: |host| {
                host.interface("eth0", OTHER_MAC, &["198.51.100.9/24"]);
                host.interface("eth1", MAC, &[]);
                host.sh("ip route add default dev eth1");
            },
            mac: MAC,
            ipv4: "",
        },
    ];
    for network in &networks {
        check(network, 2);
    }
}

#[test]
fn without_a_default_route_an_interface_with_a_link_local_address_comes_first() {
    if !Host::new().is_some_and(|host| host.has_ipv6()) {
        return;
    }
    let prepare = |host: &Host| {
        host.interface("eth0", "02:fc:00:00:00:03", &["198.51.100.9/24"]);
        host.interface("eth1", MAC, &["192.0.2.2/24", "fe80::2/64"]);
        host.interface("eth2", OTHER_MAC, &["203.0.113.9/24", "fe80::3/64"]);
    };
    check(&Network { what: "link-local addresses", prepare, mac: MAC, ipv4: "192.0.2.2" }, 2);
}

#[test]
fn the_system_id_is_the_one_that_the_settings_ask_for() {
    let Some(host) = Host::new() else { return };
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    let machine = "c0de5a1ec0de5a1ec0de5a1ec0de5a1e";
    let firmware = "5A1EC0DE-0042-3510-8052-B4C04F4D3332";
    let lower = "5a1ec0de-0042-3510-8052-b4c04f4d3332";
    // What the firmware tells, what the operating system tells; then the system id by `auto`, `dmi`, `machine`.
    let told = [
        (firmware, machine, [lower, lower, machine]),
        ("To Be Filled By O.E.M.", machine, [machine, "", machine]),
        ("Default string", machine, [machine, "", machine]),
        ("", machine, [machine, "", machine]),
        (firmware, "", [lower, lower, ""]),
        ("", "", ["", "", ""]),
    ];
    for (by_firmware, by_system, should) in told {
        host.firmware(by_firmware);
        host.machine_id(by_system);
        for (source, system_id) in
            ["auto", "dmi", "machine", "none"].into_iter().zip(should.into_iter().chain([""]))
        {
            let found = ids(&mut host.at(&id(&site(source))));
            let what = format!("{source}, when {by_firmware:?} and {by_system:?} are told");
            assert_eq!(found, ids_of(MAC, "192.0.2.2", system_id), "{what}");
        }
    }
}

#[test]
fn a_preview_shows_the_same_id_and_keeps_nothing() {
    let Some(host) = Host::new() else { return };
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    let site = site("none");
    for (name, id) in [("butler", WORKED_BUTLER), ("sos", WORKED_SOS)] {
        let event = out(&expect(&mut host.at(site.salver().args(["preview", name, "--as", "event"])), 0));
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["distinct_id"], id);
    }
    assert!(!site.spool().exists(), "a preview writes nothing");
}

//! Promise: an id under which something was delivered stays, whatever becomes of the network, of the machine's ids or of the
//! user; before that it gives way to one that was made under better conditions, and to no other.
//!
//! A chart at the vendor's loses an instance whose id changes, and a deletion request must name an id that was used. On the
//! other hand a service that starts before the network is up would keep a useless id for ever. The hosts of these tests
//! change under the real program's feet; nothing in them looks like a copy of a host, which is another promise's business.
//! Linux only: nowhere else can a test make up a host.

#![cfg(target_os = "linux")]

use std::process::Command;

use crate::support::host::{Host, id_of, ids, printed};
use crate::support::posthog::PostHog;
use crate::support::service::Service;
use crate::support::site::Site;
use crate::support::{err, expect, json, out};

const MAC: &str = "02:fc:00:00:00:01";
const OTHER_MAC: &str = "02:fc:00:00:00:02";
const NO_MAC: &str = "00:00:00:00:00:00";
const NO_IPV4: &str = "127.0.0.1";
const MACHINE: &str = "c0de5a1ec0de5a1ec0de5a1ec0de5a1e";
const FIRMWARE: &str = "5a1ec0de-0042-3510-8052-b4c04f4d3332";

/// One instance on a host of its own, and a PostHog to deliver to.
struct Case {
    host: Host,
    site: Site,
    posthog: PostHog,
}

impl Case {
    fn new(source: &str) -> Option<Case> {
        let site = Site::of_sos("Butler-SOS: {anonTelemetry: true}\n");
        let case = Case { host: Host::new()?, site, posthog: PostHog::start() };
        case.use_source(source);
        Some(case)
    }

    /// Has the settings name this source of the system id.
    fn use_source(&self, source: &str) {
        self.site.settings(&format!(
            "identity: {{systemId: {source}}}\nposthog: {{host: '{}', apiKey: phc_not_a_real_key}}\n\
             instances: [{{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}]\n",
            self.posthog.url()
        ));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.salver();
        command.args(arguments);
        command
    }

    /// Records once more, and tells the id of the record.
    fn record(&self) -> String {
        let record = json(&expect(&mut self.host.at(&self.command(&["record", "--force"])), 0));
        record["data"]["system"]["id"].as_str().unwrap().to_owned()
    }

    /// Delivers what waits. A host of its own cannot reach the test's PostHog, so this is done from the test's network.
    fn deliver(&self) {
        expect(&mut self.host.at_on_our_network(&self.command(&["flush"])), 0);
    }

    /// Asserts that every command tells this id, and that `id` says what it would be now, if that is another one.
    fn assert_id(&self, id: &str, now: &str, when: &str) {
        assert_eq!(self.record(), id, "the record, {when}");
        let shown = expect(&mut self.host.at(&self.command(&["id"])), 0);
        assert_eq!(printed(&out(&shown)), [id], "{when}");
        let said = err(&shown);
        let anew: Vec<&str> = said.lines().filter(|line| line.contains("worked out anew")).collect();
        match id == now {
            true => assert!(anew.is_empty(), "{when}: {said}"),
            false => {
                let expected = format!(" it would be {now}; the pinned one is kept");
                assert!(anew.len() == 1 && anew[0].ends_with(&expected), "{when}: {said}");
            }
        }
    }

    /// The ids that `id --history` lists.
    fn history(&self) -> Vec<String> {
        let listed = out(&expect(&mut self.host.at(&self.command(&["id", "--history"])), 0));
        let words = listed.split(|it: char| !it.is_ascii_hexdigit());
        words.filter(|word| word.len() == 64).map(str::to_owned).collect()
    }
}

fn without_system_id(mac: &str, ipv4: &str) -> String {
    id_of(mac, ipv4, "", "")
}

#[test]
fn after_the_delivery_no_change_of_the_network_changes_it() {
    let Some(case) = Case::new("none") else { return };
    let host = &case.host;
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    host.sh("ip route add default via 192.0.2.1");
    let id = without_system_id(MAC, "192.0.2.2");
    assert_eq!(case.record(), id);
    case.deliver();
    assert_eq!(case.posthog.events()[0]["distinct_id"], *id);

    case.assert_id(&id, &id, "with nothing changed");
    host.sh("ip addr flush dev eth0; ip addr add 198.51.100.7/24 dev eth0");
    case.assert_id(&id, &without_system_id(MAC, "198.51.100.7"), "with another address");
    host.sh(&format!("ip link set eth0 address {OTHER_MAC}"));
    case.assert_id(&id, &without_system_id(OTHER_MAC, "198.51.100.7"), "with another hardware address");
    host.sh("ip link set eth0 down");
    case.assert_id(&id, &without_system_id(NO_MAC, NO_IPV4), "with the interface down");
    host.remove_interface("eth0");
    case.assert_id(&id, &without_system_id(NO_MAC, NO_IPV4), "with the interface gone");
    host.interface("eth1", "02:fc:00:00:00:03", &["203.0.113.3/24"]);
    host.sh("ip route add default via 203.0.113.1");
    case.assert_id(&id, &without_system_id("02:fc:00:00:00:03", "203.0.113.3"), "with another interface");

    let mut service = Service::start(&mut host.at(&case.command(&["-v", "run"])));
    service.wait_for("a look", |it| it.idle_looks() > 0);
    assert_eq!(printed(&service.stop().stdout.join("\n")), [id.as_str()], "the service");
    assert_eq!(case.history(), [id.as_str()], "no other id was ever used");

    case.deliver();
    let delivered = case.posthog.events();
    assert_eq!(delivered.len(), 7);
    assert!(delivered.iter().all(|event| event["distinct_id"] == *id));
}

#[test]
fn after_the_interface_is_gone_twenty_further_starts_find_the_same_id() {
    let Some(case) = Case::new("none") else { return };
    case.host.interface("eth0", MAC, &["192.0.2.2/24"]);
    let id = without_system_id(MAC, "192.0.2.2");
    assert_eq!(case.record(), id);
    case.deliver();
    case.host.remove_interface("eth0");
    for start in 0..20 {
        assert_eq!(case.record(), id, "start {start}");
    }
}

#[test]
fn before_the_delivery_a_better_network_replaces_it_and_no_worse_or_equal_one_does() {
    let Some(case) = Case::new("none") else { return };
    let host = &case.host;
    let poor = without_system_id(NO_MAC, NO_IPV4);
    case.assert_id(&poor, &poor, "with a loopback interface only");
    host.interface("eth0", MAC, &[]);
    host.sh("ip route add default dev eth0");
    let fair = without_system_id(MAC, "");
    case.assert_id(&fair, &fair, "with an interface that has no address yet");
    host.sh("ip addr add 192.0.2.2/24 dev eth0");
    let good = without_system_id(MAC, "192.0.2.2");
    case.assert_id(&good, &good, "with an address");

    host.sh("ip addr flush dev eth0; ip addr add 192.0.2.3/24 dev eth0");
    case.assert_id(&good, &without_system_id(MAC, "192.0.2.3"), "with another address, which is not better");
    host.sh("ip addr flush dev eth0; ip route replace default dev eth0");
    case.assert_id(&good, &fair, "with the address gone again");
    host.remove_interface("eth0");
    case.assert_id(&good, &poor, "with the interface gone again");

    let mut used = [poor, fair, good];
    used.sort();
    assert_eq!(case.history(), used, "each was used for a record");
    case.deliver();
    assert_eq!(case.history(), used, "delivered, they are still listed");
}

#[test]
fn one_made_without_a_network_stays_once_it_was_delivered() {
    let Some(case) = Case::new("none") else { return };
    let poor = without_system_id(NO_MAC, NO_IPV4);
    assert_eq!(case.record(), poor);
    case.deliver();
    case.host.interface("eth0", MAC, &["192.0.2.2/24"]);
    case.assert_id(&poor, &without_system_id(MAC, "192.0.2.2"), "with a network since the delivery");
}

#[test]
fn one_that_replaced_a_delivered_record_s_before_its_delivery_stays() {
    let Some(case) = Case::new("none") else { return };
    let poor = case.record();
    case.host.interface("eth0", MAC, &["192.0.2.2/24"]);
    let good = case.record();
    assert_ne!(poor, good);
    case.deliver();
    case.host.remove_interface("eth0");
    case.assert_id(&good, &poor, "both were delivered, and the later one is the instance's");
}

#[test]
fn the_delivery_of_a_record_with_an_earlier_id_does_not_fix_the_present_one() {
    let Some(case) = Case::new("none") else { return };
    case.record();
    case.host.interface("eth0", MAC, &[]);
    case.host.sh("ip route add default dev eth0");
    assert_eq!(case.record(), without_system_id(MAC, ""));
    expect(&mut case.host.at_on_our_network(&case.command(&["flush", "--limit", "1"])), 0);
    assert_eq!(case.posthog.events().len(), 1);
    case.host.sh("ip addr add 192.0.2.2/24 dev eth0");
    let good = without_system_id(MAC, "192.0.2.2");
    case.assert_id(&good, &good, "with an address before the present id was delivered");
}

#[test]
fn another_source_in_the_settings_replaces_it_until_it_was_delivered() {
    let Some(case) = Case::new("machine") else { return };
    case.host.interface("eth0", MAC, &["192.0.2.2/24"]);
    case.host.machine_id(MACHINE);
    case.host.firmware(FIRMWARE);
    let with = |system_id| id_of(MAC, "192.0.2.2", "", system_id);
    case.assert_id(&with(MACHINE), &with(MACHINE), "with the source `machine`");
    case.use_source("none");
    case.assert_id(&with(""), &with(""), "with the source `none`");
    case.deliver();
    case.use_source("dmi");
    case.assert_id(&with(""), &with(FIRMWARE), "delivered, and with the source `dmi`");
}

#[test]
fn a_machine_s_id_that_becomes_readable_replaces_it_until_it_was_delivered() {
    let Some(case) = Case::new("auto") else { return };
    let host = &case.host;
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    let with = |system_id| id_of(MAC, "192.0.2.2", "", system_id);
    case.assert_id(&with(""), &with(""), "with no system id");
    host.machine_id(MACHINE);
    case.assert_id(&with(MACHINE), &with(MACHINE), "with a machine id");
    host.firmware(FIRMWARE);
    case.assert_id(&with(FIRMWARE), &with(FIRMWARE), "with a firmware that tells");
    host.firmware("");
    case.assert_id(&with(FIRMWARE), &with(MACHINE), "with a firmware that tells no more");
    case.deliver();
    host.machine_id("");
    case.assert_id(&with(FIRMWARE), &with(""), "delivered, and with nothing readable any more");
}

#[test]
fn another_user_who_may_read_less_finds_the_same_id() {
    let Some(case) = Case::new("auto") else { return };
    let host = &case.host;
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    host.machine_id(MACHINE);
    host.firmware(FIRMWARE);
    let [id, as_nobody] = [FIRMWARE, MACHINE].map(|system_id| id_of(MAC, "192.0.2.2", "", system_id));
    assert_eq!(case.record(), id);
    case.deliver();
    expect(Command::new("chown").args(["-R", "65534:65534"]).arg(case.site.path("")), 0);

    let record = expect(&mut host.at_as_nobody(&case.command(&["record", "--force"])), 0);
    assert_eq!(json(&record)["data"]["system"]["id"], *id);
    let shown = expect(&mut host.at_as_nobody(&case.command(&["id"])), 0);
    assert_eq!(printed(&out(&shown)), [id.as_str()]);
    assert!(err(&shown).contains(&as_nobody), "nobody may not read the firmware's: {}", err(&shown));

    let fresh = case.site.path("another-spool");
    let own = ids(&mut host.at_as_nobody(case.command(&["id"]).arg("--spool").arg(fresh)));
    assert_eq!(own, [as_nobody], "without the pin");
}

#[test]
fn two_users_who_take_turns_before_the_delivery_agree_on_the_better_one() {
    let Some(case) = Case::new("auto") else { return };
    let host = &case.host;
    host.interface("eth0", MAC, &["192.0.2.2/24"]);
    host.machine_id(MACHINE);
    host.firmware(FIRMWARE);
    let [by_root, by_nobody] = [FIRMWARE, MACHINE].map(|system_id| id_of(MAC, "192.0.2.2", "", system_id));
    for (turn, as_root, id) in
        [(0, false, &by_nobody), (1, true, &by_root), (2, false, &by_root), (3, true, &by_root)]
    {
        // Only its owner works in a spool, so it changes hands with each turn.
        let owner = if as_root { "0:0" } else { "65534:65534" };
        expect(Command::new("chown").args(["-R", owner]).arg(case.site.path("")), 0);
        let command = case.command(&["record", "--force"]);
        let record = match as_root {
            true => expect(&mut host.at(&command), 0),
            false => expect(&mut host.at_as_nobody(&command), 0),
        };
        assert_eq!(json(&record)["data"]["system"]["id"], **id, "turn {turn}");
    }
}

#[test]
fn a_running_service_takes_the_better_id_when_the_network_comes_up() {
    let Some(case) = Case::new("none") else { return };
    case.site.settings(
        "watch: {settle: 10ms, poll: 1s}\nidentity: {systemId: none}\n\
         instances: [{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}]\n",
    );
    let mut service = Service::start(&mut case.host.at(&case.command(&["-vv", "run"])));
    service.wait_for_records(1);
    service.wait_for("a second look", |it| it.idle_looks() > 0);
    case.host.interface("eth0", MAC, &["192.0.2.2/24"]);
    service.wait_for_records(2);
    service.stop();
    let ids: Vec<_> = case.site.dump().iter().map(|record| record["data"]["system"]["id"].clone()).collect();
    assert_eq!(ids, [without_system_id(NO_MAC, NO_IPV4), without_system_id(MAC, "192.0.2.2")]);
}

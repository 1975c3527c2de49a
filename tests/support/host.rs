//! A host of a test's own: real network interfaces with the addresses that the test chose, a firmware UUID, a machine id
//! and a host name, on which the real program is run as a real process.
//!
//! It is made of Linux's namespaces: a child process keeps them open, `nsenter` enters them, and they are gone with the
//! child. Nothing of the machine that runs the tests can be seen there but its files, and nothing that is done there
//! touches it. A fresh host has a loopback interface that is up, and no other, no firmware UUID and no machine id.
//!
//! That takes root, iproute2 and util-linux. Where one of them is missing, [`Host::new`] says why and the caller skips.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::needs::{Need, skip};
use super::service::until;
use super::{err, expect, hex};

/// The program as it is named on every host: its own place may lie in a folder that other users cannot enter.
const PROGRAM: &str = "/etc/salver-program";

/// `nobody`, by number, since a host has no list of users.
const NOBODY: &str = "65534";

/// Run by the child before it waits for its end. Interfaces get no IPv6 address by themselves, since those come when they
/// like; a test that wants one gives it. The last lines find out whether interfaces can be made here at all.
const BIRTH: &str = "\
set -e
mount -t tmpfs -o mode=755 none /sys/devices/virtual
mkdir -p /sys/devices/virtual/dmi/id
[ ! -d /var/lib/dbus ] || mount -t tmpfs -o mode=755 none /var/lib/dbus
mount -t tmpfs -o mode=755 none /etc
touch $0
mount --bind \"$1\" $0
echo a-test > /proc/sys/kernel/hostname
[ ! -d /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
ip link set lo up
ip link add probe type veth peer name p-probe
ip link del probe
echo ready
read wait
";

/// The id that the tools work out of these texts (facts: HMAC-SHA256 keyed with the first of them), by code of the
/// tests' own.
pub fn id_of(mac: &str, ipv4: &str, host: &str, system_id: &str) -> String {
    let mut digest = Hmac::<Sha256>::new_from_slice(mac.as_bytes()).unwrap();
    digest.update([mac, ipv4, host, system_id].concat().as_bytes());
    hex(&digest.finalize().into_bytes())
}

/// The host; gone when dropped.
pub struct Host {
    keeper: Child,
}

impl Host {
    /// A fresh one, or none where that cannot be.
    pub fn new() -> Option<Host> {
        match Host::born() {
            Ok(host) => Some(host),
            Err(why) => {
                eprintln!("no host of its own: {why}");
                skip(Need::Host);
                None
            }
        }
    }

    fn born() -> Result<Host, String> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "--uts", "sh", "-c", BIRTH, PROGRAM, env!("CARGO_BIN_EXE_salver")]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = unshare.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said == "ready\n" {
            return Ok(Host { keeper });
        }
        let mut why = String::new();
        keeper.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        keeper.wait().unwrap();
        Err(why.trim().to_owned())
    }

    /// Runs commands there, as root.
    pub fn sh(&self, script: &str) {
        expect(&mut self.shell(script), 0);
    }

    /// Makes an interface that is up, with a cable in it, and these addresses in their order.
    pub fn interface(&self, name: &str, mac: &str, addresses: &[&str]) {
        self.interface_that_is_down(name, mac, addresses);
        self.sh(&format!("ip link set {name} up"));
        until("an interface to come up", || self.holds(&format!("ip link show {name} | grep -q 'state UP'")));
    }

    /// Makes an interface that is down. At the other end of its cable is an interface without any address, which is
    /// nobody's default.
    pub fn interface_that_is_down(&self, name: &str, mac: &str, addresses: &[&str]) {
        self.sh(&format!(
            "ip link add {name} type veth peer name p-{name}; ip link set {name} address {mac} addrgenmode none; \
             ip link set p-{name} up"
        ));
        for address in addresses {
            self.sh(&match address.contains(':') {
                true => format!(
                    "echo 0 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6; ip -6 addr add {address} dev {name} nodad"
                ),
                false => format!("ip addr add {address} dev {name}"),
            });
        }
    }

    /// Takes the interface away.
    pub fn remove_interface(&self, name: &str) {
        self.sh(&format!("ip link del {name}"));
    }

    /// Whether the kernel has IPv6.
    pub fn has_ipv6(&self) -> bool {
        let has = self.holds("test -d /proc/sys/net/ipv6");
        if !has {
            skip(Need::Ipv6);
        }
        has
    }

    /// Has the firmware tell this UUID, to root only as on every Linux.
    pub fn firmware(&self, uuid: &str) {
        self.sh(&format!(
            "cd /sys/devices/virtual/dmi/id; echo '{uuid}' > product_uuid; chmod 400 product_uuid"
        ));
    }

    /// Has the operating system tell this machine id.
    pub fn machine_id(&self, id: &str) {
        self.sh(&format!("echo '{id}' > /etc/machine-id"));
    }

    /// The command as a process of this host.
    pub fn at(&self, command: &Command) -> Command {
        self.entering(&["--net", "--mount", "--uts"], command)
    }

    /// The same, but as a user without any rights.
    pub fn at_as_nobody(&self, command: &Command) -> Command {
        self.entering(&["--net", "--mount", "--uts", "--setuid", NOBODY, "--setgid", NOBODY], command)
    }

    /// The command as a process of this host that is on the network of the test, where its PostHog listens.
    pub fn at_on_our_network(&self, command: &Command) -> Command {
        self.entering(&["--mount", "--uts"], command)
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = self.nsenter(&["--net", "--mount", "--uts"]);
        command.args(["sh", "-ec", script]);
        command
    }

    fn holds(&self, script: &str) -> bool {
        self.shell(script).output().unwrap().status.success()
    }

    /// A command for the program, with its arguments and environment, as one that enters these namespaces first.
    fn entering(&self, how: &[&str], command: &Command) -> Command {
        assert_eq!(command.get_program(), env!("CARGO_BIN_EXE_salver"));
        let mut entering = self.nsenter(how);
        entering.arg(PROGRAM).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entering.env(name, value),
                None => entering.env_remove(name),
            };
        }
        entering
    }

    fn nsenter(&self, how: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.keeper.id().to_string()).args(how).arg("--");
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        _ = self.keeper.kill();
        _ = self.keeper.wait();
    }
}

/// The ids that `id` printed, in the order of the instances; panics if it said that they would be others now.
pub fn ids(command: &mut Command) -> Vec<String> {
    let output = expect(command, 0);
    assert!(!err(&output).contains("worked out anew"), "{}", err(&output));
    printed(&super::out(&output))
}

/// The ids in lines such as the tools print at their start.
pub fn printed(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Instance ID : "))
        .map(|rest| rest[..64].to_owned())
        .collect()
}

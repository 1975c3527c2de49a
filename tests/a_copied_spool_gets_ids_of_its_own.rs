//! Promise: a spool that was copied along with its machine does not make two machines report as one. The copy notices that it
//! stands on another host and gives each instance an id of its own; the original keeps its ids, whatever happens to it.
//!
//! Only Linux, and there only root or one who may make user namespaces, can show a process another machine id than that of the
//! host; elsewhere the rule itself is tested in `record/identity/fingerprint.rs`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use support::folders::copy;
use support::site::{SOS, Site, flip};
use support::{err, expect, out};

/// Where the operating system keeps its machine id; some systems have a second copy.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// The program with the settings of a site, on a host with this machine id.
fn on_host(machine_id: &str, site: &Site) -> Command {
    site.write("machine-id", &format!("{machine_id}\n"));
    let places: Vec<&str> = MACHINE_IDS.into_iter().filter(|place| Path::new(place).exists()).collect();
    let places = places.join(" ");
    let script =
        format!("for place in {places}; do mount --bind \"$0\" $place || exit 99; done; exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]).arg(site.path("machine-id"));
    let salver = site.salver();
    command.arg(salver.get_program()).args(salver.get_args());
    for (name, value) in salver.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Whether this test can show another host. Says so where it cannot.
fn possible() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--map-root-user", "mount", "--bind", MACHINE_IDS[0], MACHINE_IDS[0]]);
    let possible = Path::new(MACHINE_IDS[0]).exists() && probe.output().is_ok_and(|it| it.status.success());
    if !possible {
        eprintln!("SKIPPED: no mount namespace can be made here, so no other host can be shown");
    }
    possible
}

fn id_of(record: &Json) -> &str {
    record["data"]["system"]["id"].as_str().unwrap()
}

const ORIGINAL: &str = "11111111111111111111111111111111";
const COPY: &str = "22222222222222222222222222222222";

#[test]
fn a_copy_of_a_machine_gets_ids_of_its_own_and_says_so_and_the_original_keeps_its_ids() {
    if !possible() {
        return;
    }
    let site = Site::of_sos(SOS);
    let settings = "identity: {systemId: dmi}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n";
    site.settings(settings);
    expect(on_host(ORIGINAL, &site).arg("record"), 0);
    let adopted = "0123456789abcdef".repeat(4);
    expect(on_host(ORIGINAL, &site).args(["id", "sos", "--adopt", &adopted]), 0);

    let clone = Site::of_sos(&flip(SOS, "heartbeat"));
    clone.settings(settings);
    copy(&site.spool(), &clone.spool());
    fs::set_permissions(clone.spool(), fs::Permissions::from_mode(0o700)).unwrap();
    let preview = expect(on_host(COPY, &clone).args(["preview", "sos"]), 0);
    expect(on_host(COPY, &clone).arg("record"), 0);
    let records = clone.dump();
    let own = id_of(&records[1]);
    assert_ne!(own, adopted, "an id that was adopted on the original is not the copy's");
    assert!(out(&preview).contains(own), "what is shown is what is recorded then");
    assert_eq!(clone.dump()[0], site.dump()[0], "what waits keeps its id");
    let problems = &clone.status()["problems"];
    let text = problems[0]["text"].as_str().unwrap();
    assert!(text.contains("copied") && text.contains("sos") && problems[1].is_null(), "{problems}");
    expect(on_host(COPY, &clone).args(["status", "--acknowledge"]), 0);
    expect(on_host(COPY, &clone).args(["record", "--force"]), 0);
    assert_eq!(id_of(&clone.dump()[2]), own, "and it stays");
    assert_eq!(clone.status()["problems"], json!([]), "said once");

    for _ in 0..2 {
        let id = expect(on_host(ORIGINAL, &site).arg("id"), 0);
        assert!(out(&id).contains(&adopted), "{}", err(&id));
    }
    assert_eq!(site.status()["problems"], json!([]));
}

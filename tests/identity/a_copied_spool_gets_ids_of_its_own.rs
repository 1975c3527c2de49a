//! Promise: a spool that was copied along with its machine does not make two machines report as one. The copy notices that it
//! stands on another host and gives each instance an id of its own; the original keeps its ids, whatever happens to it.
//!
//! Linux only: nowhere else can a test make up a host. The rule itself is tested in `record/identity/fingerprint.rs`.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};

use crate::support::folders::copy;
use crate::support::host::Host;
use crate::support::site::{SOS, Site, flip};
use crate::support::{err, expect, out};

fn id_of(record: &Json) -> &str {
    record["data"]["system"]["id"].as_str().unwrap()
}

const ORIGINAL: &str = "11111111111111111111111111111111";
const COPY: &str = "22222222222222222222222222222222";

#[test]
fn a_copy_of_a_machine_gets_ids_of_its_own_and_says_so_and_the_original_keeps_its_ids() {
    let (Some(original), Some(other)) = (Host::new(), Host::new()) else { return };
    original.machine_id(ORIGINAL);
    other.machine_id(COPY);
    let site = Site::of_sos(SOS);
    let settings = "identity: {systemId: dmi}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n";
    site.settings(settings);
    expect(&mut original.at(site.salver().arg("record")), 0);
    let adopted = "0123456789abcdef".repeat(4);
    expect(&mut original.at(site.salver().args(["id", "sos", "--adopt", &adopted])), 0);

    let clone = Site::of_sos(&flip(SOS, "heartbeat"));
    clone.settings(settings);
    copy(&site.spool(), &clone.spool());
    fs::set_permissions(clone.spool(), fs::Permissions::from_mode(0o700)).unwrap();
    let preview = expect(&mut other.at(clone.salver().args(["preview", "sos"])), 0);
    expect(&mut other.at(clone.salver().arg("record")), 0);
    let records = clone.dump();
    let own = id_of(&records[1]);
    assert_ne!(own, adopted, "an id that was adopted on the original is not the copy's");
    assert!(out(&preview).contains(own), "what is shown is what is recorded then");
    assert_eq!(clone.dump()[0], site.dump()[0], "what waits keeps its id");
    let problems = &clone.status()["problems"];
    let text = problems[0]["text"].as_str().unwrap();
    assert!(text.contains("copied") && text.contains("sos") && problems[1].is_null(), "{problems}");
    expect(&mut other.at(clone.salver().args(["status", "--acknowledge"])), 0);
    expect(&mut other.at(clone.salver().args(["record", "--force"])), 0);
    assert_eq!(id_of(&clone.dump()[2]), own, "and it stays");
    assert_eq!(clone.status()["problems"], json!([]), "said once");

    for _ in 0..2 {
        let id = expect(&mut original.at(site.salver().arg("id")), 0);
        assert!(out(&id).contains(&adopted), "{}", err(&id));
    }
    assert_eq!(site.status()["problems"], json!([]));
}

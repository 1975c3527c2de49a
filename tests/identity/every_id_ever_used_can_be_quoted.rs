//! Promise: every id that a record ever carried stays findable with `id --history`, since a
//! deletion request must quote it; and the id that an admin took over from the tool's log is the
//! instance's from then on.
//!
//! An id outlives its records: they are delivered, or erased as consent is withdrawn, the instance
//! leaves the settings, and the tool's vendor still has what came under it. Only a purge by hand
//! forgets an id, after its receipt named it.

use std::collections::BTreeMap;

use crate::support::posthog::PostHog;
use crate::support::service::Service;
use crate::support::site::{BUTLER, SOS, Site, flip};
use crate::support::two_instances::{flushed, recorded, site, site_of};
use crate::support::{err, expect, out};

/// Ids as a tool prints them, in the upper case that somebody may have typed them in.
fn an_id(digit: char) -> String {
    format!("{digit}0123456789ABCDE").repeat(4)
}

/// Takes over an id for an instance, and records with it.
fn adopt_and_record(site: &Site, instance: &str, id: &str) {
    let adopted = out(&expect(site.salver().args(["id", instance, "--adopt", id]), 0));
    assert_eq!(adopted, format!("Instance ID : {}  ({instance})\n", id.to_lowercase()));
    expect(site.salver().args(["record", instance, "--force"]), 0);
    assert_eq!(site.dump().last().unwrap()["data"]["system"]["id"], id.to_lowercase());
}

/// What `id --history` lists: each id with the text that stands beside it.
fn history(site: &Site) -> BTreeMap<String, String> {
    let listed = out(&expect(site.salver().args(["id", "--history"]), 0));
    let lines = listed.lines().filter_map(|line| line.trim().split_once(' '));
    lines.filter(|(id, _)| id.len() == 64).map(|(id, rest)| (id.to_owned(), rest.trim().to_owned())).collect()
}

#[test]
fn an_id_outlives_the_delivery_the_consent_and_the_settings_of_its_records() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    let mut used: Vec<String> = recorded(&site)
        .iter()
        .map(|record| record["data"]["system"]["id"].as_str().unwrap().to_owned())
        .collect();
    for digit in ['7', 'B'] {
        adopt_and_record(&site, "sos", &an_id(digit));
        used.push(an_id(digit).to_lowercase());
    }
    used.sort();
    used.dedup();
    let listed = |site: &Site| history(site).into_keys().collect::<Vec<_>>();
    assert_eq!(listed(&site), used);
    assert!(history(&site).values().all(|beside| beside.ends_with('-')), "nothing was delivered yet");

    flushed(&site, 0, &[]);
    assert_eq!(site.dump().len(), 0);
    assert_eq!(listed(&site), used, "all was delivered");
    assert!(history(&site).values().all(|beside| beside.ends_with('Z')), "and it says when");

    site.write("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
    site.write("config/butler.yaml", &BUTLER.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().arg("record"), 3);
    assert_eq!(listed(&site), used, "consent was withdrawn");

    site.settings("instances: []\n");
    assert_eq!(listed(&site), used, "the settings name no instance any more");
}

#[test]
fn an_id_outlives_records_that_were_erased_with_the_consent() {
    let site = site();
    adopt_and_record(&site, "sos", &an_id('1'));
    adopt_and_record(&site, "butler", &an_id('2'));
    site.write("config/butler.yaml", &BUTLER.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().args(["record", "butler"]), 3);
    assert_eq!(site.dump().len(), 1, "the record of butler was erased");
    let both = ['1', '2'].map(|digit| an_id(digit).to_lowercase());
    assert!(history(&site).keys().eq(&both), "{:?}", history(&site));
}

#[test]
fn the_history_of_one_instance_holds_its_ids_alone_and_one_that_waits_for_its_first_record() {
    let site = site();
    adopt_and_record(&site, "sos", &an_id('1'));
    adopt_and_record(&site, "butler", &an_id('2'));
    expect(site.salver().args(["id", "sos", "--adopt", &an_id('3')]), 0);
    let file = site.sos();
    for name in ["sos", file.to_str().unwrap()] {
        let listed = out(&expect(site.salver().args(["id", name, "--history"]), 0)).to_uppercase();
        let holds = ['1', '2', '3'].map(|digit| listed.contains(&an_id(digit)));
        assert_eq!(holds, [true, false, true], "{listed}");
    }
    expect(site.salver().args(["id", "sos", "--history", "--adopt", &an_id('4')]), 2);
}

#[test]
fn one_id_of_two_instances_is_listed_with_both() {
    let site = site();
    for instance in ["sos", "butler"] {
        adopt_and_record(&site, instance, &an_id('3'));
    }
    let history = history(&site);
    assert_eq!(history.len(), 1);
    assert!(history[&an_id('3').to_lowercase()].starts_with("butler, sos "), "{history:?}");
}

#[test]
fn an_adopted_id_is_in_every_later_record() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    recorded(&site);
    let before = posthog.events().len();
    let adopted = an_id('F').to_lowercase();
    adopt_and_record(&site, "sos", &an_id('F'));

    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for("a look", |it| it.idle_looks() > 1);
    let changed = flip(&std::fs::read_to_string(site.sos()).unwrap(), "userSessions");
    site.replace("config/sos.yaml", &changed);
    service.wait_for_records(1);
    let said = service.stop().stdout;
    assert!(
        said.iter().any(|line| line.starts_with(&format!("Instance ID : {adopted}  (sos: "))),
        "{said:?}"
    );
    flushed(&site, 0, &[]);
    expect(site.salver().args(["record", "sos", "--force"]), 0);
    flushed(&site, 0, &[]);

    let events = posthog.events().split_off(before);
    let of_sos = |event: &&serde_json::Value| event["properties"]["service"] == "butler-sos";
    let ids: Vec<_> = events.iter().filter(of_sos).map(|event| event["distinct_id"].clone()).collect();
    assert_eq!(ids.len(), 6);
    assert!(ids[3..].iter().all(|id| *id == adopted), "{ids:?}");
    assert!(ids[..3].iter().all(|id| *id != adopted), "what was recorded before keeps its id: {ids:?}");

    let shown = expect(site.salver().args(["id", "sos"]), 0);
    assert_eq!(out(&shown), format!("Instance ID : {adopted}  (sos)\n"));
    assert!(err(&shown).contains("sos: worked out anew, from "), "{}", err(&shown));
}

#[test]
fn what_is_no_id_is_refused_and_changes_nothing() {
    let site = site();
    let before = out(&expect(site.salver().arg("id"), 0));
    let wrong = [
        String::new(),
        "a".repeat(63),
        "a".repeat(65),
        "g".repeat(64),
        format!("0x{}", "a".repeat(62)),
        format!(" {}", "a".repeat(63)),
        format!("{}\n", "a".repeat(64)),
        "ä".repeat(32),
        "١".repeat(32),
        "Instance ID : abc".to_owned(),
    ];
    for wrong in wrong {
        let refused = expect(site.salver().args(["id", "sos", "--adopt", &wrong]), 2);
        assert_eq!(out(&refused), "", "{wrong:?}");
        assert!(err(&refused).contains("64 hex digits"), "{wrong:?}: {}", err(&refused));
    }
    expect(site.salver().args(["id", "--adopt", &an_id('A')]), 2);
    expect(site.salver().args(["id", "nobody", "--adopt", &an_id('A')]), 2);
    assert_eq!(out(&expect(site.salver().arg("id"), 0)), before);
}

//! Promise: an admin can erase what waits, stop collecting and start it again, and find every id a
//! deletion request must quote.

use std::process::Stdio;

use crate::support::posthog::{PostHog, Scripted};
use crate::support::site::{BUTLER, SOS, flip};
use crate::support::two_instances::{flushed, of, recorded, site, site_of};
use crate::support::{err, expect, out};
use serde_json::{Value as Json, json};

#[test]
fn purge_erases_what_meets_all_the_selectors_and_nothing_else() {
    let site = site();
    let records = recorded(&site);
    let [second, fourth] = [1, 3].map(|at| records[at]["ts"].as_str().unwrap());
    let would_erase = |selectors: &[&str]| {
        let dry = out(&expect(site.salver().args(["purge", "--dry-run"]).args(selectors), 0));
        dry.split_once(" records would be erased")
            .unwrap_or_else(|| panic!("{dry}"))
            .0
            .parse::<u64>()
            .unwrap()
    };
    let id = records[1]["data"]["system"]["id"].as_str().unwrap();
    for (selectors, count) in [
        (&["--all"][..], 5),
        (&["--instance", "sos"], 3),
        (&["--service", "butler"], 2),
        (&["--id", &id.to_uppercase()], 3),
        (&["--before", "1h"], 0),
        (&["--before", second], 1),
        (&["--dead"], 0),
        (&["--all", "--instance", "butler"], 2),
        (&["--service", "butler", "--instance", "sos"], 0),
        (&["--instance", "sos", "--before", fourth], 2),
    ] {
        assert_eq!(would_erase(selectors), count, "{selectors:?}");
    }
    let output = expect(site.salver().args(["purge", "--all"]).stdin(Stdio::null()), 2);
    assert!(err(&output).contains("--yes"), "{}", err(&output));
    assert_eq!(site.dump(), records, "neither a dry run nor a purge without --yes erases anything");

    let purge = |selectors: &[&str]| out(&expect(site.salver().args(["purge", "--yes"]).args(selectors), 0));
    assert!(purge(&["--service", "butler", "--instance", "sos"]).starts_with("0 records erased"));
    assert_eq!(site.dump(), records);
    let receipt = purge(&["--instance", "sos", "--before", fourth]);
    assert_eq!(of(&site.dump(), "seq"), [1, 4, 5]);
    for line in [
        "2 records erased, 0 of them dead letters",
        "instance sos: 2 records",
        &format!("id {id}: 2 records"),
    ] {
        assert!(receipt.contains(line), "{receipt}");
    }
    assert!(
        receipt.contains(second) && receipt.contains("no record with it was ever delivered"),
        "{receipt}"
    );
    assert!(!receipt.contains("butler"), "{receipt}");
    purge(&["--service", "butler"]);
    assert_eq!(of(&site.dump(), "seq"), [4]);
    purge(&["--all"]);
    assert_eq!(site.dump(), [Json::Null; 0]);
}

#[test]
fn purge_by_id_and_of_dead_letters_says_what_was_delivered_before() {
    let posthog = PostHog::start();
    let site = site_of(&posthog);
    expect(site.salver().args(["id", "butler", "--adopt", &"a".repeat(64)]), 0);
    let records = recorded(&site);
    let last = records[4]["spool"]["uuid"].as_str().unwrap();
    posthog.answer_next(Scripted::Poison(last.into()));
    assert_eq!(flushed(&site, 0, &[])["deadLettered"], 1);

    let receipt = out(&expect(site.salver().args(["purge", "--dead", "--yes"]), 0));
    assert!(receipt.contains("1 records erased, 1 of them dead letters"), "{receipt}");
    assert!(receipt.contains(&"a".repeat(64)) && receipt.contains("were delivered before"), "{receipt}");
    assert!(receipt.contains("vendor"), "{receipt}");

    expect(site.salver().args(["record", "--force"]), 0);
    let receipt = out(&expect(site.salver().args(["purge", "--id", &"A".repeat(64), "--yes"]), 0));
    assert!(receipt.starts_with("1 records erased"), "{receipt}");
    assert_eq!(of(&site.dump(), "instance"), ["sos"]);
}

#[test]
fn purge_can_stop_collecting_as_well_and_forgets_the_id() {
    let site = site();
    let records = recorded(&site);
    let id = records[1]["data"]["system"]["id"].as_str().unwrap();
    let purge = ["purge", "--instance", "sos", "--stop-collecting", "--yes"];
    let receipt = out(&expect(site.salver().args(purge), 0));
    assert!(receipt.contains(id) && receipt.contains("instance sos no longer collects"), "{receipt}");
    expect(site.salver().args(["record", "sos", "--force"]), 3);
    let sos = &site.status()["instances"][1];
    assert_eq!((&sos["collecting"], &sos["id"]), (&json!(false), &Json::Null));
    assert!(!site.raw_spool().contains(id), "the receipt is the last that names it");
    expect(site.salver().args(["resume", "sos"]), 0);
    expect(site.salver().args(["record", "sos"]), 0);
}

#[test]
fn pause_stops_collecting_and_resume_starts_it_but_neither_overrides_consent() {
    let site = site();
    let records = recorded(&site);
    expect(site.salver().args(["pause", "sos"]), 0);
    site.write("config/sos.yaml", &flip(SOS, "prometheus"));
    let output = expect(site.salver().args(["record", "sos", "--force"]), 3);
    assert!(err(&output).contains("paused by hand"), "{}", err(&output));
    assert_eq!(site.dump(), records, "what waits stays");
    let sos = &site.status()["instances"][1];
    assert_eq!(sos["collecting"], false);
    assert!(sos["why"].as_str().unwrap().contains("paused by hand"), "{sos}");
    expect(site.salver().args(["record", "butler", "--force"]), 0);

    expect(site.salver().args(["resume", "sos"]), 0);
    expect(site.salver().args(["record", "sos"]), 0);
    assert_eq!(of(&site.dump(), "reason").last().unwrap(), "changed");

    expect(site.salver().args(["pause", "--all"]), 0);
    expect(site.salver().args(["record", "--force"]), 3);
    expect(site.salver().args(["resume", "--all"]), 0);
    site.write("config/butler.yaml", &BUTLER.replace("anonTelemetry: true", "anonTelemetry: false"));
    expect(site.salver().args(["record", "butler", "--force"]), 3);

    let output = expect(site.salver().args(["pause", "nobody"]), 2);
    assert!(err(&output).contains("known are butler, sos"), "{}", err(&output));
    expect(site.salver().args(["pause", "sos", "--all"]), 2);
}

#[test]
fn id_prints_the_id_that_records_carry_and_keeps_every_one_ever_used() {
    let site = site();
    let text = out(&expect(site.salver().arg("id"), 0));
    let ids: Vec<&str> = text
        .lines()
        .zip(["butler", "sos"])
        .map(|(line, name)| {
            line.strip_prefix("Instance ID : ").unwrap().strip_suffix(&format!("  ({name})")).unwrap()
        })
        .collect();
    assert!(
        ids.iter().all(|id| id.len() == 64 && id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')))
    );
    let records = recorded(&site);
    assert_eq!(records[0]["data"]["system"]["id"], ids[0]);
    assert_eq!(records[1]["data"]["system"]["id"], ids[1]);

    let adopted = "0123456789abcdef".repeat(4);
    let output = expect(site.salver().args(["id", "sos", "--adopt", &adopted.to_uppercase()]), 0);
    assert!(out(&output).contains(&format!("Instance ID : {adopted}  (sos)")), "{}", out(&output));
    expect(site.salver().args(["record", "sos"]), 0);
    let last = site.dump().pop().unwrap();
    assert_eq!(
        (&last["data"]["system"]["id"], &last["spool"]["reason"]),
        (&json!(adopted), &json!("changed"))
    );
    let history = out(&expect(site.salver().args(["id", "--history"]), 0));
    for id in [ids[0], ids[1], &adopted] {
        assert!(history.contains(id), "{history}");
    }
    for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(63)] {
        expect(site.salver().args(["id", "sos", "--adopt", wrong]), 2);
    }
    expect(site.salver().args(["id", "--adopt", &adopted]), 2);
}

#[test]
fn what_cannot_be_read_can_still_be_purged() {
    let site = site();
    recorded(&site);
    let manifests = ["manifest.0", "manifest.1"].map(|name| site.spool().join(name));
    manifests.iter().for_each(|path| std::fs::write(path, "damaged").unwrap());
    let output = expect(site.salver().args(["purge", "--all", "--dry-run"]), 6);
    assert!(err(&output).contains("`salver record` or `salver flush` saves"), "{}", err(&output));
    let receipt = out(&expect(site.salver().args(["purge", "--all", "--yes"]), 0));
    assert!(receipt.starts_with("5 records erased"), "{receipt}");
    assert!(receipt.contains("searched afterwards, and hold nothing of them"), "{receipt}");
    assert_eq!(site.dump(), Vec::<Json>::new());
}

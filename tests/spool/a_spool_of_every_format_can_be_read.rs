//! Promise: a spool that any released salver wrote is read by every later one, with all that is in it.
//!
//! `fixtures/spool/format-N/` holds a small spool in which everything has happened, as a salver of that format left it, and beside it
//! what is in there: the queue as `dump` gives it, and the rest as JSON. A format's folder is written once and never again:
//!
//!     cargo test --test promises -- --ignored write_the_fixture

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::support::drafts::draft;
use crate::support::folders::{copy, spool_folder};
use crate::support::{err, expect, fixture, out, salver_in};
use salver::record::BatchOutcome;
use salver::record::{Draft, Reason, Value};
use salver::spool::{FORMAT, Instance, Spool, SpoolFolder};
use serde_json::{Value as Json, json};

/// The oldest format that was released.
const OLDEST: u32 = 2;

/// When the spool of the fixture was written: 2025-10-09.
const WRITTEN: i64 = 1_760_000_000_000;

/// A draft of an instance with an id of its own and with values of every kind.
fn draft_of(instance: &str, n: u64) -> Draft {
    let mut draft = draft(n);
    draft.id = format!("{:064x}", instance.len());
    let place = draft.layout.slots[0].clone();
    for (number, value) in
        [Value::Bool(n.is_multiple_of(2)), Value::Text("v\u{e4}lue".into())].into_iter().enumerate()
    {
        let mut further = place.clone();
        further.property = Some(format!("feature_{number}"));
        further.nested = Some(format!("feature.{number}"));
        Arc::make_mut(&mut draft.layout).slots.push(further);
        draft.values.push(value);
    }
    draft
}

/// Writes a spool in which everything has happened; tells the uuids of what was delivered.
fn write(folder: &SpoolFolder) -> Vec<String> {
    let mut spool = folder.open(WRITTEN).unwrap();
    for (instance, count) in [("butler", 12), ("sos", 8), ("erased", 3), ("stopped", 2)] {
        let drafts = (0..count).map(|n| draft_of(instance, n)).collect();
        spool.record_all(instance, drafts, Reason::Changed).unwrap();
    }
    spool.close().unwrap();
    let mut spool = folder.open(WRITTEN + 1000).unwrap();
    let sent = spool.next_batch(6, &BTreeSet::new()).unwrap();
    spool.begin(&sent).unwrap();
    let delivered = sent[..4].iter().map(|it| it.record.uuid.clone()).collect();
    spool.acknowledge(&sent[..4], &BatchOutcome::Delivered).unwrap();
    let words = "400 an event that nobody likes".into();
    spool.acknowledge(&sent[4..], &BatchOutcome::DeadLettered { words }).unwrap();
    spool.flush_memory_mut().last_outcome = Some("refused".into());
    spool.purge(&salver::spool::Selector::of_instance("erased")).unwrap();
    let paused = Instance { paused: true, ..spool.instance("stopped").unwrap() };
    spool.put_instance("stopped", paused);
    spool.add_problem("something that an admin should know of".into());
    spool.close().unwrap();
    // A record written alone, and a batch that is on the wire.
    let mut spool = folder.open(WRITTEN + 2000).unwrap();
    spool.record("sos", draft_of("sos", 99), Reason::Manual).unwrap();
    let sent = spool.next_batch(3, &BTreeSet::new()).unwrap();
    spool.begin(&sent).unwrap();
    spool.close().unwrap();
    // It holds nothing, and is made again.
    fs::remove_file(folder.path.join("reserve")).unwrap();
    delivered
}

/// Whether a spool knows all of these again.
fn know_again(spool: &mut Spool, delivered: &[String]) -> bool {
    !delivered.is_empty() && delivered.iter().all(|uuid| spool.is_in_dedup(&uuid.parse().unwrap()).unwrap())
}

/// All that is in a spool besides the queue.
fn told(spool: &mut Spool) -> Json {
    let counts = spool.counts().unwrap();
    let mut instances = serde_json::Map::new();
    for (name, it) in spool.instances() {
        let pin = it.pin.as_ref().map(|pin| json!({"id": pin.id, "fixed": pin.fixed}));
        let digest = it.last_digest.map(|digest| digest.map(|byte| format!("{byte:02x}")).concat());
        let told = json!({"service": it.service, "serviceVersion": it.service_version, "paused": it.paused, "pin": pin,
                          "lastDigest": digest, "lastRecordMs": it.last_record_ms});
        instances.insert(name.clone(), told);
    }
    let mut ids = serde_json::Map::new();
    for (id, it) in spool.ids() {
        let told = json!({"instances": it.instances, "firstMs": it.first_ms, "lastMs": it.last_ms,
                          "deliveredMs": it.delivered_ms});
        ids.insert(id.clone(), told);
    }
    let flush = spool.flush_memory().clone();
    let problems = spool.problems().iter().map(|it| json!({"atMs": it.at_ms, "text": it.text}));
    let problems: Vec<Json> = problems.collect();
    let on_the_wire = spool.next_batch(100, &BTreeSet::new()).unwrap();
    json!({
        "queued": counts.queued, "dead": counts.dead, "nextSeq": spool.next_seq(), "instances": instances, "ids": ids,
        "ledger": spool.ledger(), "problems": problems,
        "flush": {"lastAttemptMs": flush.last_attempt_ms, "lastOutcome": flush.last_outcome},
        "onTheWire": on_the_wire.iter().map(|it| it.seq).collect::<Vec<_>>(),
    })
}

fn dumped(spool: &Path) -> String {
    out(&expect(salver_in(spool).args(["dump", "--format", "ndjson", "--state", "all"]), 0))
}

#[test]
#[ignore = "not a test but what writes the fixture of a new format"]
fn write_the_fixture() {
    let place = fixture(&format!("spool/format-{FORMAT}"));
    assert!(!place.exists(), "{}: a fixture is written once and never again", place.display());
    let spool = place.join("spool");
    fs::create_dir_all(&place).unwrap();
    let delivered = write(&spool_folder(&spool));
    fs::write(place.join("delivered.json"), json!(delivered).to_string() + "\n").unwrap();
    // Looked at as a copy: an opening for writing changes a spool's files.
    let scratch = tempfile::tempdir().unwrap();
    let read = copy_of(&spool, scratch.path());
    fs::write(place.join("queue.ndjson"), dumped(&read.path)).unwrap();
    let rest = told(&mut read.open(WRITTEN + 3000).unwrap());
    fs::write(place.join("rest.json"), serde_json::to_string_pretty(&rest).unwrap() + "\n").unwrap();
}

/// A copy for the owner alone: git keeps no such rights.
fn copy_of(spool: &Path, place: &Path) -> SpoolFolder {
    let path = place.join("spool");
    copy(spool, &path);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for file in crate::support::folders::files(&path) {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    spool_folder(&path)
}

#[test]
fn a_spool_of_every_format_is_read_and_goes_on() {
    let mut read = 0;
    for format in OLDEST..=FORMAT {
        let place = fixture(&format!("spool/format-{format}"));
        assert!(place.is_dir(), "{} is missing", place.display());
        let scratch = tempfile::tempdir().unwrap();
        let folder = copy_of(&place.join("spool"), scratch.path());
        assert_eq!(
            dumped(&folder.path),
            fs::read_to_string(place.join("queue.ndjson")).unwrap(),
            "format {format}"
        );
        let mut spool = folder.open(WRITTEN + 3000).unwrap();
        let rest: Json = serde_json::from_str(&fs::read_to_string(place.join("rest.json")).unwrap()).unwrap();
        assert_eq!(told(&mut spool), rest, "format {format}");
        let delivered: Vec<String> =
            serde_json::from_str(&fs::read_to_string(place.join("delivered.json")).unwrap()).unwrap();
        assert!(know_again(&mut spool, &delivered), "format {format}");
        let before = dumped_lines(&rest);
        spool.record("sos", draft_of("sos", 100), Reason::Changed).unwrap();
        spool.close().unwrap();
        assert_eq!(dumped(&folder.path).lines().count() as u64, before + 1, "format {format}");
        read += 1;
    }
    println!("{read} formats were read");
}

#[test]
fn a_spool_of_the_format_before_the_first_release_is_refused_in_words() {
    let place = tempfile::tempdir().unwrap();
    let spool = place.path().join("spool");
    spool_folder(&spool).open(WRITTEN).unwrap().close().unwrap();
    let marker = "This folder is a spool of salver. Do not change files in it by hand.\nformat 1\n";
    fs::write(spool.join("SALVER-SPOOL"), marker).unwrap();
    for command in [["dump"].as_slice(), &["status"], &["purge", "--all", "--yes"]] {
        let refused = err(&expect(salver_in(&spool).args(command), 6));
        assert!(refused.contains("format 1") && refused.contains("move the folder away"), "{refused}");
    }
}

/// How many records the queue of a fixture holds.
fn dumped_lines(rest: &Json) -> u64 {
    rest["queued"].as_u64().unwrap() + rest["dead"].as_u64().unwrap()
}

#[test]
fn a_spool_as_it_is_written_now_is_read_as_it_was_written() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("now"));
    let delivered = write(&folder);
    let copied = copy_of(&folder.path, place.path());
    assert_eq!(dumped(&copied.path), dumped(&folder.path));
    let rest = told(&mut folder.open(WRITTEN + 3000).unwrap());
    assert!(know_again(&mut copied.open(WRITTEN + 3000).unwrap(), &delivered));
    assert_eq!(told(&mut copied.open(WRITTEN + 3000).unwrap()), rest);
    // That everything did happen in it.
    assert_eq!(
        (&rest["queued"], &rest["dead"], &rest["onTheWire"]),
        (&17.into(), &2.into(), &json!([7, 8, 9]))
    );
    assert_eq!(rest["ledger"].as_array().unwrap().len(), 3);
    assert_eq!(rest["problems"].as_array().unwrap().len(), 1);
    assert_eq!(rest["instances"]["stopped"]["paused"], true);
}

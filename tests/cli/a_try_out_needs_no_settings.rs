//! Promise: `run --watch FILE` needs no settings: it shows the id and each record, names the spool
//! that it makes, and says what to do next.

use std::fs;

use crate::support::service::{Service, said};
use crate::support::site::{SOS, Site, flip};
use crate::support::two_instances::keys;
use crate::support::{dump, salver, salver_in};

#[test]
fn the_try_out_shows_the_id_and_the_record_and_what_to_do_next() {
    let site = Site::of_sos(SOS);
    let spool = site.path("try-out");
    let mut service = Service::start(salver_in(&spool).args(["run", "--watch"]).arg(site.sos()));
    service.wait_for("the record", |it| said(&it.stdout(), "{\"ts\":") == 1);
    service.wait_for("what to do next", |it| said(&it.stderr(), "Ctrl-C stops") == 1);
    site.write("config/sos.yaml", &flip(SOS, "heartbeat"));
    service.wait_for("the next record", |it| said(&it.stdout(), "{\"ts\":") == 2);
    let ended = service.stop();

    let shown = ended.records();
    let kept = dump(&spool);
    assert_eq!(shown.len(), kept.len());
    assert_eq!(keys(&shown[0]), ["ts", "data"]);
    for (shown, kept) in shown.iter().zip(&kept) {
        assert_eq!((&shown["ts"], &shown["data"]), (&kept["ts"], &kept["data"]));
    }
    let id = kept[0]["data"]["system"]["id"].as_str().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(ended.stdout[0].starts_with(&format!("Instance ID : {id}")), "{}", ended.stdout[0]);
    let next = ended.stderr.join("\n");
    for word in ["dump", "status", "flush", "posthog.host", "posthog.apiKey", spool.to_str().unwrap()] {
        assert!(next.contains(word), "{word} is not in:\n{next}");
    }
}

/// Without `--spool` a try-out makes `./salver-spool`, and says so.
#[test]
fn a_try_out_without_a_spool_names_the_one_it_makes() {
    let site = Site::of_sos(SOS);
    let here = site.path("here");
    fs::create_dir(&here).unwrap();
    let mut service = Service::start(salver().current_dir(&here).args(["run", "--watch"]).arg(site.sos()));
    service.wait_for("what to do next", |it| said(&it.stderr(), "Ctrl-C stops") == 1);
    let ended = service.stop();
    assert_eq!(dump(&here.join("salver-spool")).len(), 1);
    assert!(ended.stderr.join("\n").contains("salver-spool"));
}

//! A site with an instance of each service, and short ways to ask it.

use serde_json::Value as Json;

use super::posthog::PostHog;
use super::site::{BUTLER, SOS, SWITCHES, Site, flip};
use super::{expect, json, out};

/// A site with one instance of each service, which forwards nowhere.
pub fn site() -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    settings(&site, "{}");
    site
}

/// One that forwards to this server.
pub fn site_of(posthog: &PostHog) -> Site {
    let site = site();
    forward_to(&site, posthog);
    site
}

/// Has a site forward to this server from now on.
pub fn forward_to(site: &Site, posthog: &PostHog) {
    settings(site, &format!("{{host: '{}', apiKey: phc_not_a_real_key}}", posthog.url()));
}

/// Writes the settings, with this section `posthog`.
pub fn settings(site: &Site, posthog: &str) {
    let text = format!(
        "spool: {{directory: spool, wait: 100ms}}\nwatch: {{settle: 10ms}}\nflush: {{patience: 1s}}\n\
         posthog: {posthog}\ninstances:\n  \
         - {{name: butler, configFile: config/butler.yaml, serviceVersion: 15.1.0}}\n  \
         - {{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}\n"
    );
    site.write("salver.yaml", &text);
}

/// Records both instances as they are and then so many changes of Butler SOS.
pub fn record(site: &Site, changes: usize) {
    let mut config = SOS.to_owned();
    expect(site.salver().arg("record"), 0);
    for change in 0..changes {
        config = flip(&config, SWITCHES[change % SWITCHES.len()].0);
        site.write("config/sos.yaml", &config);
        expect(site.salver().args(["record", "sos"]), 0);
    }
}

/// The uuids of an instance's records in the queue.
pub fn waiting(site: &Site, instance: &str) -> Vec<String> {
    let of_it = |record: &&Json| record["spool"]["instance"] == instance;
    let uuid = |record: &Json| record["spool"]["uuid"].as_str().unwrap().to_owned();
    site.dump().iter().filter(of_it).map(uuid).collect()
}

/// Five records of two instances: butler, sos, sos, sos, butler.
pub fn recorded(site: &Site) -> Vec<Json> {
    let text = &mut SOS.to_owned();
    expect(site.salver().arg("record"), 0);
    for block in ["heartbeat", "mqttConfig"] {
        *text = flip(text, block);
        site.write("config/sos.yaml", text);
        expect(site.salver().arg("record"), 0);
    }
    expect(site.salver().args(["record", "butler", "--force"]), 0);
    let records = site.dump();
    assert_eq!(of(&records, "instance"), ["butler", "sos", "sos", "sos", "butler"]);
    records
}

/// One key of what the spool says of each record.
pub fn of(records: &[Json], key: &str) -> Vec<Json> {
    records.iter().map(|record| record["spool"][key].clone()).collect()
}

/// The keys of an object, in their order.
pub fn keys(json: &Json) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What a dump with these arguments gives.
pub fn dumped(site: &Site, arguments: &[&str]) -> Vec<Json> {
    let output = expect(site.salver().args(["dump", "--format", "ndjson"]).args(arguments), 0);
    out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a flush reports that ends with this exit code.
pub fn flushed(site: &Site, code: i32, arguments: &[&str]) -> Json {
    json(&expect(site.salver().args(["flush", "--format", "json"]).args(arguments), code))
}

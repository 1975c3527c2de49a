//! A site that forwards to a PostHog, and records in quantity.

use salver::clock;
use salver::record::Reason;

use super::drafts::draft;
use super::folders::spool_folder;
use super::posthog::PostHog;
use super::site::{BUTLER, SOS, Site};

pub const KEY: &str = "phc_test";

/// A site with a Butler and a Butler SOS, whose settings lead to this server. `flush` are further
/// settings of that section.
pub fn site(posthog: &PostHog, flush: &str) -> Site {
    let site = Site::of_sos(SOS);
    site.write("config/butler.yaml", BUTLER);
    lead_to(&site, &posthog.url(), flush);
    site
}

pub fn lead_to(site: &Site, url: &str, flush: &str) {
    site.settings(&format!(
        "watch: {{settle: 50ms}}\nflush: {{{flush}}}\nposthog: {{host: '{url}', apiKey: {KEY}}}\ninstances:\n  \
         - {{name: butler, configFile: config/butler.yaml}}\n  - {{name: sos, configFile: config/sos.yaml}}\n"
    ));
}

/// Writes records of two instances with one id, as fast as possible; returns their uuids.
pub fn record_fast(site: &Site, count: u64) -> Vec<String> {
    let mut spool = spool_folder(&site.spool()).open(clock::now_ms()).unwrap();
    let mut record =
        |n: u64| spool.record(&format!("instance-{}", n % 2), draft(n), Reason::Changed).unwrap().uuid;
    let uuids = (0..count).map(&mut record).collect();
    spool.close().unwrap();
    uuids
}

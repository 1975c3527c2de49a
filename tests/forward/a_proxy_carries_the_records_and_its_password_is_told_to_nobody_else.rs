//! Promise: where a server reaches the world through a proxy only, records arrive through it, with a name that only the proxy can look
//! up; and neither the proxy's password nor the project key is in what salver says or keeps, however much it is asked to say.

use std::process::{Command, Output};

use crate::support::folders::files_with;
use crate::support::posthog::{PostHog, Scripted};
use crate::support::proxy::{Proxy, Speaks};
use crate::support::site::{SOS, Site};
use crate::support::tls::{Certificate, Tls, can_trust_a_ca_file};
use crate::support::{err, expect, out};

/// The password as it is written and as it is sent, and the key.
const SECRETS: [&str; 3] = ["hunter2", "bWU6aHVudGVyMg==", "phc_told_to_posthog_only"];

/// A site with one record, and these settings of `posthog`.
fn site(posthog: &str) -> Site {
    let site = Site::of_sos(SOS);
    lead_to(&site, posthog);
    expect(site.salver().arg("record"), 0);
    site
}

fn lead_to(site: &Site, posthog: &str) {
    site.settings(&format!(
        "flush: {{patience: 1s}}\nposthog: {{{posthog}, apiKey: {}}}\n\
         instances: [{{name: sos, configFile: config/sos.yaml}}]\n",
        SECRETS[2]
    ));
}

/// Runs it with all that it can log; none of it is a secret, nor is anything in the spool.
fn tell_all(site: &Site, command: &mut Command, code: i32) -> Output {
    let output = expect(command.env("SALVER_LOG", "trace").env("RUST_LOG", "trace"), code);
    for secret in SECRETS {
        let said = out(&output) + &err(&output);
        assert!(!said.contains(secret), "{said}");
        assert_eq!(files_with(&site.spool(), secret.as_bytes()).len(), 0, "{secret}");
    }
    output
}

#[test]
fn by_http_and_by_socks_from_the_settings_and_from_the_environment() {
    for (speaks, scheme, credentials) in
        [(Speaks::Http, "http", "Basic bWU6aHVudGVyMg=="), (Speaks::Socks5, "socks5h", "me:hunter2")]
    {
        let posthog = PostHog::start();
        let proxy = Proxy::to(posthog.address(), speaks);
        let address = format!("{scheme}://me:hunter2@{}", proxy.address());
        let host = "host: 'http://posthog.invalid', allowPlainHttp: true";
        let site = site(&format!("{host}, proxy: '{address}'"));
        tell_all(&site, site.salver().arg("flush"), 0);
        lead_to(&site, host);
        expect(site.salver().args(["record", "--force"]), 0);
        tell_all(&site, site.salver().arg("flush").env("ALL_PROXY", &address), 0);
        assert_eq!(posthog.uuids().len(), 2);
        assert_eq!(
            proxy.asked(),
            [format!("posthog.invalid:80 {credentials}"), format!("posthog.invalid:80 {credentials}")]
        );
    }
}

#[test]
fn with_tls_from_here_to_posthog() {
    if !can_trust_a_ca_file() {
        return;
    }
    let posthog = PostHog::start();
    let tls = Tls::before(posthog.address(), Certificate::Good);
    let port: u16 = tls.url().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::to(([127, 0, 0, 1], port).into(), Speaks::Http);
    let site = Site::of_sos(SOS);
    site.write("ca.pem", &tls.authority);
    lead_to(
        &site,
        &format!("host: 'https://localhost', caFile: ca.pem, proxy: 'http://{}'", proxy.address()),
    );
    expect(site.salver().arg("record"), 0);
    tell_all(&site, site.salver().arg("flush"), 0);
    assert_eq!((posthog.uuids().len(), proxy.asked()), (1, vec!["localhost:443".to_owned()]));
}

#[test]
fn unless_the_environment_makes_an_exception_of_the_host() {
    let posthog = PostHog::start();
    let proxy = Proxy::to(posthog.address(), Speaks::Http);
    let site = site("host: 'http://posthog.invalid', allowPlainHttp: true");
    let address = format!("http://me:hunter2@{}", proxy.address());
    for exception in ["posthog.invalid", ".invalid", "*"] {
        let mut flush = site.salver();
        flush.arg("flush").env("ALL_PROXY", &address).env("NO_PROXY", exception);
        let output = tell_all(&site, &mut flush, 4);
        assert!(err(&output).contains("the name could not be looked up"), "{exception}: {}", err(&output));
    }
    assert_eq!((proxy.asked().len(), posthog.connections()), (0, 0));
}

#[test]
fn also_when_something_on_the_way_says_no_and_quotes_what_it_got() {
    let posthog = PostHog::start();
    let address = format!("http://me:hunter2@{}", posthog.address());
    let site = site(&format!("host: 'https://posthog.invalid', proxy: '{address}'"));
    posthog.answer_next(Scripted::Status(407, "no to me:hunter2, bWU6aHVudGVyMg=="));
    let output = tell_all(&site, site.salver().arg("flush"), 4);
    assert!(err(&output).contains("posthog.proxy"), "{}", err(&output));
    lead_to(&site, &format!("host: '{}'", posthog.url()));
    posthog.answer_next(Scripted::Status(401, "not valid: phc_told_to_posthog_only"));
    let output = tell_all(&site, site.salver().arg("flush"), 4);
    assert!(err(&output).contains("not valid: (key)"), "{}", err(&output));
    tell_all(&site, site.salver().arg("status"), 0);
    tell_all(&site, site.salver().arg("doctor"), 0);
}

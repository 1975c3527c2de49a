//! What can be seen of the way to PostHog: the key's form, the proxy, the name, the connection, TLS, the answer.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Finding;
use crate::forward::answer::{Answer, Failure};
use crate::forward::gzip_body::GzipBody;
use crate::forward::transport::{Endpoint, Posted, Route, Server, unused_hints};
use crate::forward::verdict::{Deferral, Verdict, judge};
use crate::forward::wire::RequestOptions;

/// The most time for looking up a name, and for connecting to one address.
const PATIENCE: Duration = Duration::from_secs(10);

/// What nobody but the project's page can tell.
const UNKNOWN_KEY: &str = "whether the key is that of your project only its page shows: PostHog answers 200 to an unknown key, and \
                           drops the events";

/// Whether the key looks like one; the settings have refused what PostHog would answer with 401.
pub fn key(api_key: &str) -> Finding {
    const CHECK: &str = "key";
    if api_key.starts_with("phc_") {
        Finding::ok(CHECK, format!("it has the form of a project key; {UNKNOWN_KEY}"))
    } else {
        Finding::warning(
            CHECK,
            format!("it does not start with phc_, as project keys do; {UNKNOWN_KEY}"),
            "compare it with the project's settings in PostHog",
        )
    }
}

/// Which proxy is used, and which ones are not although this server seems to have them.
pub fn proxy(route: &Route) -> Vec<Finding> {
    const CHECK: &str = "proxy";
    let mut findings = vec![match &route.proxy {
        Some(via) => {
            let credentials = if via.credentials { ", with a name and a password" } else { "" };
            Finding::ok(CHECK, format!("{}, from {}{credentials}", of(&via.server), via.from))
        }
        None => Finding::ok(CHECK, "none"),
    }];
    let known = route.proxy.as_ref().is_some_and(|via| via.from == "posthog.proxy");
    for hint in unused_hints().into_iter().filter(|_| !known) {
        findings.push(Finding::warning(
            CHECK,
            hint,
            "if PostHog is reached through a proxy only, write its URL into posthog.proxy (http://name:port)",
        ));
    }
    findings
}

/// Walks the way to PostHog and asks it a question that stores nothing. Also tells the clock of whoever answered, in
/// milliseconds since 1970.
pub fn line(endpoint: &Endpoint, shape: &RequestOptions) -> (Vec<Finding>, Option<i64>) {
    let route = endpoint.route();
    let mut findings = Vec::new();
    let addresses = match look_up(route.first()) {
        Ok(addresses) => addresses,
        Err(failure) => {
            let text = format!("{}: {failure}", route.first().name);
            return (vec![Finding::failure("name", text, failure.next_step())], None);
        }
    };
    findings.push(Finding::ok("name", named(route, &addresses)));
    match connect(&addresses) {
        Ok(()) => findings.push(Finding::ok("tcp", format!("{} takes connections", of(route.first())))),
        Err(failure) => {
            let text = format!("{}: {failure}", of(route.first()));
            findings.push(Finding::failure("tcp", text, failure.next_step()));
            return (findings, None);
        }
    }
    let posted = endpoint.post(&GzipBody::of([], shape, 0), Some(PATIENCE));
    let (tls, through) = tls(route, &posted, endpoint.issuer());
    findings.extend(tls);
    if through {
        findings.push(answer(&posted));
    }
    (findings, posted.date_ms)
}

/// The lookup runs on a thread of its own, since it cannot be interrupted.
fn look_up(server: &Server) -> Result<Vec<SocketAddr>, Failure> {
    let (tell, told) = mpsc::channel();
    let asked = (server.name.clone(), server.port);
    thread::spawn(move || tell.send(asked.to_socket_addrs().map(Vec::from_iter)));
    match told.recv_timeout(PATIENCE) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        _ => Err(Failure::NameLookup),
    }
}

/// The first address that answers is enough, as it is for a request.
fn connect(addresses: &[SocketAddr]) -> Result<(), Failure> {
    let mut last = Failure::NoRoute;
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = Failure::of_connecting(&error),
        }
    }
    Err(last)
}

fn named(route: &Route, addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let found = format!("{} is {}", route.first().name, addresses.join(", "));
    match &route.proxy {
        Some(via) if via.looks_up => format!("{found}; {} is left to the proxy to look up", route.host.name),
        _ => found,
    }
}

/// What the probe says of TLS, and whether it came through it.
fn tls(route: &Route, posted: &Posted, issuer: Option<String>) -> (Option<Finding>, bool) {
    const CHECK: &str = "tls";
    let seen = issuer.map_or_else(String::new, |issuer| format!("; the certificate was issued by {issuer}"));
    let failed = match &posted.answer {
        Answer::Unreachable(failure) => Some(*failure).filter(|failure| failure.is_of_tls()),
        _ => None,
    };
    match failed {
        _ if !route.tls => {
            let text = "none: plain http, which anybody on the way can read and change";
            let next = "write https in posthog.host, unless it is on this server or in its own network";
            (Some(Finding::warning(CHECK, text, next)), true)
        }
        Some(failure) => {
            (Some(Finding::failure(CHECK, format!("{failure}{seen}"), failure.next_step())), false)
        }
        // A proxy's refusal or a broken line says nothing of TLS.
        None if seen.is_empty() => (None, true),
        None => {
            let hint = " (if that is your company, a proxy inspects TLS here, which is fine)";
            (Some(Finding::ok(CHECK, format!("trusted{seen}{hint}"))), true)
        }
    }
}

/// What the answer to a request without events says. PostHog refuses it with 400, which shows that it is there and read the key.
fn answer(posted: &Posted) -> Finding {
    const CHECK: &str = "posthog";
    match judge(&posted.answer, 1) {
        Verdict::Keep(Deferral { why, .. }) => Finding::error(CHECK, &why),
        _ => Finding::ok(
            CHECK,
            "it answers as PostHog does; the question held no event, so nothing was stored",
        ),
    }
}

fn of(server: &Server) -> String {
    match server.name.contains(':') {
        true => format!("[{}]:{}", server.name, server.port),
        false => format!("{}:{}", server.name, server.port),
    }
}

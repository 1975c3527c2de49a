//! The checks of the connection to PostHog: the key's form, proxy, name, TCP, TLS, answer.

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

/// The timeout of a name lookup, and of a connection to one address.
const TIMEOUT: Duration = Duration::from_secs(10);

/// PostHog takes any key of the right form, so no request can tell whether a project has it.
const UNKNOWN_KEY: &str = "only the settings of your project in PostHog show whether it is the right \
                           one: PostHog answers 200 to an unknown key, and drops the events";

/// Whether the key has the usual form; the settings have refused one that PostHog would answer with
/// 401.
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

/// The proxy in use, and a warning for each one that is configured on this server and not used.
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

/// Connects to PostHog step by step and posts a request without events, of which PostHog stores
/// nothing. Also gives the clock of the server that answered, in milliseconds since 1970.
pub fn connection(endpoint: &Endpoint, request: &RequestOptions) -> (Vec<Finding>, Option<i64>) {
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
    let posted = endpoint.post(&GzipBody::of([], request, 0), Some(TIMEOUT));
    let (tls, through) = tls(route, &posted, endpoint.issuer());
    findings.extend(tls);
    if through {
        findings.push(answer(&posted));
    }
    (findings, posted.date_ms)
}

/// Looks a name up on another thread, since a lookup cannot be interrupted.
fn look_up(server: &Server) -> Result<Vec<SocketAddr>, Failure> {
    let (tell, told) = mpsc::channel();
    let asked = (server.name.clone(), server.port);
    thread::spawn(move || tell.send(asked.to_socket_addrs().map(Vec::from_iter)));
    match told.recv_timeout(TIMEOUT) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        _ => Err(Failure::NameLookup),
    }
}

/// Connects to the first address that answers, as a request does.
fn connect(addresses: &[SocketAddr]) -> Result<(), Failure> {
    let mut last = Failure::NoRoute;
    for address in addresses {
        match TcpStream::connect_timeout(address, TIMEOUT) {
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

/// The finding about TLS, if there is one, and whether the request passed the handshake.
fn tls(route: &Route, posted: &Posted, issuer: Option<String>) -> (Option<Finding>, bool) {
    const CHECK: &str = "tls";
    let seen = issuer.map_or_else(String::new, |issuer| format!("; the certificate was issued by {issuer}"));
    let failed = match &posted.answer {
        Answer::Unreachable(failure) => Some(*failure).filter(|failure| failure.is_of_tls()),
        _ => None,
    };
    match failed {
        _ if !route.tls => {
            let text = "none: plain http, which others on the network can read and change";
            let next = "write https in posthog.host, unless it is on this server or in its own network";
            (Some(Finding::warning(CHECK, text, next)), true)
        }
        Some(failure) => {
            (Some(Finding::failure(CHECK, format!("{failure}{seen}"), failure.next_step())), false)
        }
        // After a proxy's refusal or a broken connection nothing is known of TLS.
        None if seen.is_empty() => (None, true),
        None => {
            let hint = " (if that is your company, a proxy inspects TLS here, which is fine)";
            (Some(Finding::ok(CHECK, format!("trusted{seen}{hint}"))), true)
        }
    }
}

/// Judges the answer to a request without events. PostHog refuses it with 400, which shows that
/// PostHog is there and has read the key.
fn answer(posted: &Posted) -> Finding {
    const CHECK: &str = "posthog";
    match judge(&posted.answer, 1) {
        Verdict::Keep(Deferral { why, .. }) => Finding::error(CHECK, &why),
        _ => {
            Finding::ok(CHECK, "it answers as PostHog does; the request held no event, so nothing was stored")
        }
    }
}

fn of(server: &Server) -> String {
    match server.name.contains(':') {
        true => format!("[{}]:{}", server.name, server.port),
        false => format!("{}:{}", server.name, server.port),
    }
}

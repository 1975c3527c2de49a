//! The network: posts one body and reduces the result to an [`Answer`].
//!
//! It decides nothing; [`plan`](super::plan) does. Its promises:
//!
//! 1. **Nothing goes elsewhere.** Redirects are not followed. The settings have checked that plain
//!    http stays on this machine unless an admin allowed more.
//! 2. **Every attempt ends.** Name lookup and connecting have a short limit of their own, silence
//!    has one while a human waits, the whole request has `flush.timeout`, and an answer is read up
//!    to 64 KiB.
//! 3. **No secret in a text.** Errors name a setting or a kind of failure, never a value, an
//!    address or a key.
//!
//! Only this module and those below it name ureq and rustls. The proxy is `posthog.proxy`, else
//! `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY` with `NO_PROXY`, as ureq reads them; the
//! environment's proxy is not used for this machine itself. Connections stay open between the
//! batches of one [`Endpoint`].

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent, Proxy, ProxyProtocol, Timeout,
    http::{Response, Uri, header},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{ConnectProxyConnector, Connector, NextTimeout, SocksConnector, TcpConnector},
    },
};

use super::answer::{Answer, Body, Failure, retry_after};
use super::gzip_body::GzipBody;

mod issuer;
mod route;
mod settings;
mod tls;

pub use route::{ProxyHop, Route, Server, unused_hints};
pub use settings::{EndpointError, EndpointSettings};
use settings::{batch_url, parse_proxy};

use crate::clock;
use crate::settings::is_loopback;

/// The time limit for name lookup, and for connecting with TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer that are read; PostHog's has a few dozen.
const MAX_ANSWER: u64 = 64 * 1024;
const USER_AGENT: &str = concat!("salver/", env!("CARGO_PKG_VERSION"));

/// A host that batches are posted to.
pub struct Endpoint {
    agent: Agent,
    url: Uri,
    timeout: Duration,
    connect_timeout: Duration,
    route: Route,
    last_certificate: issuer::LastCertificate,
}

/// The result of posting a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub answer: Answer,
    /// The length of the body without headers; 0 if the request was not sent.
    pub wire_bytes: u64,
    /// The `Date` of the answer, in milliseconds since 1970.
    pub date_ms: Option<i64>,
}

impl Endpoint {
    /// Checks the settings and does not connect.
    pub fn new(settings: &EndpointSettings) -> Result<Self, EndpointError> {
        let url = batch_url(&settings.host)?;
        let local = is_loopback(&url);
        let https = url.scheme_str() == Some("https");
        let proxy = match &settings.proxy {
            Some(proxy) => Some(parse_proxy(proxy)?),
            None if local => None,
            // With a path it is the address of a PAC file, not of a proxy; the doctor says so.
            None => Proxy::try_from_env().filter(|proxy| matches!(proxy.uri().path(), "" | "/")),
        };
        let extra_roots = settings.ca_file.as_deref().map(tls::read_ca_file).transpose()?.unwrap_or_default();
        let needs_tls = https || proxy.as_ref().is_some_and(|proxy| proxy.protocol() == ProxyProtocol::Https);
        let route = Route::of(&url, proxy.as_ref());
        let last_certificate = issuer::LastCertificate::default();
        let tls = needs_tls.then(|| tls::client_config(extra_roots, last_certificate.clone())).transpose();
        let tls = tls.map_err(|cause| EndpointError::NoTrustStore { cause })?.map(Arc::new);

        let connect_timeout = settings.timeout.min(CONNECT_TIMEOUT);
        let config = Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .timeout_global(Some(settings.timeout))
            .build();
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(tls::TlsConnector(tls));
        let agent = Agent::with_parts(config, connector, NameLookup::default());
        Ok(Self { agent, url, timeout: settings.timeout, connect_timeout, route, last_certificate })
    }

    /// The time limit for a whole request.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Posts one body. Gives up when the server neither reads nor sends anything for `silence`, or
    /// when name lookup or connecting takes longer than that.
    pub fn post(&self, body: &GzipBody, silence: Option<Duration>) -> Posted {
        let connect_timeout =
            silence.map_or(self.connect_timeout, |silence| silence.min(self.connect_timeout));
        let request = self
            .agent
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip")
            .config()
            .timeout_resolve(Some(connect_timeout))
            .timeout_connect(Some(connect_timeout))
            .timeout_per_read(silence)
            .timeout_per_write(silence)
            .build();
        let (answer, date_ms) = match request.send(&body.gzip[..]) {
            Ok(response) => read_answer(response),
            Err(error) => (no_answer(&error), None),
        };
        let wire_bytes = if answer.was_sent() { body.gzip.len() as u64 } else { 0 };
        Posted { answer, wire_bytes, date_ms }
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The issuer of the last certificate that a server presented, such as `CN=Example
    /// CA,O=Example`.
    pub fn issuer(&self) -> Option<String> {
        self.last_certificate.issuer()
    }
}

/// Reads the answer and its `Date`.
fn read_answer(response: Response<ureq::Body>) -> (Answer, Option<i64>) {
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let content_type = header(header::CONTENT_TYPE).map(str::to_owned);
    let date_ms = header(header::DATE).and_then(clock::parse_http_date);
    let now_ms = date_ms.unwrap_or_else(clock::now_ms);
    let retry_after = header(header::RETRY_AFTER).and_then(|value| retry_after(value, now_ms));
    let mut bytes = Vec::new();
    let read = response.into_body().into_reader().take(MAX_ANSWER).read_to_end(&mut bytes);
    let answer = match read {
        // Only a 200 depends on its body.
        Err(error) if status == 200 => Answer::Unreachable(failure(&error.into())),
        _ => Answer::Http { status, body: Body::read(content_type.as_deref(), &bytes), retry_after },
    };
    (answer, date_ms)
}

fn no_answer(error: &ureq::Error) -> Answer {
    match error {
        // ureq gives the status in its text only: "proxy server responded 407/407".
        ureq::Error::ConnectProxyFailed(text) => {
            let status = text.split(|c: char| !c.is_ascii_digit()).find_map(|number| number.parse().ok());
            status.map_or(Answer::Unreachable(Failure::BrokenOff), |status| Answer::ProxyRefused { status })
        }
        error => Answer::Unreachable(failure(error)),
    }
}

/// Reduces an error to its kind, so that no part of its text is passed on.
fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(Timeout::Resolve) => Failure::NameLookup,
        ureq::Error::Timeout(Timeout::Connect) => Failure::ConnectTimeout,
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => Failure::Silence,
        ureq::Error::Timeout(_) => Failure::AnswerTimeout,
        ureq::Error::Io(error) => io_failure(error),
        ureq::Error::Tls(_) | ureq::Error::TlsRequired => Failure::Tls,
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => Failure::NotHttp,
        _ => Failure::BrokenOff,
    }
}

fn io_failure(error: &io::Error) -> Failure {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::failure(error);
    }
    match Failure::of_connecting(error) {
        // ureq has a timeout of its own for connecting, so this one came later.
        Failure::ConnectTimeout => Failure::AnswerTimeout,
        failure => failure,
    }
}

/// ureq's own lookup, with failures that differ from those of a connection.
#[derive(Debug, Default)]
struct NameLookup(DefaultResolver);

impl Resolver for NameLookup {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_own_status_is_read_from_ureqs_text() {
        let said = |text: &str| no_answer(&ureq::Error::ConnectProxyFailed(text.to_owned()));
        assert_eq!(said("proxy server responded 407/407"), Answer::ProxyRefused { status: 407 });
        assert_eq!(said("proxy server did not respond"), Answer::Unreachable(Failure::BrokenOff));
    }
}

//! An answer from the network, reduced to what decides about the records that were sent.
//!
//! It stands between the transport, which knows sockets and TLS, and [`verdict`](super::verdict),
//! which knows PostHog. Reducing here, before anything is judged or logged, keeps two promises in
//! one place:
//!
//! 1. **Nothing secret comes through.** A network error becomes one of a few kinds, so no address,
//!    proxy password or key in its text survives. Of an answer's text at most 200 characters are
//!    kept, without control characters, and with everything masked that has the form of a PostHog
//!    key, in case a server echoes the request.
//! 2. **A status alone proves nothing.** Captive portals and inspecting proxies answer 200, and
//!    400, in PostHog's place. So the body is classified by its content, and only PostHog's own
//!    JSON counts as acceptance.

use std::time::Duration;

use serde_json::Value;

use crate::clock;

/// The most characters of a server's words that are kept for the dead letter and for messages.
const MAX_WORDS: usize = 200;

/// The result of one attempt to deliver a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A whole HTTP answer, from PostHog or from something in between.
    Http {
        status: u16,
        body: Body,
        /// The pause that `Retry-After` asks for, counted from the answer.
        retry_after: Option<Duration>,
    },
    /// The proxy answered `CONNECT` with this status, so the request was never sent.
    ProxyRefused { status: u16 },
    /// No whole answer arrived. PostHog may or may not have stored the batch.
    Unreachable(Failure),
}

impl Answer {
    /// Whether PostHog may have stored the batch although it does not say so: the answer was lost
    /// or cut off, or something in between stopped waiting for it.
    pub fn may_be_stored(&self) -> bool {
        match self {
            Self::Http { status: 200, body, .. } => matches!(body, Body::Words(_) | Body::Other),
            Self::Http { status, .. } => *status >= 500,
            Self::ProxyRefused { .. } => false,
            Self::Unreachable(failure) => failure.may_depend_on_size(),
        }
    }

    /// Whether the request was sent, at least in part.
    pub fn was_sent(&self) -> bool {
        matches!(self, Self::Http { .. }) || self.may_be_stored()
    }
}

/// The kind of an answer's body, whose size the transport has limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// PostHog's JSON object with `status` `"Ok"` or 1.
    Accepted {
        /// `quota_limited` is set as well: PostHog says Ok and drops the events.
        quota_limited: bool,
    },
    /// Plain text, in which PostHog explains a refusal. Never empty, at most 200 characters, keys
    /// masked.
    Words(String),
    /// A web page, which PostHog's ingestion never sends.
    Html,
    /// Anything else, such as an empty body or other JSON.
    Other,
}

impl Body {
    /// Classifies a body by its `Content-Type` and its first characters.
    pub fn read(content_type: Option<&str>, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches('\u{feff}').trim();
        let kind = content_type.map(|kind| kind.to_ascii_lowercase());
        if text.starts_with('<') || kind.as_deref().is_some_and(|kind| kind.contains("html")) {
            return Self::Html;
        }
        if let Some(quota_limited) = acceptance(text) {
            return Self::Accepted { quota_limited };
        }
        let plain = kind.is_none_or(|kind| kind.starts_with("text/plain"));
        match words(text) {
            words if plain && !words.is_empty() => Self::Words(words),
            _ => Self::Other,
        }
    }
}

/// `Some(quota_limited)` for PostHog's acceptance, `None` for any other text.
fn acceptance(text: &str) -> Option<bool> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let accepted = answer["status"] == "Ok" || answer["status"] == 1;
    accepted.then(|| match &answer["quota_limited"] {
        Value::Null | Value::Bool(false) => false,
        Value::Array(names) => !names.is_empty(),
        _ => true,
    })
}

/// The text on one line, cut, and with keys masked.
fn words(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    mask_keys(&line).chars().take(MAX_WORDS).collect()
}

/// Masks PostHog's project (`phc_`) and personal (`phx_`) keys anywhere in the text.
fn mask_keys(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["phc_", "phx_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let (before, key) = rest.split_at(at);
        masked.push_str(before);
        masked.push_str("(key)");
        rest = key.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    }
    masked + rest
}

/// Reads a `Retry-After` header: a number of seconds, or a date (RFC 9110, section 10.2.3).
///
/// `now_ms` is the answer's own `Date` where it has one, so that a wrong clock here does not
/// matter. `None` for a text that is neither.
pub fn retry_after(header: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait_ms = clock::parse_http_date(header)?.saturating_sub(now_ms);
    Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)))
}

/// Why no whole answer arrived, in an admin's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// DNS has no such name, or no name server answers.
    #[error("the name could not be looked up")]
    NameLookup,
    /// A host in between refused at once.
    #[error("the connection was refused")]
    Refused,
    /// The operating system has no route: typical of an air-gapped server.
    #[error("the network is unreachable")]
    NoRoute,
    /// Connecting, TLS included, took longer than allowed: typical of a firewall that drops
    /// packets.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The whole request took longer than `flush.timeout`.
    #[error("no answer came within flush.timeout")]
    AnswerTimeout,
    /// The server neither read nor sent anything for as long as a flush by hand waits.
    #[error("the other side fell silent for longer than flush.patience")]
    Silence,
    /// The connection ended in the middle of the request or of the answer.
    #[error("the connection broke off")]
    BrokenOff,
    /// Typical of a proxy that inspects TLS with a company's own certificate authority.
    #[error("the certificate's issuer is not trusted on this server")]
    UntrustedIssuer,
    /// Expired or not yet valid, by the clock of this server.
    #[error("the certificate has expired or is not valid yet")]
    CertificateTime,
    /// The certificate is for another host.
    #[error("the certificate is for another name")]
    CertificateName,
    /// Any other failure of TLS.
    #[error("no TLS connection could be made")]
    Tls,
    /// The server does not speak HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
}

impl Failure {
    /// What the admin can do about it.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::NameLookup => {
                "check the name in posthog.host, the proxy's name, and this server's DNS; a SOCKS proxy looks names \
                 up itself where posthog.proxy says socks5h://"
            }
            Self::Refused | Self::NoRoute | Self::ConnectTimeout => {
                "check the network, the firewall, and whether a proxy is needed (posthog.proxy)"
            }
            Self::AnswerTimeout => "on a slow line raise flush.timeout or lower flush.batchEvents",
            Self::Silence => "try again; on a slow line raise flush.patience or lower flush.batchEvents",
            Self::BrokenOff => "nothing to set: salver tries again, with smaller batches",
            Self::UntrustedIssuer => "if a proxy inspects TLS here, put its CA certificate in posthog.caFile",
            Self::CertificateTime => "check this server's clock",
            Self::CertificateName => "check posthog.host, and whether a proxy or portal answers in its place",
            Self::Tls => "check that posthog.host takes TLS 1.2 or 1.3 at this port",
            Self::NotHttp => "check the port in posthog.host and in posthog.proxy",
        }
    }

    /// The kind of an error while connecting.
    pub fn of_connecting(error: &std::io::Error) -> Failure {
        use std::io::ErrorKind::*;
        match error.kind() {
            ConnectionRefused | PermissionDenied => Self::Refused,
            NetworkUnreachable | HostUnreachable | NetworkDown | AddrNotAvailable => Self::NoRoute,
            TimedOut | WouldBlock => Self::ConnectTimeout,
            _ => Self::BrokenOff,
        }
    }

    /// Whether TLS failed, certificates included.
    pub fn is_of_tls(self) -> bool {
        matches!(self, Self::UntrustedIssuer | Self::CertificateTime | Self::CertificateName | Self::Tls)
    }

    /// Whether a smaller batch might get through.
    pub fn may_depend_on_size(self) -> bool {
        matches!(self, Self::AnswerTimeout | Self::Silence | Self::BrokenOff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&str> = Some("application/json");

    #[test]
    fn only_posthogs_own_json_counts_as_acceptance() {
        let accepted = Body::Accepted { quota_limited: false };
        assert_eq!(Body::read(JSON, br#"{"status":"Ok"}"#), accepted);
        assert_eq!(Body::read(JSON, br#"{"status":1,"quota_limited":[]}"#), accepted);
        let limited = Body::read(JSON, br#"{"status":"Ok","quota_limited":["events"]}"#);
        assert_eq!(limited, Body::Accepted { quota_limited: true });
        for other in [r#"{"status":"Ok""#, r#"{"status":0}"#, r#"["Ok"]"#, "1", r#""Ok""#, ""] {
            assert_eq!(Body::read(JSON, other.as_bytes()), Body::Other, "{other}");
        }
        assert_eq!(Body::read(Some("text/html; charset=utf-8"), br#"{"status":1}"#), Body::Html);
        assert_eq!(Body::read(None, b"\n <!doctype html><title>Log in</title>"), Body::Html);
    }

    #[test]
    fn words_are_short_on_one_line_and_without_keys() {
        let said = |text: &str| match Body::read(Some("text/plain; charset=utf-8"), text.as_bytes()) {
            Body::Words(words) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(said("no\r\nsuch\u{1b}[31m"), "no  such [31m");
        assert_eq!(said(&"\u{e9}".repeat(500)).chars().count(), MAX_WORDS);
        assert_eq!(said(r#"bad "api_key":"phc_aB3-x_9", phx_1"#), r#"bad "api_key":"(key)", (key)"#);
        assert_eq!(said(&format!("{}phc_secret", "x".repeat(195))).find("phc_"), None);
    }

    #[test]
    fn an_answer_tells_whether_the_batch_was_sent_and_whether_it_may_be_stored() {
        let http = |status, body| Answer::Http { status, body, retry_after: None };
        let words = || Body::Words("because".into());
        for (answer, may_be_stored) in [
            (http(200, Body::Other), true),
            (http(200, words()), true),
            (http(200, Body::Html), false),
            (http(200, Body::Accepted { quota_limited: true }), false),
            (http(204, Body::Other), false),
            (http(400, words()), false),
            (http(499, words()), false),
            (http(500, words()), true),
            (http(504, Body::Html), true),
        ] {
            assert_eq!((answer.may_be_stored(), answer.was_sent()), (may_be_stored, true), "{answer:?}");
        }
        let refused = Answer::ProxyRefused { status: 502 };
        assert!(!refused.may_be_stored() && !refused.was_sent());
    }

    #[test]
    fn a_failure_tells_whether_tls_or_the_size_of_the_batch_may_be_its_cause() {
        use Failure::*;
        let (no, tls, size) = ((false, false), (true, false), (false, true));
        for (failure, expected) in [
            (NameLookup, no),
            (Refused, no),
            (NoRoute, no),
            (ConnectTimeout, no),
            (AnswerTimeout, size),
            (Silence, size),
            (BrokenOff, size),
            (UntrustedIssuer, tls),
            (CertificateTime, tls),
            (CertificateName, tls),
            (Tls, tls),
            (NotHttp, no),
        ] {
            assert_eq!((failure.is_of_tls(), failure.may_depend_on_size()), expected, "{failure:?}");
            // What breaks in the middle was sent, at least in part.
            let answer = Answer::Unreachable(failure);
            assert_eq!((answer.may_be_stored(), answer.was_sent()), (expected.1, expected.1), "{failure:?}");
        }
    }

    #[test]
    fn errors_while_connecting_have_kinds_that_an_admin_can_act_on() {
        use std::io::ErrorKind::*;
        for (kind, failure) in [
            (ConnectionRefused, Failure::Refused),
            (PermissionDenied, Failure::Refused),
            (NetworkUnreachable, Failure::NoRoute),
            (HostUnreachable, Failure::NoRoute),
            (NetworkDown, Failure::NoRoute),
            (AddrNotAvailable, Failure::NoRoute),
            (TimedOut, Failure::ConnectTimeout),
            (WouldBlock, Failure::ConnectTimeout),
            (ConnectionReset, Failure::BrokenOff),
        ] {
            assert_eq!(Failure::of_connecting(&kind.into()), failure, "{kind:?}");
        }
    }

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        let now = clock::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after("60", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:51:37 GMT", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}

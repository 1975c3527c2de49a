//! `posthog`: where records go. Without both a host and a key nothing is ever sent.
//!
//! PostHog answers 200 to a well-formed key of no project and drops the events later, so a mistake
//! that the text alone shows is refused here, before records pile up in vain. No text is ever
//! quoted: an admin may have put the password of the proxy into the host, or into the key.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::raw::Raw;
use super::rules::{Refusal, flag, text};
use crate::secret::Secret;

/// The schemes that the HTTP client knows for proxies.
const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// PostHog answers 401 to a longer project key.
const KEY_LENGTH: usize = 64;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostHogSettings {
    /// Scheme, name and port, such as `https://eu.posthog.com`, without a slash at the end.
    pub host: Option<String>,
    pub api_key: Option<Secret>,
    /// The proxy's URL with its credentials; `None` leaves it to the environment.
    pub proxy: Option<Secret>,
    /// PEM file with certificates that are trusted beside the operating system's own.
    pub ca_file: Option<PathBuf>,
    /// Allow a host other than this machine without TLS.
    pub allow_plain_http: bool,
    /// Let PostHog look up a location by the address of the sender.
    pub geoip: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPostHog {
    host: Option<Raw>,
    api_key: Option<Raw>,
    proxy: Option<Raw>,
    ca_file: Option<Raw>,
    allow_plain_http: Option<Raw>,
    geoip: Option<Raw>,
}

impl RawPostHog {
    pub fn validate(self, fields: &Fields) -> Result<PostHogSettings, SettingsError> {
        let plain = fields.or(false, "posthog.allowPlainHttp", self.allow_plain_http, flag)?;
        let secret = |name, raw, rule: fn(&str) -> Result<String, Refusal>| {
            fields.optional(name, raw, |value| text(value).and_then(rule).map(Secret::new))
        };
        Ok(PostHogSettings {
            host: fields.optional("posthog.host", self.host, |value| host(text(value)?, plain))?,
            api_key: secret("posthog.apiKey", self.api_key, api_key)?,
            proxy: secret("posthog.proxy", self.proxy, proxy)?,
            ca_file: fields.path("posthog.caFile", self.ca_file)?,
            allow_plain_http: plain,
            geoip: fields.or(false, "posthog.geoip", self.geoip, flag)?,
        })
    }
}

/// Scheme, name and port in lower case, the path of a reverse proxy if there is one, no slash at
/// the end.
fn host(text: &str, allow_plain_http: bool) -> Result<String, Refusal> {
    let Some(uri) = base_url(text) else {
        return Refusal::new(
            "not the URL of a server; write it with its scheme, such as https://eu.posthog.com",
        );
    };
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), authority(&uri));
    if !["http", "https"].contains(&scheme) {
        return Refusal::new(
            "neither http nor https; write it with its scheme, such as https://eu.posthog.com",
        );
    }
    if authority.contains('@') {
        return Refusal::new(
            "holds a user or a password, which belong nowhere here; write scheme, name and port only",
        );
    }
    if uri.query().is_some() || text.contains('#') {
        return Refusal::new("has a query or a fragment; write scheme, name and port only");
    }
    if scheme == "http" && !allow_plain_http && !is_loopback(&uri) {
        return Refusal::new(
            "plain http to another machine; write https, or set posthog.allowPlainHttp: true",
        );
    }
    Ok(format!("{scheme}://{}{}", authority.to_ascii_lowercase(), uri.path().trim_end_matches('/')))
}

/// Refuses what PostHog would answer with 401. The usual start `phc_` is no condition.
fn api_key(text: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        return Refusal::new(
            "empty; write the project key (it usually starts with phc_), or remove the line",
        );
    }
    if text.starts_with("phx_") {
        return Refusal::new(
            "a personal key (phx_), which may read the project; write the project key (phc_)",
        );
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Refusal::new(
            "holds a space or a character beyond ASCII, which no project key has; copy it again",
        );
    }
    if text.len() > KEY_LENGTH {
        return Refusal::new("longer than 64 characters, which no project key is; copy it again");
    }
    Ok(text.to_owned())
}

/// Scheme, credentials if need be, name and port.
fn proxy(text: &str) -> Result<String, Refusal> {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    if path.to_ascii_lowercase().ends_with(".pac") || path.to_ascii_lowercase().ends_with("wpad.dat") {
        return Refusal::new(
            "a PAC file, which salver does not run; write the proxy that it names, http://name:port",
        );
    }
    let Some(uri) = base_url(text) else {
        return Refusal::new(
            "not the URL of a proxy; write http://name:port, with user:password@ before the name if it wants them \
             (special characters in those as %XX)",
        );
    };
    if !PROXY_SCHEMES.contains(&uri.scheme_str().unwrap_or_default()) {
        return Refusal::new("none of http, https and socks5; write http://name:port");
    }
    if has_path(text, &uri) {
        return Refusal::new("has a path, a query or a fragment; write http://name:port");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A URL with a scheme, a name and, if it has one, a port from 1 to 65535.
fn base_url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    uri.scheme()?;
    let server = authority(&uri).rsplit('@').next()?;
    let port = server.strip_prefix(uri.host()?)?;
    let port_is_fine = port.is_empty() || uri.port_u16().is_some_and(|port| port > 0);
    (!uri.host()?.is_empty() && port_is_fine).then_some(uri)
}

fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
}

/// The parser drops a fragment, so the text is searched for it.
fn has_path(text: &str, uri: &Uri) -> bool {
    !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#')
}

/// Whether an address is on this machine, by its text alone.
pub fn is_loopback(uri: &Uri) -> bool {
    let name = uri.host().unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T>(result: Result<T, Refusal>) -> String {
        result.err().map_or_else(|| "taken".to_owned(), |refusal| refusal.0.into_owned())
    }

    #[test]
    fn a_host_is_scheme_name_port_and_perhaps_a_path() {
        let taken = [
            ("https://eu.posthog.com", "https://eu.posthog.com"),
            ("https://eu.posthog.com/", "https://eu.posthog.com"),
            ("HTTPS://PostHog.Example:8443", "https://posthog.example:8443"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
            ("http://localhost", "http://localhost"),
            ("https://example.com/Ingest/", "https://example.com/Ingest"),
        ];
        for (text, expected) in taken {
            assert_eq!(host(text, false).ok().as_deref(), Some(expected), "{text}");
        }
        assert_eq!(host("http://posthog.example", true).ok().as_deref(), Some("http://posthog.example"));
    }

    #[test]
    fn a_host_that_could_mislead_is_refused_without_being_quoted() {
        let refused = [
            ("", "URL"),
            ("eu.posthog.com", "URL"),
            ("eu.posthog.com:443", "URL"),
            ("https://", "URL"),
            ("https://:443", "URL"),
            ("https://hunter2.example:99999", "URL"),
            ("https://hunter2.example:0", "URL"),
            ("https://hunter2.example:", "URL"),
            ("ftp://hunter2.example", "neither"),
            ("https://me:hunter2@posthog.example", "password"),
            ("https://hunter2@posthog.example", "password"),
            ("https://posthog.example/?hunter2", "query"),
            ("https://posthog.example#hunter2", "fragment"),
            ("http://hunter2.example", "plain http"),
            ("http://127.0.0.1.hunter2.example", "plain http"),
        ];
        for (text, part) in refused {
            let why = why(host(text, false));
            assert!(why.contains(part) && !why.contains("hunter2"), "{text}: {why}");
        }
    }

    #[test]
    fn a_key_that_posthog_would_answer_with_401_is_refused() {
        assert!(
            api_key("phc_abc").is_ok()
                && api_key("sTMFPsFhdP1Ssg").is_ok()
                && api_key(&"k".repeat(64)).is_ok()
        );
        for key in ["", "phx_hunter2", "phc_hunter2 ", "phc_hünter2", "phc_\thunter2", &"hunter2".repeat(10)]
        {
            let why = why(api_key(key));
            assert!(why != "taken" && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn a_proxy_may_have_credentials_and_is_never_quoted() {
        for text in
            ["http://proxy:3128", "https://me:pass%40word@proxy.example:443/", "socks5://10.0.0.1:1080"]
        {
            assert!(proxy(text).is_ok(), "{text}");
        }
        let refused = [
            ("proxy:3128", "URL"),
            ("", "URL"),
            ("http://me:hunter 2@proxy", "URL"),
            ("http://hunter2.example/proxy.pac", "PAC"),
            ("http://wpad/wpad.dat?hunter2", "PAC"),
            ("ftp://hunter2.example", "socks5"),
            ("http://proxy/hunter2", "path"),
        ];
        for (text, part) in refused {
            let why = why(proxy(text));
            assert!(why.contains(part) && !why.contains("hunter2"), "{text}: {why}");
        }
    }
}

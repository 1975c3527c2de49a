//! What a host, a project key and a proxy look like.
//!
//! PostHog answers 200 to a well-shaped key of nobody and drops the events later (facts/posthog.md), so what can be
//! told from the text alone is told here, before anything is collected for nothing. None of the texts is ever quoted:
//! an admin may have put the password of the proxy into the host, or the key.

use std::net::IpAddr;

use http::Uri;

use super::given::Wrong;
use super::limits;

/// How a proxy may be spoken to: what the HTTP client knows.
const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// `posthog.host`: scheme, name and port in lower case, the path of a reverse proxy if there is one, no slash at the end.
pub(super) fn host(text: &str, allow_plain_http: bool) -> Result<String, Wrong> {
    let Some(uri) = base_url(text) else {
        return Wrong::new(
            "not the URL of a server; write it with its scheme, such as https://eu.posthog.com",
        );
    };
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), authority(&uri));
    if !["http", "https"].contains(&scheme) {
        return Wrong::new(
            "neither http nor https; write it with its scheme, such as https://eu.posthog.com",
        );
    }
    if authority.contains('@') {
        return Wrong::new(
            "holds a user or a password, which belong nowhere here; write scheme, name and port only",
        );
    }
    if uri.query().is_some() || text.contains('#') {
        return Wrong::new("has a query or a fragment; write scheme, name and port only");
    }
    if scheme == "http" && !allow_plain_http && !is_loopback(&uri) {
        return Wrong::new("plain http to another machine; write https, or set posthog.allowPlainHttp: true");
    }
    Ok(format!("{scheme}://{}{}", authority.to_ascii_lowercase(), uri.path().trim_end_matches('/')))
}

/// `posthog.apiKey`: what PostHog would answer with 401 is refused; the usual start `phc_` is no condition.
pub(super) fn api_key(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Wrong::new("empty; write the project key (it usually starts with phc_), or remove the line");
    }
    if text.starts_with("phx_") {
        return Wrong::new("a personal key (phx_), which may read the project; write the project key (phc_)");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Wrong::new(
            "holds a space or a character beyond ASCII, which no project key has; copy it again",
        );
    }
    if text.len() > limits::KEY_LENGTH {
        return Wrong::new("longer than 64 characters, which no project key is; copy it again");
    }
    Ok(text.to_owned())
}

/// `posthog.proxy`: scheme, perhaps credentials, name and port.
pub(super) fn proxy(text: &str) -> Result<String, Wrong> {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    if path.to_ascii_lowercase().ends_with(".pac") || path.to_ascii_lowercase().ends_with("wpad.dat") {
        return Wrong::new(
            "a PAC file, which salver does not run; write the proxy that it names, http://name:port",
        );
    }
    let Some(uri) = base_url(text) else {
        return Wrong::new(
            "not the URL of a proxy; write http://name:port, with user:password@ before the name if it wants them \
             (special characters in those as %XX)",
        );
    };
    if !PROXY_SCHEMES.contains(&uri.scheme_str().unwrap_or_default()) {
        return Wrong::new("none of http, https and socks5; write http://name:port");
    }
    if has_path(text, &uri) {
        return Wrong::new("has a path, a query or a fragment; write http://name:port");
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

/// The parser drops a fragment without a word, so the text is asked for it.
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

    fn why<T>(result: Result<T, Wrong>) -> String {
        result.err().map_or_else(|| "taken".to_owned(), |wrong| wrong.0.into_owned())
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

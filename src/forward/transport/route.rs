//! The route to PostHog for the screen: the host, the proxy, and hints at a proxy that is not used.
//!
//! Why apart from ureq's proxy: that type holds the credentials. A [`Route`] can be shown.

use std::env;

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

/// The environment variables that name a proxy, in ureq's order.
const PROXY_VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// The servers that a request goes through, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host of `posthog.host`.
    pub host: Server,
    /// Whether the host is reached with TLS.
    pub tls: bool,
    pub proxy: Option<ProxyHop>,
}

/// A name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Without the brackets of an IPv6 address.
    pub name: String,
    pub port: u16,
}

/// A proxy, without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHop {
    pub server: Server,
    /// Whether a name and a password are set for it.
    pub credentials: bool,
    /// `posthog.proxy` or the environment.
    pub from: &'static str,
    /// Whether the proxy looks up the host's name itself.
    pub looks_up: bool,
}

impl Route {
    pub(super) fn of(url: &Uri, proxy: Option<&Proxy>) -> Route {
        let tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host = Server::new(url.host().unwrap_or_default(), port);
        let proxy = proxy.filter(|proxy| !proxy.is_no_proxy(url)).map(ProxyHop::of);
        Route { host, tls, proxy }
    }

    /// The server that a connection goes to: the proxy, or the host itself.
    pub fn first(&self) -> &Server {
        self.proxy.as_ref().map_or(&self.host, |proxy| &proxy.server)
    }
}

impl Server {
    fn new(name: &str, port: u16) -> Server {
        Server { name: name.trim_matches(['[', ']']).to_owned(), port }
    }
}

impl ProxyHop {
    fn of(proxy: &Proxy) -> ProxyHop {
        ProxyHop {
            server: Server::new(proxy.host(), proxy.port()),
            credentials: proxy.username().is_some(),
            from: if proxy.is_from_env() { "the environment" } else { "posthog.proxy" },
            looks_up: !matches!(proxy.protocol(), ProxyProtocol::Socks4 | ProxyProtocol::Socks5),
        }
    }
}

/// Hints at a proxy in a form that salver does not use. No value is quoted, since credentials may
/// be part of it.
pub fn unused_hints() -> Vec<String> {
    let mut hints = Vec::new();
    for name in PROXY_VARIABLES {
        let value = env::var(name).unwrap_or_default();
        if value.to_ascii_lowercase().ends_with(".pac") {
            hints.push(format!("{name} names a PAC file, which salver does not run"));
        } else if !value.is_empty() && Proxy::new(&value).is_err() {
            hints.push(format!("{name} is set and is not the URL of a proxy"));
        }
    }
    let exceptions = env::var("NO_PROXY").or_else(|_| env::var("no_proxy")).unwrap_or_default();
    if exceptions.split(',').any(|entry| entry.contains('/')) {
        hints.push("NO_PROXY holds address ranges (with a /), which salver does not understand".to_owned());
    }
    hints.extend(of_the_system());
    hints
}

/// Windows' proxy settings for the current account. Services run under another account, so salver
/// does not use them.
#[cfg(windows)]
fn of_the_system() -> Vec<String> {
    const KEY: &str = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings";
    let Ok(key) = windows_registry::CURRENT_USER.open(KEY) else { return Vec::new() };
    let mut hints = Vec::new();
    if key.get_string("AutoConfigURL").is_ok_and(|url| !url.is_empty()) {
        hints.push("Windows has a PAC file for this account, which salver does not run".to_owned());
    }
    if key.get_u32("ProxyEnable").is_ok_and(|on| on != 0) {
        hints.push("Windows has a proxy for this account, which salver does not take over".to_owned());
    }
    hints
}

/// Other systems have these settings in the environment.
#[cfg(not(windows))]
fn of_the_system() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_servers_and_hides_credentials() {
        let url = Uri::from_static("https://eu.i.posthog.com/batch/");
        let proxy = Proxy::new("http://me:secret@proxy.example:3128").unwrap();
        let route = Route::of(&url, Some(&proxy));
        let via = route.proxy.clone().unwrap();
        assert_eq!((route.host.name.as_str(), route.host.port, route.tls), ("eu.i.posthog.com", 443, true));
        assert_eq!(route.first(), &Server { name: "proxy.example".into(), port: 3128 });
        assert!(via.credentials && via.looks_up && via.from == "posthog.proxy");
        assert!(!format!("{route:?}").contains("secret"));

        let local = Route::of(&Uri::from_static("http://[::1]:8000/batch/"), None);
        assert_eq!(local.first(), &Server { name: "::1".into(), port: 8000 });
        let socks = Proxy::new("socks5://proxy.example").unwrap();
        assert!(!Route::of(&url, Some(&socks)).proxy.unwrap().looks_up, "salver looks the name up");
    }
}

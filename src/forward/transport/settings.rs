//! Where to connect, checked before anything connects: each error names the setting to change and never shows
//! its value, since an address can hold a password and a file's name can tell about a company.

use std::{io, net::IpAddr, path::PathBuf, time::Duration};

use ureq::{Proxy, http::Uri};

/// Where and how to connect: the settings below `posthog` and `flush.timeout`.
#[derive(Clone)]
pub struct EndpointSettings {
    /// `posthog.host`: an http or https address, with or without a path.
    pub host: String,
    /// `posthog.proxy`: an http, https, socks4, socks4a, socks5 or socks5h address, with credentials if need
    /// be.
    pub proxy: Option<String>,
    /// `posthog.caFile`: PEM certificates to trust besides the platform's.
    pub ca_file: Option<PathBuf>,
    /// `posthog.allowPlainHttp`.
    pub allow_plain_http: bool,
    /// `flush.timeout`: the most time for a whole request.
    pub timeout: Duration,
}

/// A setting that can't be used. The text names it and never shows its value.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not an address that batches can be posted to.
    #[error("posthog.host is not a web address; write one such as https://eu.i.posthog.com")]
    Host,
    /// A user name or password in the address.
    #[error("posthog.host must not contain a user name or password; a proxy's belong in posthog.proxy")]
    HostCredentials,
    /// Plain http to another machine.
    #[error(
        "posthog.host begins with http://, so the project key would travel unencrypted; write https://, or \
         set posthog.allowPlainHttp to true if every network on the way is trusted"
    )]
    PlainHttp,
    /// Not a proxy's address.
    #[error("posthog.proxy is not a proxy's address; write one such as http://proxy.example.com:3128")]
    Proxy,
    /// An address with a path: that of a PAC file.
    #[error(
        "posthog.proxy looks like the address of a PAC file, which salver doesn't evaluate; write the \
         proxy's own address, which is in that file"
    )]
    ProxyPac,
    /// The CA file can't be read.
    #[error("posthog.caFile can't be read ({0}); check that it exists and that salver's account may read it")]
    CaFile(#[source] io::Error),
    /// The CA file holds no certificate, or a damaged one.
    #[error("posthog.caFile must hold one or more whole CA certificates in PEM form (BEGIN CERTIFICATE)")]
    CaFileForm,
    /// No platform verifier.
    #[error(
        "this system has no certificate authorities to trust; install ca-certificates or set posthog.caFile"
    )]
    NoTrustStore,
}

/// The address to post batches to.
pub(super) fn batch_url(host: &str) -> Result<Uri, EndpointError> {
    let base: Uri = host.trim().parse().map_err(|_| EndpointError::Host)?;
    let authority = base.authority().ok_or(EndpointError::Host)?;
    if authority.as_str().contains('@') {
        return Err(EndpointError::HostCredentials);
    }
    let bare = authority.host();
    let port_ok = authority.as_str() == bare || authority.port_u16().is_some();
    let scheme_ok = matches!(base.scheme_str(), Some("http" | "https"));
    if bare.is_empty() || !port_ok || !scheme_ok || base.query().is_some() {
        return Err(EndpointError::Host);
    }
    let path = format!("{}/batch/", base.path().trim_end_matches('/'));
    let mut parts = base.into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| EndpointError::Host)?);
    Uri::from_parts(parts).map_err(|_| EndpointError::Host)
}

/// Whether the address is on this machine, by its text alone.
pub(super) fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The proxy of the setting, with its credentials.
pub(super) fn parse_proxy(proxy: &str) -> Result<Proxy, EndpointError> {
    let proxy = Proxy::new(proxy.trim()).map_err(|_| EndpointError::Proxy)?;
    match proxy.uri().path() {
        "" | "/" => Ok(proxy),
        _ => Err(EndpointError::ProxyPac),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Endpoint, *};

    fn settings(host: &str) -> EndpointSettings {
        let timeout = Duration::from_secs(1);
        EndpointSettings { host: host.into(), proxy: None, ca_file: None, allow_plain_http: false, timeout }
    }

    fn error(settings: &EndpointSettings) -> EndpointError {
        Endpoint::new(settings).err().expect("these settings can't be used")
    }

    #[test]
    fn batches_go_below_the_path_of_the_host() {
        for (host, url) in [
            ("https://eu.i.posthog.com", "https://eu.i.posthog.com/batch/"),
            (" https://example.com:8443/ingest/ ", "https://example.com:8443/ingest/batch/"),
        ] {
            assert_eq!(batch_url(host).unwrap().to_string(), url);
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_or_carry_credentials_are_refused() {
        for host in
            ["", "eu.i.posthog.com", "/batch", "ftp://a", "https://a?b=c", "https://a:99999", "https://a b"]
        {
            assert!(matches!(error(&settings(host)), EndpointError::Host), "{host}");
        }
        assert!(matches!(error(&settings("https://me:secret@a")), EndpointError::HostCredentials));
    }

    #[test]
    fn plain_http_needs_loopback_or_leave() {
        for host in ["http://localhost:8000", "http://127.0.0.9", "http://[::1]:80"] {
            assert!(Endpoint::new(&settings(host)).is_ok(), "{host}");
        }
        let mut plain = settings("http://10.0.0.1");
        assert!(matches!(error(&plain), EndpointError::PlainHttp));
        assert!(matches!(error(&settings("http://localhost.example.com")), EndpointError::PlainHttp));
        plain.allow_plain_http = true;
        assert!(Endpoint::new(&plain).is_ok());
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_and_never_shown() {
        let wrong = |proxy: Option<&str>, ca_file: Option<PathBuf>| {
            let proxy = proxy.map(str::to_owned);
            error(&EndpointSettings { proxy, ca_file, ..settings("http://localhost") })
        };
        for (proxy, setting) in
            [("gopher://me:secret@a", "a proxy's address"), ("http://me:secret@a/secret.pac", "PAC file")]
        {
            let text = wrong(Some(proxy), None).to_string();
            assert!(
                text.contains("posthog.proxy") && text.contains(setting) && !text.contains("secret"),
                "{text}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret.pem");
        assert!(!wrong(None, Some(file.clone())).to_string().contains("secret"));
        for content in ["", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, content).unwrap();
            assert!(matches!(wrong(None, Some(file.clone())), EndpointError::CaFileForm));
        }
    }
}

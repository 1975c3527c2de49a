//! Where to connect.
//!
//! The texts were checked when the settings were read. Errors here are about the rest: whether ureq
//! accepts them, and the content of the CA file. They name the setting and never show its value.

use std::{io, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use ureq::{Proxy, http::Uri};

use crate::secret::{Secret, expose_to_worker};

/// Where and how to connect: the settings below `posthog` and `flush.timeout`.
#[derive(Clone, Serialize, Deserialize)]
pub struct EndpointSettings {
    /// `posthog.host`: an http or https address without credentials, with or without a path.
    pub host: String,
    /// `posthog.proxy`: an http, https, socks4, socks4a, socks5 or socks5h address, perhaps with
    /// credentials.
    #[serde(serialize_with = "expose_to_worker")]
    pub proxy: Option<Secret>,
    /// `posthog.caFile`: PEM certificates to trust besides the platform's.
    pub ca_file: Option<PathBuf>,
    /// `flush.timeout`: the time limit for a whole request.
    pub timeout: Duration,
}

/// A setting that cannot be used. The text names it and never shows its value.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not an address that batches can be posted to.
    #[error("posthog.host is not a web address; write one such as https://eu.i.posthog.com")]
    Host,
    /// Not a proxy's address.
    #[error("posthog.proxy is not a proxy's address; write one such as http://proxy.example.com:3128")]
    Proxy,
    /// The CA file can't be read.
    #[error("posthog.caFile can't be read ({0}); check that it exists and that salver's account may read it")]
    CaFile(io::Error),
    /// The CA file holds no certificate, or a damaged one.
    #[error("posthog.caFile must hold one or more whole CA certificates in PEM form (BEGIN CERTIFICATE)")]
    CaFileForm,
    /// No platform verifier.
    #[error("this system cannot verify certificates ({cause}){}", install())]
    NoTrustStore {
        /// What the platform said.
        cause: rustls::Error,
    },
}

/// The next step on systems whose certificate authorities come as a package.
fn install() -> &'static str {
    if cfg!(target_os = "linux") { "; install ca-certificates or set posthog.caFile" } else { "" }
}

/// The address to post batches to.
pub(super) fn batch_url(host: &str) -> Result<Uri, EndpointError> {
    format!("{}/batch/", host.trim_end_matches('/')).parse().map_err(|_| EndpointError::Host)
}

/// The proxy of the setting, with its credentials.
pub(super) fn parse_proxy(proxy: &Secret) -> Result<Proxy, EndpointError> {
    Proxy::new(proxy.expose()).map_err(|_| EndpointError::Proxy)
}

#[cfg(test)]
mod tests {
    use super::{super::Endpoint, *};

    fn settings(host: &str) -> EndpointSettings {
        let timeout = Duration::from_secs(1);
        EndpointSettings { host: host.into(), proxy: None, ca_file: None, timeout }
    }

    fn error(settings: &EndpointSettings) -> EndpointError {
        Endpoint::new(settings).err().expect("these settings can't be used")
    }

    #[test]
    fn batches_go_below_the_path_of_the_host() {
        for (host, url) in [
            ("https://eu.i.posthog.com", "https://eu.i.posthog.com/batch/"),
            ("https://example.com:8443/ingest", "https://example.com:8443/ingest/batch/"),
        ] {
            assert_eq!(batch_url(host).unwrap().to_string(), url);
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_and_never_shown() {
        let wrong = |proxy: Option<&str>, ca_file: Option<PathBuf>| {
            let proxy = proxy.map(Secret::new);
            error(&EndpointSettings { proxy, ca_file, ..settings("http://localhost") })
        };
        let text = wrong(Some("gopher://me:secret@a"), None).to_string();
        assert!(text.contains("posthog.proxy") && !text.contains("secret"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret.pem");
        assert!(!wrong(None, Some(file.clone())).to_string().contains("secret"));
        for content in ["", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, content).unwrap();
            assert!(matches!(wrong(None, Some(file.clone())), EndpointError::CaFileForm));
        }
    }
}

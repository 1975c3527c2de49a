//! TLS that trusts the platform's certificates and the admin's CA file.
//!
//! ureq can trust the platform's verifier or a fixed list of certificates, but not both. A server
//! behind an inspecting proxy needs both: the proxy's CA from `posthog.caFile`, and the platform's
//! for the day when the proxy lets it through. A list read from the platform's store does not help,
//! since Windows fetches roots only when its own verifier first needs them. So this connector
//! replaces ureq's, with a verifier that has extra roots. It speaks TLS 1.2 and 1.3 and leaves
//! sockets, timeouts and proxies to ureq.

use std::{fmt, io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, pem, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::issuer::{LastCertificate, RecordingVerifier};
use super::settings::EndpointError;
use crate::forward::answer::Failure;

/// Reads the certificates of `posthog.caFile`, at least one.
pub(super) fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, EndpointError> {
    let text = std::fs::read(path).map_err(EndpointError::CaFile)?;
    let roots: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let roots = roots.map_err(|_| EndpointError::CaFileForm)?;
    let usable = |root: &CertificateDer<'static>| RootCertStore::empty().add(root.clone()).is_ok();
    if roots.is_empty() || !roots.iter().all(usable) {
        return Err(EndpointError::CaFileForm);
    }
    Ok(roots)
}

/// The settings of every TLS connection: trusts the platform's roots and `extra_roots`. The
/// certificate of each server is stored in `last_certificate`.
pub(super) fn client_config(
    extra_roots: Vec<CertificateDer<'static>>,
    last_certificate: LastCertificate,
) -> Result<ClientConfig, rustls::Error> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let verifier = match extra_roots.as_slice() {
        [] => Verifier::new(provider.clone())?,
        _ => Verifier::new_with_extra_roots(extra_roots, provider.clone())?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // rustls' word for any verifier but its own
        .with_custom_certificate_verifier(Arc::new(RecordingVerifier {
            verifier: Arc::new(verifier),
            last_certificate,
        }))
        .with_no_client_auth();
    Ok(config)
}

/// The end of Windows' text for a certificate whose issuer is neither sent along nor in the store
/// (CERT_E_CHAINING), such as an inspecting proxy's before its CA is trusted. The verifier passes
/// on the text only.
const NO_CHAIN: &str = "(os error -2146762486)";

/// Reduces a TLS error to a kind that an admin can act on.
pub(super) fn failure(error: &rustls::Error) -> Failure {
    use CertificateError as Cert;
    let rustls::Error::InvalidCertificate(fault) = error else {
        return Failure::Tls;
    };
    match fault {
        Cert::UnknownIssuer => Failure::UntrustedIssuer,
        Cert::Other(fault) if fault.to_string().contains(NO_CHAIN) => Failure::UntrustedIssuer,
        Cert::Expired | Cert::ExpiredContext { .. } | Cert::NotValidYet | Cert::NotValidYetContext { .. } => {
            Failure::CertificateTime
        }
        Cert::NotValidForName | Cert::NotValidForNameContext { .. } => Failure::CertificateName,
        _ => Failure::Tls,
    }
}

/// Wraps a connection in TLS where the address asks for it. Without settings, https addresses fail
/// in ureq.
#[derive(Debug)]
pub(super) struct TlsConnector(pub(super) Option<Arc<ClientConfig>>);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(plain) = chained else { return Ok(None) };
        let config = match &self.0 {
            Some(config) if details.needs_tls() && !plain.is_tls() => config,
            _ => return Ok(Some(Either::A(plain))),
        };
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut socket = TransportAdapter::new(plain.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        tls.complete_io(&mut socket)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned::new(tls, socket) })))
    }
}

/// A connection wrapped in TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        use io::Write;
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        use io::Read;
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").field("over", &self.stream.sock.inner()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls::OtherError;

    use super::*;

    #[test]
    fn windows_words_for_an_issuer_that_it_does_not_know_are_understood() {
        let said = |code: i32| {
            let words = io::Error::from_raw_os_error(code).to_string();
            let fault = CertificateError::Other(OtherError(Arc::new(io::Error::other(words))));
            failure(&rustls::Error::InvalidCertificate(fault))
        };
        assert_eq!(said(-2_146_762_486), Failure::UntrustedIssuer);
        assert_eq!(said(5), Failure::Tls);
    }
}

//! The issuer of the last certificate that a server presented, trusted or not.
//!
//! Why: where a proxy inspects TLS, the company's own authority is the issuer, and an admin knows
//! that name at once. rustls gives access to a certificate only after it is trusted, so the
//! verifier is the one place that sees every certificate.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::der::Decode;

/// The last certificate that a server presented.
#[derive(Clone, Debug, Default)]
pub(super) struct LastCertificate(Arc<Mutex<Option<CertificateDer<'static>>>>);

impl LastCertificate {
    /// Its issuer, such as `CN=Example CA,O=Example`: at most 200 characters, no control
    /// characters.
    pub(super) fn issuer(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = x509_cert::Certificate::from_der(last.as_ref()?).ok()?;
        let name = certificate.tbs_certificate().issuer().to_string();
        Some(name.chars().filter(|c| !c.is_control()).take(200).collect())
    }
}

/// A verifier that decides as another one does, and stores the certificate.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) last_certificate: LastCertificate,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.last_certificate.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(end_entity.clone().into_owned());
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

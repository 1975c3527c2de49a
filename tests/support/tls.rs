//! TLS in front of a server that speaks plain http: with an authority of its own, as a proxy that inspects TLS has one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::err;
use super::needs::{Need, skip};
use super::site::Site;
use super::tcp_server::{TcpServer, is_only_quiet};

/// How long one side is listened to before the other has its turn.
const TURN: Duration = Duration::from_millis(10);

/// What the certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It is for `localhost`, and its time is now.
    Good,
    /// Its time is over.
    Expired,
    /// It is for another name.
    OfAnother,
}

/// Whether the system under the test can trust an authority that a settings file names.
/// Windows can, wine cannot.
pub fn can_trust_a_ca_file() -> bool {
    let tls = Tls::before(SocketAddr::from(([127, 0, 0, 1], 1)), Certificate::Good);
    let site = Site::new();
    site.write("ca.pem", &tls.authority);
    site.settings(&format!("posthog: {{host: '{}', apiKey: phc_test, caFile: ca.pem}}\n", tls.url()));
    let output = site.salver().arg("flush").output().unwrap();
    let cannot = cfg!(windows) && err(&output).contains("this system cannot verify certificates");
    if cannot {
        skip(Need::OwnAuthority);
    }
    !cannot
}

/// The running server; it stops when dropped.
pub struct Tls {
    listening: TcpServer,
    /// The certificate of its authority, as PEM.
    pub authority: String,
}

impl Tls {
    /// Starts it in front of the server at an address.
    pub fn before(server: SocketAddr, certificate: Certificate) -> Tls {
        let (config, authority) = config(certificate);
        let listening =
            TcpServer::start(move |client, stop| relay(client, Arc::clone(&config), server, stop));
        Tls { listening, authority }
    }

    /// What to write in `posthog.host`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.listening.address.port())
    }
}

fn config(certificate: Certificate) -> (Arc<ServerConfig>, String) {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Inspecting Proxy of Example Ltd");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();

    let name = if certificate == Certificate::OfAnother { "other.example" } else { "localhost" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if certificate == Certificate::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    let chain = vec![params.signed_by(&key, &authority).unwrap().der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (Arc::new(config), authority.pem())
}

/// Carries bytes to and fro until one side has enough.
fn relay(client: TcpStream, config: Arc<ServerConfig>, server: SocketAddr, stop: &AtomicBool) {
    let Ok(mut server) = TcpStream::connect(server) else { return };
    client.set_read_timeout(Some(TURN)).unwrap();
    server.set_read_timeout(Some(TURN)).unwrap();
    let mut client = StreamOwned::new(ServerConnection::new(config).unwrap(), client);
    let mut bytes = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed)
        && carry(&mut client, &mut server, &mut bytes)
        && carry(&mut server, &mut client, &mut bytes)
    {}
}

/// Carries what is there; false once there will be no more.
fn carry(from: &mut impl Read, to: &mut impl Write, bytes: &mut [u8]) -> bool {
    match from.read(bytes) {
        Ok(0) => false,
        Ok(length) => to.write_all(&bytes[..length]).and_then(|()| to.flush()).is_ok(),
        Err(error) => is_only_quiet(&error),
    }
}

//! A wire that is tapped: it hands on what comes to a server, and keeps every byte that was sent.
//!
//! Why not ask the recording PostHog: it keeps what it understood. A leak may as well stand in a header, or under a key that
//! stands twice in one object.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::read::GzDecoder;

use crate::support::tcp_server::TcpServer;

/// What was sent, one entry a connection.
type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Stops when dropped.
pub struct Relay {
    listening: TcpServer,
    sent: Sent,
}

impl Relay {
    /// Hands on to this server.
    pub fn to(server: SocketAddr) -> Relay {
        let sent = Sent::default();
        let kept = Arc::clone(&sent);
        let listening = TcpServer::start(move |client, _| hand_on(client, server, &kept).unwrap());
        Relay { listening, sent }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What to write in `posthog.host`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// Every byte that was sent.
    pub fn raw(&self) -> Vec<u8> {
        self.sent.lock().unwrap().concat()
    }

    /// The body of every request, without gzip.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap().iter().flat_map(|sent| bodies(sent)).collect()
    }
}

/// Joins a client and the server, in both directions, until one of them hangs up.
fn hand_on(mut client: TcpStream, server: SocketAddr, sent: &Sent) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        _ = io::copy(&mut answers, &mut back);
        _ = back.shutdown(Shutdown::Both);
    });
    let sent = Arc::clone(sent);
    let number = {
        let mut sent = sent.lock().unwrap();
        sent.push(Vec::new());
        sent.len() - 1
    };
    thread::spawn(move || {
        let mut chunk = [0; 64 * 1024];
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            // Kept before it is handed on: whoever has the answer finds the request here.
            sent.lock().unwrap()[number].extend_from_slice(&chunk[..length]);
            if server.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        _ = server.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// The bodies of the requests of one connection; panics if there is anything else on it.
fn bodies(mut sent: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while !sent.is_empty() {
        let end = sent.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the head of a request") + 4;
        let head = String::from_utf8_lossy(&sent[..end]).to_lowercase();
        let length = head.split("content-length:").nth(1).expect("a body's length").lines().next().unwrap();
        let length: usize = length.trim().parse().unwrap();
        let body = &sent[end..end + length];
        bodies.push(match body.starts_with(&[0x1f, 0x8b]) {
            true => {
                let mut plain = Vec::new();
                GzDecoder::new(body).read_to_end(&mut plain).unwrap();
                plain
            }
            false => body.to_vec(),
        });
        sent = &sent[end + length..];
    }
    bodies
}

//! Accepting connections for as long as a test wants: what the lines and servers of the tests have in common.

#![allow(clippy::unwrap_used, reason = "a broken test server should fail its test")]

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Set once connections are to end.
pub type Stopped = Arc<AtomicBool>;

/// Serves each connection on a thread of its own, until it is dropped.
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Stopped,
}

impl Listening {
    /// On a free port of 127.0.0.1.
    pub fn start(serve: impl Fn(TcpStream, &Stopped) + Send + Sync + 'static) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stopped::default();
        let (serve, stopped) = (Arc::new(serve), Arc::clone(&stop));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (serve, stopped) = (Arc::clone(&serve), Arc::clone(&stopped));
                thread::spawn(move || serve(client, &stopped));
            }
        });
        Listening { address, stop }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // So that it notices.
        _ = TcpStream::connect(self.address);
    }
}

/// Whether a read failed only because there was nothing to read yet.
pub fn is_only_quiet(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

//! Accepting connections for as long as a test wants: what the servers, proxies and lines have in common.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Nothing listens there: the port is reserved, and no other test gets it.
pub const UNREACHABLE: &str = "http://127.0.0.1:1";

/// Set once connections are to end.
pub type Stopped = Arc<AtomicBool>;

/// Serves each connection on a thread of its own, until it is dropped.
pub struct TcpServer {
    pub address: SocketAddr,
    stop: Stopped,
    accepting: Option<JoinHandle<()>>,
}

impl TcpServer {
    /// On a free port of 127.0.0.1.
    pub fn start(serve: impl Fn(TcpStream, &Stopped) + Send + Sync + 'static) -> TcpServer {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), serve)
    }

    /// At an address that is free.
    pub fn start_at(
        address: SocketAddr,
        serve: impl Fn(TcpStream, &Stopped) + Send + Sync + 'static,
    ) -> TcpServer {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stopped::default();
        let (serve, stopped) = (Arc::new(serve), Arc::clone(&stop));
        let accepting = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (serve, stopped) = (Arc::clone(&serve), Arc::clone(&stopped));
                thread::spawn(move || serve(client, &stopped));
            }
        });
        TcpServer { address, stop, accepting: Some(accepting) }
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A connection wakes the thread; once it has ended the address is free again.
        _ = TcpStream::connect(self.address);
        _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// Whether a read failed only because there was nothing to read yet.
pub fn is_only_quiet(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

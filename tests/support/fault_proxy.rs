//! A line that fails in a given way, connection by connection, between salver and a server; after the last fault it is a good one.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::tcp_server::{TcpServer, is_only_quiet};

/// How long one side is listened to before the other has its turn.
const TURN: Duration = Duration::from_millis(5);

/// What happens to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is closed as soon as it is made.
    Refused,
    /// It ends when so many bytes of the request have passed.
    RequestCut(usize),
    /// Nothing of the request passes, and nothing happens.
    StallBefore,
    /// The request arrives and its answer never comes.
    StallAfter,
    /// The request arrives, and the connection ends in place of the answer.
    AnswerLost,
    /// The request arrives, and the connection ends when so many bytes of the answer have passed.
    AnswerCut(usize),
    /// Every byte arrives, and each request a second time as well, as if something on the way had tried again.
    Twice,
    /// Every byte arrives, few at a time.
    Drip,
}

impl Fault {
    /// Whether the server has the request although salver does not learn it.
    pub fn hides_success(self) -> bool {
        matches!(self, Fault::StallAfter | Fault::AnswerLost | Fault::AnswerCut(_))
    }
}

/// The line; it ends when dropped.
pub struct FaultProxy {
    listening: TcpServer,
    script: Arc<Mutex<VecDeque<Fault>>>,
    made: Arc<AtomicUsize>,
}

impl FaultProxy {
    /// A line to a server, on which one connection after the other has one of these faults.
    pub fn to(server: SocketAddr, faults: &[Fault]) -> FaultProxy {
        let script = Arc::new(Mutex::new(faults.iter().copied().collect::<VecDeque<_>>()));
        let made = Arc::new(AtomicUsize::default());
        let (next, count) = (Arc::clone(&script), Arc::clone(&made));
        let listening = TcpServer::start(move |client, stop| {
            count.fetch_add(1, Ordering::Relaxed);
            let fault = next.lock().unwrap().pop_front();
            Wire::between(client, server, fault).carry_on(stop);
        });
        FaultProxy { listening, script, made }
    }

    /// What to write in `posthog.host`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// More connections fail, each in one of these ways.
    pub fn fail(&self, faults: &[Fault]) {
        self.script.lock().unwrap().extend(faults);
    }

    /// From here on it is a good line.
    pub fn heal(&self) {
        self.script.lock().unwrap().clear();
    }

    /// How many faults are still to come.
    pub fn faults_left(&self) -> usize {
        self.script.lock().unwrap().len()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

/// One connection.
struct Wire {
    client: TcpStream,
    /// The server, and perhaps once more.
    servers: Vec<TcpStream>,
    fault: Option<Fault>,
    sent: usize,
    answered: usize,
}

impl Wire {
    fn between(client: TcpStream, server: SocketAddr, fault: Option<Fault>) -> Wire {
        let ways = match fault {
            Some(Fault::Refused | Fault::StallBefore) => 0,
            Some(Fault::Twice) => 2,
            _ => 1,
        };
        let servers: Vec<TcpStream> = (0..ways).filter_map(|_| TcpStream::connect(server).ok()).collect();
        for stream in servers.iter().chain([&client]) {
            stream.set_read_timeout(Some(TURN)).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        Wire { client, servers, fault, sent: 0, answered: 0 }
    }

    fn carry_on(mut self, stop: &AtomicBool) {
        if self.fault == Some(Fault::Refused) {
            return;
        }
        while !stop.load(Ordering::Relaxed) && self.carry_request() && self.carry_answers() {}
    }

    /// Carries what there is of the request; false when the connection is to end.
    fn carry_request(&mut self) -> bool {
        let most = if self.fault == Some(Fault::Drip) { 700 } else { 64 * 1024 };
        let mut bytes = vec![0; most];
        let length = match self.client.read(&mut bytes) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return is_only_quiet(&error),
        };
        let pass = match self.fault {
            Some(Fault::RequestCut(most)) => length.min(most.saturating_sub(self.sent)),
            _ => length,
        };
        self.sent += length;
        if self.fault == Some(Fault::Drip) {
            thread::sleep(Duration::from_millis(1));
        }
        self.servers.iter_mut().all(|server| server.write_all(&bytes[..pass]).is_ok()) && pass == length
    }

    /// Carries what there is of the answer.
    fn carry_answers(&mut self) -> bool {
        let mut bytes = vec![0; if self.fault == Some(Fault::Drip) { 7 } else { 64 * 1024 }];
        for (at, server) in self.servers.iter_mut().enumerate() {
            let length = match server.read(&mut bytes) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) if is_only_quiet(&error) => continue,
                Err(_) => return false,
            };
            let pass = match self.fault {
                Some(Fault::StallAfter) => 0,
                Some(Fault::AnswerLost) => return false,
                Some(Fault::AnswerCut(most)) => length.min(most.saturating_sub(self.answered)),
                // What was sent twice is answered once.
                _ if at > 0 => 0,
                _ => length,
            };
            self.answered += length;
            let cut = pass < length && matches!(self.fault, Some(Fault::AnswerCut(_)));
            if self.client.write_all(&bytes[..pass]).is_err() || cut {
                return false;
            }
        }
        true
    }
}

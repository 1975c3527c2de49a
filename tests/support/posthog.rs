//! A PostHog that records what it is sent, so that tests can compare what arrived with what was acknowledged.
//!
//! It checks requests as PostHog's capture server does (facts: `POST /batch/`, gzip by its magic bytes, the
//! key's form, each event's fields, 20 MiB) and answers in its words, so a test that passes here says
//! something about PostHog. Faults are scripted one request at a time with [`PostHog::answer_next`]; without
//! a script it answers as PostHog would. It listens on a free loopback port, keeps connections alive, and
//! stops when dropped.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::tcp_server::{TcpServer, is_only_quiet};

mod check;

/// How often a blocked thread looks whether the server is to stop.
const TICK: Duration = Duration::from_millis(20);

/// What the server does with a request instead of answering as PostHog would.
#[derive(Debug, Clone)]
pub enum Scripted {
    /// This status with these words as text/plain; nothing is stored.
    Status(u16, &'static str),
    /// Any answer at all: status, further headers, body; nothing is stored.
    Reply(u16, &'static [(&'static str, &'static str)], &'static str),
    /// A captive portal's login page with status 200; nothing is stored.
    Html,
    /// An acceptance cut off in the middle of its body; the events are stored.
    Truncated,
    /// The events are stored, the answer is lost.
    StoreThenHangUp,
    /// The connection is closed without an answer; nothing is stored.
    HangUp,
    /// No answer for this long, then the connection is closed; nothing is stored.
    Stall(Duration),
    /// The events are stored and accepted, and the answer comes once this is set.
    Held(Arc<AtomicBool>),
    /// The connection is closed without an answer once this is set; nothing is stored.
    HeldThenLost(Arc<AtomicBool>),
    /// From now on, every batch that holds an event with this uuid gets 400. Takes up no place in the script.
    Poison(String),
    /// From now on, the connection is closed without an answer to every request with a longer body. Takes up no place in the
    /// script.
    Narrow(usize),
}

/// One request that came in whole.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    /// As it came, not decoded.
    body: Vec<u8>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Scripted>,
    poison: HashSet<String>,
    longest_body: Option<usize>,
    connections: usize,
    requests: Vec<Request>,
    bodies: Vec<Value>,
    events: Vec<Value>,
}

/// The running server.
pub struct PostHog {
    listening: TcpServer,
    state: Arc<Mutex<State>>,
}

impl PostHog {
    /// Starts a server on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts a server at an address, such as one where an earlier server has stopped.
    pub fn start_at(address: SocketAddr) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listening = TcpServer::start_at(address, move |stream, stop| {
            shared.lock().unwrap().connections += 1;
            // An error here is a client that hangs up, which is its right.
            _ = serve(stream, &shared, stop);
        });
        Self { listening, state }
    }

    /// What to write in `posthog.host`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// Scripts one answer more: the first that was scripted answers the next request, and so on.
    pub fn answer_next(&self, scripted: Scripted) {
        let mut state = self.state.lock().unwrap();
        match scripted {
            Scripted::Poison(uuid) => _ = state.poison.insert(uuid),
            Scripted::Narrow(bytes) => state.longest_body = Some(bytes),
            scripted => state.script.push_back(scripted),
        }
    }

    /// Every stored event in the order of arrival; one that was delivered twice stands here twice.
    pub fn events(&self) -> Vec<Value> {
        self.state.lock().unwrap().events.clone()
    }

    /// The uuids of the stored events in the order of arrival, with repetitions.
    pub fn uuids(&self) -> Vec<String> {
        self.events().iter().map(|event| event["uuid"].as_str().unwrap().to_owned()).collect()
    }

    /// The JSON of every request that was well-formed, stored or not.
    pub fn bodies(&self) -> Vec<Value> {
        self.state.lock().unwrap().bodies.clone()
    }

    /// The body of every request that came in whole, byte by byte, without its gzip.
    pub fn raw_bodies(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let decoded = |request: &Request| String::from_utf8(check::decode(request).unwrap()).unwrap();
        state.requests.iter().map(decoded).collect()
    }

    /// How many whole requests came in.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// How many bytes of request bodies came in.
    pub fn wire_bytes(&self) -> u64 {
        self.state.lock().unwrap().requests.iter().map(|request| request.body.len() as u64).sum()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// This header of every request that came in, empty where it was absent.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let name = name.to_ascii_lowercase();
        let state = self.state.lock().unwrap();
        state.requests.iter().map(|request| request.headers.get(&name).cloned().unwrap_or_default()).collect()
    }
}

/// Answers the requests of one connection, until it or the server ends.
fn serve(mut stream: TcpStream, state: &Mutex<State>, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(TICK))?;
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut input, stop)? {
        let (answer, stall, gate) = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            let scripted = state.script.pop_front();
            let stall = match &scripted {
                Some(Scripted::Stall(time)) => *time,
                _ => Duration::ZERO,
            };
            let gate = match &scripted {
                Some(Scripted::Held(gate) | Scripted::HeldThenLost(gate)) => gate.clone(),
                _ => Arc::new(AtomicBool::new(true)),
            };
            (state.answer(&request, scripted), stall, gate)
        };
        let until = Instant::now() + stall;
        while Instant::now() < until && !stop.load(Ordering::SeqCst) {
            thread::sleep(TICK.min(until - Instant::now()));
        }
        while !gate.load(Ordering::SeqCst) && !stop.load(Ordering::SeqCst) {
            thread::sleep(TICK);
        }
        let Some(answer) = answer else { return Ok(()) };
        stream.write_all(&answer.bytes)?;
        if answer.close {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request; `None` when the client closes the connection or the server is to stop.
fn read_request(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    stop: &AtomicBool,
) -> io::Result<Option<Request>> {
    loop {
        if let Some(request) = take_request(input) {
            return Ok(Some(request));
        }
        let mut chunk = [0; 64 * 1024];
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(length) => input.extend_from_slice(&chunk[..length]),
            Err(error) if is_only_quiet(&error) => {}
            Err(error) => return Err(error),
        }
        if stop.load(Ordering::SeqCst) {
            return Ok(None);
        }
    }
}

/// Cuts one whole request off the front of the input, if it has arrived.
fn take_request(input: &mut Vec<u8>) -> Option<Request> {
    let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&input[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    if input.len() < end + length {
        return None;
    }
    let body = input[end..end + length].to_vec();
    input.drain(..end + length);
    Some(Request { method: first.next()?, path: first.next()?, headers, body })
}

/// The bytes to send back.
struct Reply {
    bytes: Vec<u8>,
    close: bool,
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Reply> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text += body;
    Some(Reply { bytes: text.into_bytes(), close: false })
}

fn text(status: u16, words: &str) -> Option<Reply> {
    reply(status, &[("content-type", "text/plain; charset=utf-8")], words)
}

fn accepted() -> Option<Reply> {
    reply(200, &[("content-type", "application/json")], r#"{"status":"Ok"}"#)
}

impl State {
    /// Stores what is to be stored and says what to answer; `None` hangs up.
    fn answer(&mut self, request: &Request, scripted: Option<Scripted>) -> Option<Reply> {
        if self.longest_body.is_some_and(|most| request.body.len() > most) {
            return None;
        }
        let checked = check::body(request).and_then(|body| {
            self.bodies.push(body.clone());
            check::events(&body, &self.poison)
        });
        match scripted {
            None | Some(Scripted::Held(_)) => match checked {
                Ok(events) => {
                    self.events.extend(events);
                    accepted()
                }
                Err((status, words)) => text(status, &words),
            },
            Some(Scripted::Status(status, words)) => text(status, words),
            Some(Scripted::Reply(status, headers, body)) => reply(status, headers, body),
            Some(Scripted::Html) => {
                reply(200, &[("content-type", "text/html")], "<!DOCTYPE html><title>Log in</title>")
            }
            Some(Scripted::Truncated) => {
                self.events.extend(checked.unwrap_or_default());
                let whole = accepted()?.bytes;
                Some(Reply { bytes: whole[..whole.len() - 5].to_vec(), close: true })
            }
            Some(Scripted::StoreThenHangUp) => {
                self.events.extend(checked.unwrap_or_default());
                None
            }
            Some(
                Scripted::HangUp
                | Scripted::HeldThenLost(_)
                | Scripted::Stall(_)
                | Scripted::Poison(_)
                | Scripted::Narrow(_),
            ) => None,
        }
    }
}

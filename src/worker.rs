//! A short-lived child process of this very program: the service has it done what would cost it something for ever.
//!
//! Why: once a process has opened the spool, sled keeps threads in it that wake up every second, and memory that nobody gives back. So
//! `salver run` never opens it; a child does, for as long as there is something to do. What breaks in the child, breaks there.
//!
//! The child is a hidden command. It gets the version and its order in two lines on stdin, and tells what it has done in lines of JSON on stdout; the log is the
//! parent's stderr, in the parent's form.
//!
//! Invariants:
//! - Whoever starts a worker never waits for it unless it wants to: a thread hands the order over, listens, and rings at each line.
//! - It may be killed at any moment. What it told before is durable; the rest is found by the next one.
//! - It does not outlive who waits for it: stdin stays open as long as somebody does, and its end is the child's.
//! - Both are the same version. On Linux the child is the image that runs, even after an upgrade replaced its file. Elsewhere it is the file
//!   at the path that was started, so the version comes first, and a stranger refuses the order.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a child is started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// In front of the command: how it is to log.
    arguments: Vec<OsString>,
}

/// A child under way, which tells values of one type.
#[derive(Debug)]
pub struct Worker<T> {
    child: Child,
    told: Receiver<T>,
}

/// What came of listening.
#[derive(Debug)]
pub enum Heard<T> {
    /// It told this.
    Told(T),
    /// It told nothing else yet.
    Nothing,
    /// It has ended, and was heard to its end.
    Ended(io::Result<ExitStatus>),
}

impl Program {
    /// This program, with these arguments before each command.
    pub fn this(arguments: Vec<OsString>) -> io::Result<Program> {
        let path = match cfg!(target_os = "linux") {
            true => PathBuf::from("/proc/self/exe"),
            false => std::env::current_exe()?,
        };
        Ok(Program { path, arguments })
    }

    fn command(&self, command: &str) -> Command {
        let mut child = Command::new(&self.path);
        child.args(&self.arguments).arg(command);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        as_this_process(&mut child);
        child
    }
}

/// In a list of processes it has the name that everybody knows.
#[cfg(unix)]
fn as_this_process(child: &mut Command) {
    use std::os::unix::process::CommandExt;

    child.arg0(std::env::args_os().next().unwrap_or_else(|| "salver".into()));
}

/// A program without a console would get one of its own, with a window.
#[cfg(windows)]
fn as_this_process(child: &mut Command) {
    use std::io::IsTerminal;
    use std::os::windows::process::CommandExt;

    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    if !io::stderr().is_terminal() {
        child.creation_flags(CREATE_NO_WINDOW);
    }
}

impl<T: DeserializeOwned + Send + 'static> Worker<T> {
    /// Starts a hidden command with an order; calls `ring`, on a thread of its own, whenever there is something to hear.
    pub fn start(
        program: &Program,
        command: &str,
        order: &impl Serialize,
        ring: impl Fn() + Send + 'static,
    ) -> io::Result<Worker<T>> {
        let mut lines = format!("{VERSION}\n").into_bytes();
        serde_json::to_writer(&mut lines, order)?;
        lines.push(b'\n');
        let mut child = program.command(command).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, told) = channel();
        let listen = move || {
            if let (Some(stdin), Some(stdout)) = (stdin, stdout) {
                hear(stdin, &lines, stdout, &sender, &ring);
            }
            drop(sender);
            ring();
        };
        let worker = Worker { child, told };
        match std::thread::Builder::new().name("worker".into()).spawn(listen) {
            Ok(_) => Ok(worker),
            Err(error) => {
                worker.end(Duration::ZERO);
                Err(error)
            }
        }
    }

    /// What it told next, if it did. Does not wait.
    pub fn hear(&mut self) -> Heard<T> {
        match self.told.try_recv() {
            Ok(told) => Heard::Told(told),
            Err(TryRecvError::Empty) => Heard::Nothing,
            Err(TryRecvError::Disconnected) => Heard::Ended(self.child.wait()),
        }
    }

    /// Waits for its end, for so long, and ends it then. Tells what it told until its end.
    pub fn end(mut self, patience: Duration) -> Vec<T> {
        let began = Instant::now();
        let mut told = Vec::new();
        loop {
            match self.told.recv_timeout(patience.saturating_sub(began.elapsed())) {
                Ok(next) => told.push(next),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    // It may have ended in this moment.
                    _ = self.child.kill();
                    told.extend(self.told.iter());
                    break;
                }
            }
        }
        _ = self.child.wait();
        told
    }
}

/// Hands over the order, and passes on each line until there are no more. A line without its end was cut off by a kill, and never told.
fn hear<T: DeserializeOwned>(
    mut stdin: ChildStdin,
    order: &[u8],
    stdout: ChildStdout,
    sender: &Sender<T>,
    ring: &impl Fn(),
) {
    // Whoever does not take its order ends without having told anything, which is seen.
    _ = stdin.write_all(order);
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).is_ok_and(|_| line.ends_with(b"\n")) {
        match serde_json::from_slice(&line) {
            Ok(told) => {
                _ = sender.send(told);
                ring();
            }
            // Its words could hold a value.
            Err(_) => tracing::debug!("a worker told something that is not understood"),
        }
        line.clear();
    }
}

/// The order of this process, which ends when nobody waits for it any more.
pub fn order<O: DeserializeOwned>() -> io::Result<O> {
    let mut lines = io::stdin().lock().lines();
    let mut next = || lines.next().transpose().map(Option::unwrap_or_default);
    let (theirs, order) = (next()?, next()?);
    let strange = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let by_hand = || strange("this command is started by `salver run`, and of no use by hand".into());
    if !theirs.is_empty() && theirs != VERSION {
        return Err(strange(format!(
            "the service that runs is salver {theirs}, and its program was replaced by salver {VERSION}; restart it"
        )));
    }
    let order = serde_json::from_str(&order).map_err(|_| by_hand())?;
    if cfg!(target_os = "linux") {
        // By the path that it was started from, `top` would call it `exe`.
        _ = std::fs::write("/proc/self/comm", "salver");
    }
    std::thread::Builder::new().name("parent".into()).spawn(|| {
        _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // Nobody hears any more. That is as good as a kill.
        std::process::exit(0);
    })?;
    Ok(order)
}

/// Tells the parent.
pub fn tell(told: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

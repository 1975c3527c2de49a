//! A short-lived child process of this very program, for work that would cost a service something
//! for ever.
//!
//! Why: once a process has opened the spool, sled keeps threads in it that wake up every second,
//! and memory that is never returned. So `salver run` never opens it; a child does, for as long as
//! there is something to do. A crash of the child does not reach the service.
//!
//! The child is a hidden command. It gets the version and its request in two lines on stdin, and
//! sends its messages as lines of JSON on stdout. Its log is the parent's stderr, in the parent's
//! form.
//!
//! Invariants:
//! - The parent waits for a worker only if it wants to: a thread hands over the request, receives
//!   the messages, and notifies the parent of each.
//! - A worker may be killed at any moment. What it reported before is durable; the next worker
//!   finds the rest.
//! - A worker does not outlive its parent: stdin stays open as long as the parent lives, and its
//!   end ends the child.
//! - Both are the same version. On Linux the child is the image that runs, even after an upgrade
//!   replaced its file. Elsewhere it is the file at the path that was started, so the version comes
//!   first, and another version refuses the request.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Grace period for a running worker when the service stops: enough to report what is done, and not
/// to wait for a network.
pub const GRACE_PERIOD: Duration = Duration::from_millis(700);

/// How a child is started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// Precede the command: how to log.
    arguments: Vec<OsString>,
}

/// A hidden command.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub command: &'static str,
    /// Completes "the process that ...".
    pub does: &'static str,
}

/// A child process that runs and sends messages of one type.
#[derive(Debug)]
pub struct Worker<T> {
    task: Task,
    child: Child,
    messages: Receiver<T>,
}

/// What has happened to a worker since it was asked last.
#[derive(Debug)]
pub enum WorkerEvent<T> {
    Message(T),
    Quiet,
    /// It has ended, and all its messages were received. The text says how, for the case that a
    /// message is missing.
    Ended(String),
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
        like_this_process(&mut child);
        child
    }
}

/// Keeps the program's usual name in a list of processes.
#[cfg(unix)]
fn like_this_process(child: &mut Command) {
    use std::os::unix::process::CommandExt;

    child.arg0(std::env::args_os().next().unwrap_or_else(|| "salver".into()));
}

/// A child of a program without a console would get a console of its own, with a window.
#[cfg(windows)]
fn like_this_process(child: &mut Command) {
    use std::io::IsTerminal;
    use std::os::windows::process::CommandExt;

    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    if !io::stderr().is_terminal() {
        child.creation_flags(CREATE_NO_WINDOW);
    }
}

impl<T: DeserializeOwned + Send + 'static> Worker<T> {
    /// Starts a child with a request. Calls `notify`, on a thread of its own, at each event. An
    /// error says in words that the child cannot be started, and why.
    pub fn start(
        program: &Program,
        task: Task,
        request: &impl Serialize,
        notify: impl Fn() + Send + 'static,
    ) -> Result<Worker<T>, String> {
        Worker::spawn(program, task, request, notify)
            .map_err(|error| format!("the process that {} cannot be started: {error}", task.does))
    }

    fn spawn(
        program: &Program,
        task: Task,
        request: &impl Serialize,
        notify: impl Fn() + Send + 'static,
    ) -> io::Result<Worker<T>> {
        let mut lines = format!("{VERSION}\n").into_bytes();
        serde_json::to_writer(&mut lines, request)?;
        lines.push(b'\n');
        let mut child = program.command(task.command).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, messages) = channel();
        let listen = move || {
            if let (Some(stdin), Some(stdout)) = (stdin, stdout) {
                listen(stdin, &lines, stdout, &sender, &notify);
            }
            drop(sender);
            notify();
        };
        let worker = Worker { task, child, messages };
        match std::thread::Builder::new().name("worker".into()).spawn(listen) {
            Ok(_) => Ok(worker),
            Err(error) => {
                worker.end(Duration::ZERO);
                Err(error)
            }
        }
    }

    /// The next event. Does not wait.
    pub fn next_event(&mut self) -> WorkerEvent<T> {
        match self.messages.try_recv() {
            Ok(message) => WorkerEvent::Message(message),
            Err(TryRecvError::Empty) => WorkerEvent::Quiet,
            Err(TryRecvError::Disconnected) => {
                let status = self.child.wait();
                let how = status.as_ref().map_or_else(ToString::to_string, ExitStatus::to_string);
                WorkerEvent::Ended(format!("the process that {} ended too early: {how}", self.task.does))
            }
        }
    }

    /// Waits at most `timeout` for its end, and kills it then. Returns the messages it sent until
    /// its end.
    pub fn end(mut self, timeout: Duration) -> Vec<T> {
        let began = Instant::now();
        let mut messages = Vec::new();
        loop {
            match self.messages.recv_timeout(timeout.saturating_sub(began.elapsed())) {
                Ok(next) => messages.push(next),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    // Fails if it has just ended.
                    _ = self.child.kill();
                    messages.extend(self.messages.iter());
                    break;
                }
            }
        }
        _ = self.child.wait();
        messages
    }
}

/// Hands over the request and passes on each line until the end. A kill may cut off the last line;
/// without its line break it is no message.
fn listen<T: DeserializeOwned>(
    mut stdin: ChildStdin,
    request: &[u8],
    stdout: ChildStdout,
    sender: &Sender<T>,
    notify: &impl Fn(),
) {
    // A child that does not take its request ends without a message, which the parent sees.
    _ = stdin.write_all(request);
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).is_ok_and(|_| line.ends_with(b"\n")) {
        match serde_json::from_slice(&line) {
            Ok(message) => {
                _ = sender.send(message);
                notify();
            }
            // The error is not logged: its text could hold a value.
            Err(_) => tracing::debug!("a worker sent a message that is not understood"),
        }
        line.clear();
    }
}

/// Reads the request to this process, which from then on ends with its parent.
pub fn request<R: DeserializeOwned>() -> io::Result<R> {
    let mut lines = io::stdin().lock().lines();
    let mut next = || lines.next().transpose().map(Option::unwrap_or_default);
    let (version, request) = (next()?, next()?);
    let refused = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let by_hand = || refused("this command is started by `salver run`, and of no use by hand".into());
    if !version.is_empty() && version != VERSION {
        return Err(refused(format!(
            "the service that runs is salver {version}, and its program was replaced by salver {VERSION}; \
             restart it"
        )));
    }
    let request = serde_json::from_str(&request).map_err(|_| by_hand())?;
    if cfg!(target_os = "linux") {
        // `top` would call it `exe`, after the path that it was started from.
        _ = std::fs::write("/proc/self/comm", "salver");
    }
    std::thread::Builder::new().name("parent".into()).spawn(|| {
        _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // The parent is gone. To end here is as good as a kill.
        std::process::exit(0);
    })?;
    Ok(request)
}

/// Sends a message to the parent.
pub fn send(message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

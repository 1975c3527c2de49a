//! A running `salver run`: a child process whose lines can be waited for, and that can be stopped or killed.
//!
//! Waiting is for a condition and never for a time: [`until`] looks again and again until the condition holds, and gives
//! up, with all that was said, only after a time in which any machine would have got there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// After so long something is broken, on however slow a machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Waits until the condition holds; panics with `what` if it never does.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_after(Duration::ZERO, what, condition);
}

/// The same for what takes so much time by itself.
fn until_after(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < time + DEADLINE, "waited in vain: {what}");
        thread::sleep(TICK);
    }
}

/// The lines of a stream, as far as they came.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        let thread = thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // A line without its end is one that a kill cut off: it was never said.
            while stream.read_until(b'\n', &mut line).is_ok_and(|_| line.ends_with(b"\n")) {
                kept.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        Lines { lines, thread }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn all(self) -> Vec<String> {
        self.thread.join().unwrap();
        self.lines.lock().unwrap().clone()
    }
}

/// A child process that runs until it is stopped; killed when it is dropped.
pub struct Service {
    child: Child,
    /// `None` once they were taken by [`Service::ended`].
    lines: Option<(Lines, Lines)>,
}

/// A process that has ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal, and what Windows gives after a kill.
    pub code: Option<i32>,
    /// Lines of stdout.
    pub stdout: Vec<String>,
    /// Lines of stderr.
    pub stderr: Vec<String>,
}

impl Service {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Service {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Service { child, lines: Some((stdout, stderr)) }
    }

    /// Starts a command to which nobody listens: both streams are pipes that are closed at the other end.
    pub fn start_unheard(command: &mut Command) -> Service {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        Service { child, lines: None }
    }

    /// What it said on stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        self.lines.as_ref().map(|(stdout, _)| stdout.lines()).unwrap_or_default()
    }

    /// What it said on stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.lines.as_ref().map(|(_, stderr)| stderr.lines()).unwrap_or_default()
    }

    /// Waits until the condition holds for what it said; panics if it never does, or if the process ends before.
    pub fn wait_for(&mut self, what: &str, condition: impl Fn(&Service) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < DEADLINE,
                "waited in vain ({ended:?}): {what}\n{}\n{}",
                self.stdout().join("\n"),
                self.stderr().join("\n")
            );
            thread::sleep(TICK);
        }
    }

    /// Waits until it stands in line for the turn to flush, which another has.
    pub fn wait_for_its_place_in_line(&mut self, spool: &Path) {
        let next = spool.join("line/flush-lock.1");
        let next = File::options().read(true).write(true).open(next).unwrap();
        self.wait_for("its place in line", |_| {
            let taken = next.try_lock().is_err();
            _ = next.unlock();
            taken
        });
    }

    /// Waits until it has said these words on stderr once more, after an edit.
    pub fn wait_for_words_after(&mut self, words: &str, edit: impl FnOnce()) {
        let before = said(&self.stderr(), words);
        edit();
        self.wait_for(words, |service| said(&service.stderr(), words) > before);
    }

    /// Waits until it has said on stderr that it recorded so many records.
    pub fn wait_for_records(&mut self, count: usize) {
        self.wait_for(&format!("{count} records"), |service| service.recorded().len() >= count);
    }

    /// The uuids of the records that it said it has recorded.
    pub fn recorded(&self) -> Vec<String> {
        uuids_in(&self.stderr())
    }

    /// How many looks found nothing to record so far. Needs `-v`, and `-vv` for those that found the bytes of the last look.
    pub fn idle_looks(&self) -> usize {
        let said_by = |words| said(&self.stderr(), words);
        said_by("nothing that is reported changed") + said_by("the files are as they were")
    }

    /// Waits for one more look that finds nothing to record, after an edit. Needs `-v`.
    pub fn wait_for_an_idle_look_after(&mut self, edit: impl FnOnce()) {
        let before = self.idle_looks();
        edit();
        self.wait_for("a look that finds nothing", |service| service.idle_looks() > before);
    }

    /// Asks it to stop as an operating system would, and waits for its end. Windows has no such signal for a process
    /// without a console of its own, so there it is killed.
    pub fn stop(mut self) -> Ended {
        if cfg!(windows) {
            return self.kill();
        }
        self.signal("TERM");
        self.ended()
    }

    /// Sends SIGHUP, as `systemctl reload` does, and waits until it has said these words on stderr once more.
    pub fn wait_for_hang_up(&mut self, words: &str) {
        let before = said(&self.stderr(), words);
        self.signal("HUP");
        self.wait_for(words, |service| said(&service.stderr(), words) > before);
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name. The shell's own `kill`: not every machine has it as a program.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", "kill -$0 $1", name, &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Ends it as `kill -9` does, in the middle of whatever it does.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Ended {
        self.ended_after(Duration::ZERO)
    }

    /// Waits for the end of a process that works for so long.
    pub fn ended_after(&mut self, time: Duration) -> Ended {
        let child = &mut self.child;
        until_after(time, "the end of a process", || child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code();
        let said = self.lines.take().map(|(stdout, stderr)| (stdout.all(), stderr.all()));
        let (stdout, stderr) = said.unwrap_or_default();
        Ended { code, stdout, stderr }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Ended {
    /// The uuids of the records that it said it has recorded.
    pub fn recorded(&self) -> Vec<String> {
        uuids_in(&self.stderr)
    }

    /// Whether it came to an end of its own before it could be killed. Windows cannot tell.
    pub fn by_itself(&self) -> bool {
        cfg!(unix) && self.code.is_some()
    }

    /// The lines of stdout that are JSON objects: the records, in a try-out.
    pub fn records(&self) -> Vec<Json> {
        let json = self.stdout.iter().filter(|line| line.starts_with('{'));
        json.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// How many lines hold these words.
pub fn said(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.contains(words)).count()
}

fn uuids_in(stderr: &[String]) -> Vec<String> {
    let recorded = stderr.iter().filter(|line| line.contains(" recorded instance="));
    recorded.filter_map(|line| Some(line.split_once("uuid=")?.1.split(' ').next()?.to_owned())).collect()
}

//! A running `salver run`, when it said what, and what the system spent on it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Ends when dropped.
pub struct Service {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

/// What a process took so far.
pub struct Spent {
    pub cpu: Duration,
    /// How often one of its threads was given the processor.
    pub wakes: u64,
    /// Bytes that it has in memory now.
    pub memory: u64,
}

impl Service {
    /// With these settings, and all that it says.
    pub fn start(settings: &Path) -> Service {
        let mut child = Command::new(env!("CARGO_BIN_EXE_salver"))
            .arg("--config")
            .arg(settings)
            .args(["-v", "run"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("salver starts");
        let stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let said = stderr.lines().map_while(Result::ok).map(|line| (Instant::now(), line));
            said.map(|line| sender.send(line)).all(|sent| sent.is_ok())
        });
        Service { child, lines }
    }

    /// Waits until it says these words; tells when it did.
    pub fn until(&mut self, words: &str) -> Instant {
        let wait = Duration::from_secs(60);
        loop {
            let (at, line) =
                self.lines.recv_timeout(wait).unwrap_or_else(|_| panic!("it never said {words:?}"));
            if line.contains(words) {
                return at;
            }
        }
    }

    /// As Linux tells it.
    pub fn spent(&self) -> Option<Spent> {
        let process = Path::new("/proc").join(self.child.id().to_string());
        let (mut cpu_ms, mut wakes) = (0.0, 0.0);
        for thread in std::fs::read_dir(process.join("task")).ok()?.flatten() {
            let spent = std::fs::read_to_string(thread.path().join("sched")).ok()?;
            let number = |name: &str| {
                let line = spent.lines().find(|line| line.starts_with(name))?;
                line.split_once(':')?.1.trim().parse::<f64>().ok()
            };
            cpu_ms += number("se.sum_exec_runtime")?;
            wakes += number("nr_switches")?;
        }
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = resident.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
        Some(Spent { cpu: Duration::from_secs_f64(cpu_ms / 1e3), wakes: wakes as u64, memory })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

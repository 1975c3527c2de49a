//! What watching costs: from a write to a durable record, and while nothing happens. `cargo bench
//! --bench watch`.
//!
//! Why this bound: whatever is done, the operating system has to tell of the write and a file has
//! to reach the disk, so that is timed beside it, in turns and on the same file system. What
//! `salver run` adds to its settle time and this bound is its own.
//!
//! The figures are of the real `salver run`. While idle it is watched for a minute, or for as long
//! as `SALVER_BENCH_SECONDS` says: 600 for the figure that counts. What the system knows of a
//! process is read from `/proc`, so these figures are Linux's only.

#[path = "watch/bound.rs"]
mod bound;
#[path = "common/report.rs"]
mod report;
#[path = "common/sample.rs"]
mod sample;
#[path = "watch/service.rs"]
mod service;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bound::Bound;
use report::line;
use service::Service;

/// As it is without a setting.
const SETTLE: Duration = Duration::from_millis(250);

const WRITES: usize = 40;

/// What each write switches on or off.
const ON: &str = "heartbeat:\n        enable: true";
const OFF: &str = "heartbeat:\n        enable: false";

fn main() {
    let disk = std::env::var_os("SALVER_BENCH_PLACE").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let place = tempfile::tempdir_in(disk).expect("the place can be written");
    report::head();
    one_file(&Site::new(&place.path().join("one"), 1));
    thousand_files(&Site::new(&place.path().join("thousand"), 1_000));
    ready(&Site::new(&place.path().join("ready"), 1));
}

/// Config files of Butler, and settings that name them.
struct Site {
    folder: PathBuf,
    text: String,
}

impl Site {
    fn new(folder: &Path, files: usize) -> Site {
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/butler/15.1.0/production.yaml");
        let text = std::fs::read_to_string(original).expect("the fixture can be read").replace("\r\n", "\n");
        let site = Site { folder: folder.to_owned(), text };
        let mut settings = "spool: {directory: spool}\ninstances:\n".to_owned();
        for number in 0..files {
            let path = site.config(number);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
            std::fs::write(&path, &site.text).expect("a config file can be written");
            settings += &format!("  - {{name: n{number}, configFile: '{}'}}\n", path.display());
        }
        std::fs::write(folder.join("salver.yaml"), settings).expect("settings can be written");
        site
    }

    /// Ten to a folder.
    fn config(&self, number: usize) -> PathBuf {
        self.folder.join(format!("config-{}/{number}.yaml", number / 10))
    }

    /// Starts `salver run`.
    fn start(&self) -> Service {
        Service::start(&self.folder.join("salver.yaml"))
    }

    /// How long it takes from a write until its record is durable.
    fn latency(&self, service: &mut Service, number: usize, on: bool) -> Duration {
        assert!(self.text.contains(ON), "the fixture has the switch");
        let text = if on { self.text.clone() } else { self.text.replacen(ON, OFF, 1) };
        std::fs::write(self.config(number), text).expect("a config file can be written");
        let written = Instant::now();
        service.until("recorded").duration_since(written)
    }
}

/// From a write to a record, and a minute of nothing.
fn one_file(site: &Site) {
    let mut service = site.start();
    service.until("recorded");
    let mut bound = Bound::new(&site.folder.join("bound"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for turn in 0..WRITES {
        theirs.push(bound.once());
        ours.push(site.latency(&mut service, 0, turn % 2 == 1));
    }
    let (ours, theirs) = (middle(&mut ours), middle(&mut theirs));
    line("from a write to its durable record", &millis(ours), "");
    line("  beyond the settle time", &millis(ours.saturating_sub(SETTLE)), "under 30 ms");
    line("  an event and fdatasync of a file, alone", &millis(theirs), "");
    idle(&service, "idle, 1 file", ["at most 2", "at most 0.05 s", "under 12 MB"]);
}

/// Many files: memory, and whether one of them is still found at once.
fn thousand_files(site: &Site) {
    let began = Instant::now();
    let mut service = site.start();
    for _ in 0..1_000 {
        service.until("recorded");
    }
    line("1000 files: until each has its first record", &millis(began.elapsed()), "");
    let mut times: Vec<_> = (0..10).map(|turn| site.latency(&mut service, 37 * turn, false)).collect();
    line("  beyond the settle time, of one of them", &millis(middle(&mut times).saturating_sub(SETTLE)), "");
    // Each poll reads all of them, so the first two have no bound.
    idle(&service, "idle, 1000 files", ["", "", "under 30 MB"]);
}

/// What a process needs while nothing happens.
fn idle(service: &Service, figure: &str, bounds: [&str; 3]) {
    // What the last record left to be done is done by then.
    std::thread::sleep(Duration::from_secs(2));
    let seconds =
        std::env::var("SALVER_BENCH_SECONDS").map_or(60, |seconds| seconds.parse().expect("a number"));
    let Some(before) = service.spent() else { return };
    std::thread::sleep(Duration::from_secs(seconds));
    let Some(after) = service.spent() else { return };
    let wakes = (after.wakes - before.wakes) as f64 / seconds as f64;
    let cpu = (after.cpu - before.cpu).as_secs_f64() * 600.0 / seconds as f64;
    line(&format!("{figure}: wake-ups a second"), &format!("{wakes:.2}"), bounds[0]);
    line(&format!("{figure}: CPU in 10 minutes"), &format!("{cpu:.3} s"), bounds[1]);
    report::memory(&format!("{figure}: memory"), Some(after.memory), bounds[2]);
}

/// From its start to its first look at a file that did not change, with a long queue.
fn ready(site: &Site) {
    let draft = sample::draft();
    sample::filled_at(salver::clock::now_ms(), &site.folder.join("spool"), &draft, 100_000);
    drop({
        let mut first = site.start();
        first.until("recorded");
        first
    });
    let mut times: Vec<_> = (0..10)
        .map(|_| {
            let began = Instant::now();
            let mut service = Service::start(&site.folder.join("salver.yaml"));
            service.until("nothing that is reported changed").duration_since(began)
        })
        .collect();
    line("ready after its start, 100000 records waiting", &millis(middle(&mut times)), "under 50 ms");
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

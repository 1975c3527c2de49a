//! What forwarding costs, each figure beside its bound: `cargo bench --bench forward`.
//!
//! Why this bound: an event has to be written as JSON and packed with gzip whatever else is done, so that is timed in memory, for
//! the same events and in the same run, and the rate of a whole drain (spool, in-flight mark, request, acknowledgement, ledger)
//! stands beside it. The server is on this machine and takes everything, so no network is in the figures.
//!
//! The records are what Butler SOS reports of its production file: about 2.7 KB of JSON each, and nearly the same.

#[path = "common/report.rs"]
mod report;
#[path = "common/sample.rs"]
mod sample;
#[path = "forward/sink.rs"]
mod sink;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use salver::clock::now_ms;
use salver::forward::flush::{self, FlushHooks, FlushTarget};
use salver::forward::plan::FlushLimits;
use salver::forward::transport::{Endpoint, EndpointSettings};
use salver::forward::wire::{self, RequestOptions};
use salver::secret::Secret;
use salver::spool::{Queued, SpoolError, SpoolFolder};
use serde_json::json;

use report::line;
use sample::filled_at;
use sink::Sink;

const RECORDS: usize = 100_000;
const BATCH: usize = 2_000;

fn main() {
    let disk = std::env::var_os("SALVER_BENCH_PLACE").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let place = tempfile::tempdir_in(disk).expect("the place can be written");
    let draft = sample::draft_of("butler-sos/15.0.0");
    let folder = filled_at(now_ms(), &place.path().join("spool"), &draft, RECORDS);
    let (json_bytes, bound) = written_and_packed(&folder);
    report::head();
    drain(&folder, bound);
    line("  an event in JSON", &format!("{json_bytes} bytes"), "");
    let folder = filled_at(now_ms(), &place.path().join("for-memory"), &draft, RECORDS);
    memory(&folder);
}

fn shape() -> RequestOptions {
    RequestOptions {
        api_key: Secret::new("phc_bench"),
        batch_bytes: 8 << 20,
        historical_after: Duration::from_secs(48 * 3600),
        geoip: false,
    }
}

/// The bound: serde_json and gzip of the events of one batch, in memory. Tells the bytes of an event and the records a second.
fn written_and_packed(folder: &SpoolFolder) -> (usize, f64) {
    let mut spool = folder.open(now_ms()).expect("the spool opens");
    let mut batch: Vec<Queued> = Vec::new();
    let more = |queued| {
        batch.push(queued);
        if batch.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let _ = spool.each(0, BATCH as u64, more).expect("the spool can be read");
    spool.close().expect("the spool closes");
    let events: Vec<_> = batch.iter().map(|queued| json!(wire::event(&queued.record, false))).collect();
    let mut times: Vec<Duration> = (0..25)
        .map(|_| {
            let started = Instant::now();
            let json = serde_json::to_vec(&events).expect("events are JSON");
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(&json).and_then(|()| gzip.finish()).expect("memory takes every write");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let length = serde_json::to_vec(&events).expect("events are JSON").len();
    (length / BATCH, BATCH as f64 / times[times.len() / 2].as_secs_f64())
}

/// Asks for nothing to be held.
struct Nobody;

impl FlushHooks for Nobody {
    fn held(&mut self) -> Result<BTreeSet<String>, SpoolError> {
        Ok(BTreeSet::new())
    }

    fn progress(&mut self, _: u64) {}
}

/// Drains a spool in this process.
fn drain(folder: &SpoolFolder, bound: f64) {
    let sink = Sink::start();
    let endpoint = Endpoint::new(&EndpointSettings {
        host: sink.url(),
        proxy: None,
        ca_file: None,
        timeout: Duration::from_secs(30),
    })
    .expect("the address is one");
    let limits = FlushLimits { batch_events: BATCH, patience: Duration::from_secs(10), records: None };
    let target = FlushTarget { folder, endpoint: &endpoint, request: shape(), limits };
    let started = Instant::now();
    let report = flush::run(&target, &mut Nobody).expect("the spool is drained");
    let rate = RECORDS as f64 / started.elapsed().as_secs_f64();
    assert_eq!((report.sent, report.remaining), (RECORDS as u64, 0), "{report:?}");
    line("records drained, with gzip", &format!("{rate:.0}/s"), "at least 50000/s");
    line("  serde_json and gzip of the same events in memory", &format!("{bound:.0}/s"), "");
    line("  of that rate", &format!("{:.2}", rate / bound), "");
    let bytes = report.wire_bytes as f64 / RECORDS as f64;
    line("on the wire for each record", &format!("{bytes:.1} bytes"), "at most 80 bytes");
}

/// The real `salver flush`, and the most memory it ever had.
fn memory(folder: &SpoolFolder) {
    let sink = Sink::start();
    let settings = folder.path.with_extension("yaml");
    let text = format!("posthog: {{host: '{}', apiKey: phc_bench}}\n", sink.url());
    std::fs::write(&settings, text).expect("settings can be written");
    let mut salver = Command::new(env!("CARGO_BIN_EXE_salver"));
    salver
        .arg("--config")
        .arg(&settings)
        .arg("--spool")
        .arg(&folder.path)
        .args(["flush", "--format", "json"]);
    report::memory("memory of salver flush", report::most_of(&mut salver), "at most 32 MB");
}

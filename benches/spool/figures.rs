//! Times and sizes.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use salver::record::{Draft, Reason};
use salver::spool::{Instance, Pin, Spool, SpoolFolder};

use crate::report::line;
use crate::sample::{INSTANCE, NOW, drafts, filled, folder};

/// Records one by one, each durable before the next, with the spool held open.
pub fn one_at_a_time(place: &Path, one: &Draft) {
    const ROUNDS: usize = 100;
    const TURN: usize = 20;
    let bytes = frame(place, one);
    let mut plain = Plain::new(&place.join("plain-one"));
    let mut sled = Sled::new(&place.join("sled-one"));
    let mut spool = folder(&place.join("one")).open(NOW).expect("the spool opens");
    let (mut theirs, mut raw, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.extend((0..TURN).map(|_| timed(|| plain.append(&bytes))));
        raw.extend((0..TURN).map(|_| timed(|| sled.insert(&bytes, 1))));
        // What is not the spool's work stays outside: making the drafts, and letting go of the
        // records.
        let mut kept = Vec::with_capacity(TURN);
        for draft in drafts(one, TURN) {
            ours.push(timed(|| kept.push(spool.record(INSTANCE, draft, Reason::Changed))));
        }
        assert!(kept.iter().all(Result::is_ok), "every record is written");
    }
    spool.close().expect("the spool closes");
    let (theirs, raw, ours) = (calm(&mut theirs), calm(&mut raw), calm(&mut ours));
    line("one durable record, spool held open", &micros(ours), "");
    line("  plain append + fdatasync of the same bytes", &micros(theirs), "");
    line("  raw sled, insert, flush + fdatasync", &micros(raw), "");
    line("  of the plain file's rate", &ratio(theirs, ours), "at least 1.00");
}

/// Many records with one sync for each hundred of them. A turn fills a segment, so that each has
/// the change to the next in it.
pub fn in_bulk(place: &Path, one: &Draft) {
    const ROUNDS: usize = 12;
    const TURN: usize = 41;
    const TOGETHER: usize = 100;
    let bytes = frame(place, one).repeat(TOGETHER);
    let mut plain = Plain::new(&place.join("plain-bulk"));
    let mut sled = Sled::new(&place.join("sled-bulk"));
    let mut spool = folder(&place.join("bulk")).open(NOW).expect("the spool opens");
    let (mut theirs, mut raw, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.extend((0..TURN).map(|_| timed(|| plain.append(&bytes))));
        raw.extend((0..TURN).map(|_| timed(|| sled.insert(&bytes, TOGETHER))));
        let mut kept = Vec::with_capacity(TURN);
        let portions: Vec<_> = (0..TURN).map(|_| drafts(one, TOGETHER)).collect();
        for portion in portions {
            ours.push(timed(|| kept.push(record_all(&mut spool, portion))));
        }
    }
    spool.close().expect("the spool closes");
    let mut segments: Vec<Duration> =
        ours.chunks(TURN).map(|turn| turn.iter().sum::<Duration>() / TURN as u32).collect();
    let rate = |times: &mut Vec<Duration>| format!("{:.0}/s", TOGETHER as f64 / calm(times).as_secs_f64());
    line("records in bulk, one sync for 100", &rate(&mut ours), "at least 120000/s");
    line("  with all that a change of segment takes", &rate(&mut segments), "");
    line("  plain append + fdatasync of the same bytes", &rate(&mut theirs), "");
    line("  raw sled, an entry a record, flush + fdatasync", &rate(&mut raw), "");
}

fn record_all(spool: &mut Spool, drafts: Vec<Draft>) -> Vec<salver::record::Record> {
    spool.record_all(INSTANCE, drafts, Reason::Changed).expect("records are written")
}

/// Opening, recording and closing, as each look of the service does it.
pub fn cycle(folder: &SpoolFolder, one: &Draft, records: usize) {
    let mut times: Vec<Duration> = drafts(one, 50)
        .into_iter()
        .map(|draft| {
            timed(|| {
                let mut spool = folder.open(NOW).expect("the spool opens");
                let written = spool.record(INSTANCE, draft, Reason::Changed);
                spool.close().expect("the spool closes");
                written.expect("the record is written")
            })
        })
        .collect();
    line(&format!("open, record, close with {records} waiting"), &millis(middle(&mut times)), "under 15 ms");
}

/// What `status` asks of the spool.
pub fn status(folder: &SpoolFolder, records: usize) {
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            timed(|| {
                let mut spool = folder.read(NOW).expect("the spool can be read");
                spool.survey().and_then(|()| spool.counts()).expect("the spool counts")
            })
        })
        .collect();
    line(&format!("read and count with {records} waiting"), &millis(middle(&mut times)), "under 5 ms");
}

/// What a commit costs with this many instances: all of them are written each time.
pub fn commit(place: &Path, instances: usize) {
    let folder = folder(&place.join(format!("commit-{instances}")));
    let instance = |number: usize| Instance {
        service: "butler".into(),
        service_version: "15.1.0".into(),
        config_files: vec![format!("/opt/butler/instance-{number}/config/production.yaml")],
        collecting: true,
        why: "consent is given".into(),
        pin: Some(Pin { id: format!("{number:064x}"), readable: None, fixed: true }),
        last_digest: Some([7; 32]),
        last_record_ms: Some(NOW),
        last_seq: Some(number as u64 + 1),
        ..Instance::default()
    };
    let mut spool = folder.open(NOW).expect("the spool opens");
    (0..instances).for_each(|number| spool.put_instance(&format!("instance-{number}"), instance(number)));
    spool.close().expect("the spool closes");
    let mut times: Vec<Duration> = (0..40)
        .map(|round| {
            let mut spool = folder.open(NOW).expect("the spool opens");
            let changed = Instance { last_record_ms: Some(NOW + round), ..instance(0) };
            spool.put_instance("instance-0", changed);
            timed(|| spool.close().expect("the spool closes"))
        })
        .collect();
    let bytes = std::fs::metadata(folder.path.join("manifest.0")).expect("the manifest is there").len();
    let measured = format!("{}, {bytes} bytes", micros(middle(&mut times)));
    line(&format!("a commit with {instances} instances"), &measured, "");
}

/// What the files of the spool take.
pub fn disk(folder: &SpoolFolder, records: usize) {
    let measured = format!("{} bytes", bytes_of(&folder.path) / records as u64);
    line(&format!("disk for each of {records} records"), &measured, "at most 760 bytes");
}

fn bytes_of(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("the spool can be listed");
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    };
    entries.flatten().map(size).sum()
}

/// The bytes that a record takes in the spool: from one frame's magic to the next, as found in the
/// file.
fn frame(place: &Path, one: &Draft) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x89SLVR\n\x02\x01";
    let folder = filled(&place.join("sample"), one, 2_000);
    let bytes = std::fs::read(folder.path.join("seg-00000001/db")).expect("the first segment can be read");
    let mut starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(MAGIC));
    let (first, second) = (starts.next(), starts.next());
    std::fs::remove_dir_all(&folder.path).expect("the sample can be removed");
    let (Some(first), Some(second)) = (first, second) else { panic!("the segment has records") };
    bytes[first..second].to_vec()
}

/// A plain file that is appended to.
struct Plain(File);

impl Plain {
    fn new(path: &Path) -> Plain {
        Plain(File::options().append(true).create(true).open(path).expect("the file can be made"))
    }

    fn append(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).and_then(|()| self.0.sync_data()).expect("the file can be written");
    }
}

/// sled as it comes, with the sync that its flush leaves out.
struct Sled {
    db: sled::Db,
    log: File,
    next: u64,
}

impl Sled {
    fn new(path: &Path) -> Sled {
        let db = sled::Config::new().path(path).flush_every_ms(None).open().expect("sled opens");
        let log = File::options().write(true).open(path.join("db")).expect("sled's log is there");
        Sled { db, log, next: 0 }
    }

    fn insert(&mut self, bytes: &[u8], records: usize) {
        for record in bytes.chunks(bytes.len() / records) {
            self.next += 1;
            self.db.insert(self.next.to_be_bytes(), record).expect("sled inserts");
        }
        self.db.flush().expect("sled flushes");
        self.log.sync_data().expect("sled's log can be synced");
    }
}

fn timed<T>(act: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    let kept = act();
    let took = started.elapsed();
    drop(kept);
    took
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What a quarter of them stayed below. Other programs only ever add to a time, so where a bound is
/// measured beside it both are taken from their calm hours: a median of a busy machine compares who
/// had to wait more.
fn calm(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 4]
}

fn micros(time: Duration) -> String {
    format!("{} us", time.as_micros())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn ratio(a: Duration, b: Duration) -> String {
    format!("{:.2}", a.as_secs_f64() / b.as_secs_f64())
}

//! What the spool costs, each figure beside its bound: `cargo bench`.
//!
//! Why bounds of the same run: the time of a sync differs from disk to disk and from minute to
//! minute by far more than anything in this program. So what can be compared is compared with a
//! plain file (append, fdatasync) on the same file system, in turns a few milliseconds apart, and
//! only the ratio counts. Limits that are absolute (a cycle, memory, disk) are printed beside what
//! was measured.
//!
//! The records are what Butler 15.1.0 reports of its production file. By default 100,000 of them
//! wait; `cargo bench -- million` measures with 1,000,000 as well, which takes some minutes and 1
//! GB of disk. Files are made below cargo's target folder, or in the folder that
//! `SALVER_BENCH_PLACE` names: on the disk that is to be measured.

#[path = "spool/figures.rs"]
mod figures;
#[path = "spool/memory.rs"]
mod memory;
#[path = "common/report.rs"]
mod report;
#[path = "common/sample.rs"]
mod sample;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, spool] = arguments.as_slice()
        && role == memory::CHILD
    {
        return memory::cycle_and_tell(Path::new(spool));
    }
    let million = arguments.iter().any(|argument| argument == "million");
    let disk = std::env::var_os("SALVER_BENCH_PLACE").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let place = tempfile::tempdir_in(disk).expect("the place can be written");
    let one = sample::draft();
    report::head();
    figures::one_at_a_time(place.path(), &one);
    figures::in_bulk(place.path(), &one);
    [1, 100, 1000].into_iter().for_each(|instances| figures::commit(place.path(), instances));
    for records in [100_000, 1_000_000] {
        if records == 1_000_000 && !million {
            println!("({records} records: cargo bench -- million)");
            continue;
        }
        let folder = sample::filled(&place.path().join(records.to_string()), &one, records);
        figures::disk(&folder, records);
        figures::cycle(&folder, &one, records);
        figures::status(&folder, records);
        memory::cycle(&folder, records);
        memory::dump(&folder, records);
    }
}

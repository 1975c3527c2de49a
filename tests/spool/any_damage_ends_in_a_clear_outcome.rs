//! Promise 10: whatever happens to whichever file of a spool, it opens and says what is gone, or refuses and says why; nearly
//! every record whose bytes are still whole in some file is saved; and nothing comes back that was delivered or purged.
//!
//! Which records are still whole is found by a look at the raw bytes that shares no code with the spool: the frames as the docs
//! of `src/spool/frame.rs` and `src/spool/frame/record.rs` draw them. `SALVER_TEST_DAMAGES` sets at how many places each file is damaged, and a tenth of it how
//! often it is cut short; before a release that is 500.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::dice::Dice;
use crate::support::drafts::draft;
use crate::support::folders::{NOW, copy, files, spool_folder, uuids_in};
use crate::support::scratch::{how_many, in_memory};
use aho_corasick::AhoCorasick;
use salver::record::BatchOutcome;
use salver::record::Reason;
use salver::spool::{Selector, SpoolFolder};

/// The part of a disk that is lost in one piece.
const PAGE: usize = 4096;

const MAGIC: &[u8] = b"\x89SLVR\n";

/// At how many places each file is damaged.
fn places() -> usize {
    how_many("SALVER_TEST_DAMAGES", 8)
}

/// A spool on disk, and what is known of it.
#[derive(Clone)]
struct Healthy {
    folder: PathBuf,
    /// In order, dead letters among them.
    waiting: Vec<String>,
    /// Delivered or purged.
    gone: BTreeSet<String>,
}

/// A spool in which everything has happened: records written in bulk and one by one, delivered, refused and purged.
fn filled(path: &Path) -> Healthy {
    let folder = spool_folder(path);
    let mut waiting = Vec::new();
    let mut gone = BTreeSet::new();
    let mut spool = folder.open(NOW).unwrap();
    for (instance, count) in [("a", 80), ("purged", 20), ("b", 30)] {
        let records = spool.record_all(instance, (0..count).map(draft).collect(), Reason::Changed).unwrap();
        let uuids = records.into_iter().map(|record| record.uuid);
        if instance == "purged" { gone.extend(uuids) } else { waiting.extend(uuids) }
    }
    spool.close().unwrap();
    for n in 0..20 {
        let mut spool = folder.open(NOW).unwrap();
        waiting.push(spool.record("a", draft(n), Reason::Changed).unwrap().uuid);
        spool.close().unwrap();
    }
    let mut spool = folder.open(NOW).unwrap();
    spool.purge(&Selector::of_instance("purged")).unwrap();
    let batch = spool.next_batch(12, &BTreeSet::new()).unwrap();
    spool.begin(&batch).unwrap();
    gone.extend(batch[..10].iter().map(|queued| queued.record.uuid.clone()));
    spool.acknowledge(&batch[..10], &BatchOutcome::Delivered).unwrap();
    spool.acknowledge(&batch[10..], &BatchOutcome::DeadLettered { words: "400 no".into() }).unwrap();
    spool.close().unwrap();
    for n in 0..5 {
        let mut spool = folder.open(NOW).unwrap();
        waiting.push(spool.record("b", draft(n), Reason::Changed).unwrap().uuid);
        spool.close().unwrap();
    }
    waiting.retain(|uuid| !gone.contains(uuid));
    Healthy { folder: path.to_owned(), waiting, gone }
}

/// The uuids of all records whose frames are whole somewhere in these files.
fn whole(folder: &Path) -> BTreeSet<String> {
    let magic = AhoCorasick::new([MAGIC]).unwrap();
    let mut found = BTreeSet::new();
    for file in files(folder) {
        let bytes = fs::read(file).unwrap();
        found.extend(magic.find_iter(&bytes).filter_map(|at| record_in(&bytes[at.start()..])));
    }
    found
}

/// The uuid of the record whose frame these bytes begin with.
fn record_in(bytes: &[u8]) -> Option<String> {
    let length = u32::from_le_bytes(bytes.get(8..12)?.try_into().unwrap()) as usize;
    let checksum = u32::from_le_bytes(bytes.get(12 + length..16 + length)?.try_into().unwrap());
    let is_record = bytes[7] == 1 && crc32fast::hash(&bytes[MAGIC.len()..12 + length]) == checksum;
    is_record.then(|| String::from_utf8(bytes[36..72].to_vec()).unwrap())
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// One bit of the byte here is turned.
    Bit(usize),
    /// The page that starts here is lost.
    Page(usize),
    /// All from here on is lost.
    Cut(usize),
    Removed,
}

impl Damage {
    fn on(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Damage::Bit(at) => bytes[at] ^= 1 << (at % 8),
            Damage::Page(at) => {
                let end = bytes.len().min(at + PAGE);
                bytes[at..end].fill(0);
            }
            Damage::Cut(at) => bytes.truncate(at),
            Damage::Removed => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }

    /// All that is tried on a file of which so much is in use.
    fn of_all_kinds(used: usize, dice: &mut Dice) -> Vec<Damage> {
        let places = if used == 0 { 0 } else { places() };
        let mut all = vec![Damage::Removed];
        for number in 0..places {
            let at = dice.roll(used);
            all.push(if number % 2 == 0 { Damage::Bit(at) } else { Damage::Page(at / PAGE * PAGE) });
        }
        all.extend((0..places.div_ceil(10)).map(|_| Damage::Cut(dice.roll(used))));
        all
    }
}

/// How many records were whole, and how many of them were saved.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    damages: usize,
    refused: usize,
    whole: usize,
    saved: usize,
}

/// Opens a spool; tells the uuids that wait, and its problems.
fn looked_at(folder: &SpoolFolder) -> Result<(Vec<String>, Vec<String>), String> {
    let mut spool = folder.open_existing(NOW).map_err(|error| error.to_string())?;
    let uuids = uuids_in(&mut spool).map_err(|error| format!("each: {error}"))?;
    let problems = spool.problems().iter().map(|problem| problem.text.clone()).collect();
    spool.close().map_err(|error| format!("close: {error}"))?;
    Ok((uuids, problems))
}

/// Damages one file of a copy, and holds what comes of it against what is known.
fn try_out(healthy: &Healthy, place: &Path, name: &Path, damage: Damage) -> Tally {
    let what = format!("{damage:?} of {}", name.display());
    _ = fs::remove_dir_all(place);
    copy(&healthy.folder, place);
    make_private(place);
    damage.on(&place.join(name));
    let whole: BTreeSet<String> = whole(place);
    let folder = spool_folder(place);
    let (left, problems) = match looked_at(&folder) {
        Ok(looked_at) => looked_at,
        Err(words) => {
            assert!(words.contains(&place.display().to_string()), "{what}: {words}");
            // Nothing may be lost by a refusal: with the file back all is as it was.
            fs::copy(healthy.folder.join(name), place.join(name)).unwrap();
            assert_eq!(looked_at(&folder), Ok((healthy.waiting.clone(), vec![])), "{what}: {words}");
            return Tally { damages: 1, refused: 1, ..Tally::default() };
        }
    };
    assert!(left.iter().all(|uuid| !healthy.gone.contains(uuid)), "{what}: what was done with came back");
    let mut expected = healthy.waiting.iter();
    assert!(left.iter().all(|uuid| expected.any(|it| it == uuid)), "{what}: strange or disordered records");
    let lost = healthy.waiting.len() - left.len();
    assert!(lost == 0 || !problems.is_empty(), "{what}: {lost} records are gone and nobody says so");
    assert_eq!(looked_at(&folder), Ok((left.clone(), problems)), "{what}: the second opening differs");
    let whole = healthy.waiting.iter().filter(|uuid| whole.contains(*uuid)).count();
    if left.len() < whole {
        println!("{what}: {whole} are whole, {} are left", left.len());
    }
    Tally { damages: 1, refused: 0, whole, saved: left.len().min(whole) }
}

#[cfg(unix)]
fn make_private(place: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place, fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

/// Runs something in a thread of its own, and fails where it does not come to an end.
fn to_the_end<T: Send + 'static>(what: String, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let acting = thread::spawn(move || _ = tell.send(act()));
    match told.recv_timeout(Duration::from_secs(60)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: it hangs"),
        Err(_) => std::panic::resume_unwind(acting.join().unwrap_err()),
    }
}

/// Damages each file in all ways, and tells what came of it.
fn damaged() -> BTreeMap<PathBuf, Tally> {
    let root = in_memory();
    let healthy = filled(&root.path().join("healthy"));
    let place = root.path().join("spool");
    let mut dice = Dice::new(7);
    let mut tallies: BTreeMap<PathBuf, Tally> = BTreeMap::new();
    for path in files(&healthy.folder) {
        let name = path.strip_prefix(&healthy.folder).unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for damage in Damage::of_all_kinds(used, &mut dice) {
            let (healthy, place, file) = (healthy.clone(), place.clone(), name.clone());
            let one = to_the_end(format!("{damage:?} of {}", name.display()), move || {
                try_out(&healthy, &place, &file, damage)
            });
            let tally = tallies.entry(name.clone()).or_default();
            tally.damages += one.damages;
            tally.refused += one.refused;
            tally.whole += one.whole;
            tally.saved += one.saved;
        }
    }
    assert!(tallies.len() >= 8, "{tallies:?}");
    tallies
}

#[test]
fn any_file_damaged_anywhere_ends_in_a_clear_outcome() {
    for (name, tally) in damaged() {
        println!("{}: {tally:?}", name.display());
        let is_marker = name.ends_with("SALVER-SPOOL");
        assert!(tally.refused == 0 || is_marker, "{}: {tally:?}", name.display());
    }
}

#[test]
fn nearly_every_record_whose_bytes_are_whole_is_saved() {
    for (name, tally) in damaged() {
        assert!(tally.saved * 100 >= tally.whole * 99, "{}: {tally:?}", name.display());
    }
}

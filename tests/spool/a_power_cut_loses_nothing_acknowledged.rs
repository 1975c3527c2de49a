//! Promises 1 and 6: what was acknowledged is on stable storage, and what was erased does not come
//! back, wherever the power fails; and a process that dies at any of its calls leaves a spool that
//! is as it was before the step, or as after it.
//!
//! A real process records, delivers, purges and lets the limits evict, and tells each step when it
//! is done. All it does to files is recorded (support/powercut.rs). Then the spool is opened as a
//! cut at one moment or another would have left it: with nothing of what was not synced, with some
//! of it, and with all of it, which is what `kill -9` leaves. What it holds is compared with what
//! had been said by then. That this can fail is tested by leaving out the syncs.
//!
//! `SALVER_TEST_CUTS` sets at how many moments the power fails; 0 is at every one.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::aftermath::wrong_with;
use crate::support::dice::Dice;
use crate::support::everything;
use crate::support::folders::{NOW, files, spool_folder};
use crate::support::posthog::PostHog;
use crate::support::powercut::disk::{Disk, Kept, Syncs};
use crate::support::powercut::{Event, Tape};
use crate::support::role::role;
use crate::support::said::Said;
use crate::support::scratch::{how_many, in_memory};
use crate::support::site::{SOS, SWITCHES, Site, flip};
use crate::support::{err, expect};

/// Tells the child where to record, and how many rounds to make.
const SPOOL: &str = "SALVER_TEST_SPOOL";
const ROUNDS: &str = "SALVER_TEST_ROUNDS";

/// At how many moments the power fails.
fn cuts() -> usize {
    how_many("SALVER_TEST_CUTS", 80)
}

// The child ---------------------------------------------------------------------------------------

/// Does everything that changes a spool, again and again.
#[test]
#[ignore = "not a test but the child that is recorded"]
fn child_that_does_everything() {
    let Some(spool) = std::env::var_os(SPOOL) else { return };
    let mut dice = Dice::new(4);
    (0..how_many(ROUNDS, 10))
        .for_each(|number| everything::round(&spool_folder(Path::new(&spool)), &mut dice, number));
}

// The one who cuts --------------------------------------------------------------------------------

/// A spool's folder as it was, and what a process did there since.
struct Taped {
    /// Where the spool is written as a cut leaves it.
    images: tempfile::TempDir,
    before: Disk,
    /// What was there before.
    said: Said,
    events: Vec<Event>,
}

/// Records what is done in a folder: `prepare` is what was there before.
fn taped(prepare: impl FnOnce(&Path) -> Said, act: impl FnOnce(&Path, &Tape)) -> Taped {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("taped");
    fs::create_dir(&place).unwrap();
    let said = prepare(&place);
    let tape = Tape::new(&place, root.path());
    let before = Disk::of(&place);
    act(&place, &tape);
    let taped = Taped { images: in_memory(), before, said, events: tape.play() };
    taped.assert_whole(&place);
    taped
}

fn make_a_spool(place: &Path) -> Said {
    spool_folder(&place.join("spool")).open(NOW).unwrap().close().unwrap();
    Said::default()
}

fn make_nothing(_: &Path) -> Said {
    Said::default()
}

/// Two segments that are full, and a third.
fn make_several_segments(place: &Path) -> Said {
    Said::of(&everything::fill(&spool_folder(&place.join("spool")), 8500))
}

/// The child at work.
fn a_child(place: &Path, tape: &Tape) {
    a_child_of(place, tape, 10);
}

fn a_child_of(place: &Path, tape: &Tape, rounds: usize) {
    let mut child = role(module_path!(), "child_that_does_everything");
    expect(tape.record(&mut child).env(SPOOL, place.join("spool")).env(ROUNDS, rounds.to_string()), 0);
}

/// The program at work, a process for each step: its end is what acknowledges.
fn the_program(place: &Path, tape: &Tape) {
    let posthog = PostHog::start();
    let site = Site::of_sos(SOS);
    let settings = format!(
        "spool: {{directory: '{}'}}\nposthog: {{host: '{}', apiKey: phc_test}}\n\
         instances: [{{name: sos, configFile: config/sos.yaml}}]\n",
        place.join("spool").display(),
        posthog.url()
    );
    site.write("salver.yaml", &settings);
    let run = |arguments: &[&str]| expect(tape.record(site.salver().args(arguments)), 0);
    let mut config = SOS.to_owned();
    for (number, (block, _)) in SWITCHES.iter().cycle().take(12).enumerate() {
        config = flip(&config, block);
        site.replace("config/sos.yaml", &config);
        tape.say("recording 1");
        let said = err(&run(&["record"]));
        let uuid = said.split_once("sos: recorded ").unwrap().1.split(' ').next().unwrap().to_owned();
        tape.say(&format!("recorded sos {uuid}"));
        match number {
            4 | 10 => {
                tape.say("purging sos");
                run(&["purge", "--instance", "sos", "--yes"]);
                tape.say("purged sos");
            }
            2 | 8 => {
                tape.say("delivering sos");
                run(&["flush"]);
                tape.say("delivered sos");
            }
            _ => {}
        }
    }
}

impl Taped {
    /// That the disk in memory, when nothing is lost, holds what the real one holds: nothing was
    /// done behind the tape's back.
    fn assert_whole(&self, real: &Path) {
        let mut disk = self.before.clone();
        self.events.iter().for_each(|event| disk.play(event));
        let image = self.images.path().join("image");
        disk.after_a_cut(&image, Kept::All);
        let names = |folder: &Path| -> Vec<PathBuf> {
            files(folder).iter().map(|it| it.strip_prefix(folder).unwrap().to_owned()).collect()
        };
        assert_eq!(names(&image), names(real));
        for name in names(real) {
            let same = fs::read(image.join(&name)).unwrap() == fs::read(real.join(&name)).unwrap();
            assert!(same, "{}", name.display());
        }
    }

    /// Cuts the power at so many moments, and tells what was wrong with the spool afterwards and
    /// where.
    fn cut(&self, moments: usize, syncs: Syncs) -> Vec<String> {
        let mut disk = self.before.clone().with(syncs);
        let mut said = self.said.clone();
        let mut wrong = Vec::new();
        let mut dice = Dice::new(moments as u64);
        for (number, event) in self.events.iter().enumerate() {
            disk.play(event);
            if let Event::Said(text) = event {
                said.hear(text);
            }
            if moments > 0 && dice.roll(self.events.len()) >= moments {
                continue;
            }
            for how in ["nothing", "all", "some"] {
                let image = self.images.path().join("image");
                _ = fs::remove_dir_all(&image);
                let mut chance = Dice::new(number as u64);
                disk.after_a_cut(
                    &image,
                    match how {
                        "nothing" => Kept::Nothing,
                        "all" => Kept::All,
                        _ => Kept::Half(&mut chance),
                    },
                );
                if let Some(what) = wrong_with(&image.join("spool"), &said, None) {
                    wrong.push(format!("after call {number} {}, {how} kept: {what}", named(event)));
                }
            }
        }
        assert!(said.acknowledged() > 10, "{} records are too few to say anything", said.acknowledged());
        wrong
    }
}

/// An event without its data.
fn named(event: &Event) -> String {
    let mut name = format!("{event:?}");
    name.truncate(90);
    name
}

fn assert_all_right(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} times, such as\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn whatever_a_disk_keeps_of_what_was_not_synced_the_spool_is_as_before_a_step_or_as_after_it() {
    assert_all_right(&taped(make_a_spool, a_child).cut(cuts(), Syncs::All));
}

#[test]
fn several_segments_are_delivered_purged_and_evicted_as_one() {
    let rounds = |place: &Path, tape: &Tape| a_child_of(place, tape, 5);
    assert_all_right(&taped(make_several_segments, rounds).cut(cuts() / 8, Syncs::All));
}

#[test]
fn a_spool_that_is_just_being_made_is_as_durable_as_an_old_one() {
    assert_all_right(&taped(make_nothing, a_child).cut(cuts() / 2, Syncs::All));
}

#[test]
fn what_the_program_did_before_it_ended_outlives_the_power() {
    assert_all_right(&taped(make_a_spool, the_program).cut(cuts() / 2, Syncs::All));
}

#[test]
fn without_the_syncs_of_files_or_of_folders_records_are_found_lost() {
    let taped = taped(make_nothing, a_child);
    for syncs in [Syncs::NotOfFiles, Syncs::NotOfFolders] {
        let wrong = taped.cut(cuts() / 4, syncs);
        let lost = wrong.iter().filter(|what| what.contains("lost") || what.contains("gone")).count();
        assert!(lost > 0, "{syncs:?}: nothing is found lost, so nothing is tested: {wrong:?}");
    }
}

/// Linux tells of a sync that failed once, and takes what was to be synced for clean: it stays in memory, where every
/// later process sees it, and no later sync writes it.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_anew_before_it_counts() {
    let root = tempfile::tempdir().unwrap();
    let images = in_memory();
    let wanted = how_many("SALVER_TEST_CUTS", 40);
    let (mut wrong, mut failures) = (Vec::new(), 0);
    for number in (1..).step_by(if wanted == 0 { 1 } else { 3 }) {
        let aside = root.path().join(number.to_string());
        let place = aside.join("taped");
        fs::create_dir_all(&place).unwrap();
        let mut said = make_a_spool(&place);
        let tape = Tape::new(&place, &aside);
        let mut disk = Disk::of(&place);
        let child = |rounds: usize| {
            let mut child = role(module_path!(), "child_that_does_everything");
            child.env(SPOOL, place.join("spool")).env(ROUNDS, rounds.to_string());
            child
        };
        let failed = tape.record_with_failing_sync(&mut child(2), number).output().unwrap();
        if failed.status.success() {
            break;
        }
        failures += 1;
        tape.say("failed");
        expect(tape.record(&mut child(2)), 0);
        for event in tape.play() {
            disk.play(&event);
            if let Event::Said(text) = event {
                said.hear(&text);
            }
        }
        let image = images.path().join("image");
        _ = fs::remove_dir_all(&image);
        disk.after_a_cut(&image, Kept::Nothing);
        let what = wrong_with(&image.join("spool"), &said, None);
        wrong.extend(what.map(|what| format!("sync {number}: {what}")));
    }
    assert!(failures > 5, "{failures} failed syncs are too few to say anything");
    assert_all_right(&wrong);
}

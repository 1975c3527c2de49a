use super::*;
use crate::spool::files::Checksum;
use crate::spool::frame::MAX_SEQ;
use crate::spool::frame::tests::record;

/// A segment of these records, each dated by its number.
fn entry(number: u64, seqs: std::ops::RangeInclusive<u64>) -> Entry {
    let mut entry = Entry { number, ..Entry::default() };
    seqs.for_each(|seq| entry.add(seq, seq as i64 * 10));
    entry
}

/// Records 1 to 3 and 4 to 6.
fn manifest() -> Manifest {
    let mut manifest = Manifest { next_seq: 1, next_segment: 1, ..Manifest::default() };
    [entry(8, 4..=6), entry(7, 1..=3)].into_iter().for_each(|entry| manifest.add_segment(entry));
    manifest
}

fn letter(words: &str) -> DeadLetter {
    DeadLetter { at_ms: Some(1), words: Some(words.into()), attempts: 1 }
}

#[test]
fn segments_stand_in_the_order_of_their_records_and_no_number_is_given_out_twice() {
    let mut manifest = manifest();
    manifest.add_segment(entry(5, 7..=7));
    let numbers: Vec<u64> = manifest.segments.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, manifest.next_segment, manifest.next_seq), (vec![7, 8, 5], 9, 8));
    assert_eq!([7, 8, 5, 6].map(|number| manifest.position(number)), [Some(0), Some(1), Some(2), None]);
    assert_eq!(
        [1, 3, 4, 7, 8].map(|seq| manifest.segment_of(seq)),
        [Some(0), Some(0), Some(1), Some(2), None]
    );
    // One without a record of its own number changes neither.
    manifest.add_segment(Entry { number: 2, ..Entry::default() });
    assert_eq!((manifest.next_segment, manifest.next_seq), (9, 8));
}

#[test]
fn a_record_is_sent_dies_lives_again_and_leaves() {
    let mut manifest = manifest();
    [2, 2, 2, 4, 5].into_iter().for_each(|seq| manifest.add_attempt(seq));
    manifest.in_flight.extend([2, 4, 5]);
    assert_eq!([1, 2, 4].map(|seq| manifest.attempts_of(seq)), [0, 3, 1]);
    assert_eq!(manifest.attempts.keys().copied().collect::<Vec<_>>(), [1, 3]);

    manifest.bury(0, 2, letter("no"));
    manifest.bury(1, 5, letter("never"));
    let of = |manifest: &Manifest, at: usize, seq| manifest.dead_letter(&manifest.segments[at], seq);
    assert_eq!((of(&manifest, 0, 2), of(&manifest, 0, 1)), (Some(letter("no")), None));
    assert_eq!(manifest.in_flight.iter().collect::<Vec<_>>(), [4]);
    let counts = |manifest: &Manifest| -> Vec<_> {
        manifest.segments.iter().map(|entry| (entry.live_count(), entry.waiting_count())).collect()
    };
    assert_eq!(counts(&manifest), [(3, 2), (3, 2)]);

    manifest.mark_done(1, 5);
    manifest.mark_done(1, 4);
    assert_eq!(counts(&manifest), [(3, 2), (1, 1)]);
    assert_eq!(manifest.segments[1].live().iter().collect::<Vec<_>>(), [6]);
    assert_eq!((manifest.segment_of(5), manifest.attempts_of(4), manifest.in_flight.len()), (None, 0, 0));
    assert_eq!(manifest.dead.keys().copied().collect::<Vec<_>>(), [2]);

    assert_eq!((manifest.revive_dead(), manifest.revive_dead()), (1, 0));
    assert_eq!((of(&manifest, 0, 2), counts(&manifest)[0], manifest.dead.len()), (None, (3, 3), 0));
}

#[test]
fn what_is_no_longer_in_the_queue_is_forgotten() {
    let mut manifest = manifest();
    for seq in [1, 4] {
        manifest.in_flight.insert(seq);
        manifest.add_attempt(seq);
    }
    manifest.add_attempt(4);
    manifest.bury(1, 6, letter("no"));
    manifest.segments.pop();
    manifest.forget_absent();
    assert_eq!((manifest.in_flight.len(), manifest.attempts.len(), manifest.dead.len()), (1, 1, 0));
    assert_eq!((manifest.attempts_of(1), manifest.attempts_of(4)), (1, 0));
}

#[test]
fn only_the_newest_words_and_problems_are_kept() {
    let mut manifest = Manifest { segments: vec![entry(1, 1..=1002)], ..Manifest::default() };
    for seq in 1..=1002 {
        manifest.bury(0, seq, letter("no"));
    }
    assert_eq!((manifest.dead.len(), manifest.dead.first_key_value().map(|(seq, _)| *seq)), (1000, Some(3)));
    assert_eq!(manifest.dead_letter(&manifest.segments[0], 1), Some(DeadLetter::default()));
    for n in 0..103 {
        manifest.add_problem(n, format!("problem {}", n / 2 * 2));
    }
    manifest.add_problem(200, "problem 102".into());
    assert_eq!((manifest.problems.len(), manifest.problems[0].at_ms), (52, 0));
    (200..300).for_each(|n| manifest.add_problem(n, format!("problem {n}")));
    assert_eq!((manifest.problems.len(), manifest.problems[0].at_ms), (100, 200));
}

#[test]
fn a_purge_is_about_what_was_recorded_before_it() {
    let purge = PendingPurge { selector: Selector::of_instance("a"), before_seq: 5 };
    let selects = |seq, instance| purge.selects(seq, &record(instance, 1), false);
    assert_eq!(
        [selects(4, "a"), selects(5, "a"), selects(6, "a"), selects(4, "b")],
        [true, false, false, false]
    );
}

#[test]
fn an_id_is_used_by_a_pin_or_by_records() {
    let mut manifest = Manifest::default();
    let pin = Some(Pin { id: "pinned".into(), readable: None, fixed: false });
    manifest.instances.insert("a".into(), Instance { pin, ..Instance::default() });
    manifest.ids.insert("recorded".into(), IdHistory::default());
    assert_eq!(["pinned", "recorded", "other"].map(|id| manifest.uses_id(id)), [true, true, false]);
}

#[test]
fn a_segment_knows_its_times_and_its_size() {
    let mut entry = entry(1, 2..=3);
    entry.add(4, 5);
    assert_eq!((entry.oldest_ms, entry.newest_ms), (5, 30));
    entry.frame_bytes = 1000;
    assert_eq!(entry.bytes(), 3000 + 128 * 1024, "no fewer than it will have");
    entry.checksum = Some(Checksum { bytes: 7, crc: 0 });
    assert_eq!(entry.bytes(), 7);
}

#[test]
fn only_numbers_that_make_sense_are_plausible() {
    type Change = fn(&mut Manifest);
    fn hold(it: &mut Manifest, count: u64) {
        it.next_seq = 10_000;
        it.segments = vec![Entry { present: (1..=count).collect(), ..Entry::default() }];
    }
    fn quarantine(it: &mut Manifest, numbers: std::ops::RangeInclusive<u64>) {
        it.next_segment = 100_002;
        it.quarantined = numbers.map(|number| Quarantined { number, at_ms: 0, bytes: 0 }).collect();
    }
    fn fill(it: &mut Manifest, count: u64) {
        it.next_segment = 100_002;
        it.segments = (1..=count).map(|number| Entry { number, ..Entry::default() }).collect();
    }
    let cases: [(Change, Change); 17] = [
        (|it| it.next_seq = MAX_SEQ, |it| it.next_seq = MAX_SEQ + 1),
        (|it| it.next_segment = MAX_SEQ, |it| it.next_segment = MAX_SEQ + 1),
        (|it| it.segments[0].number = 6, |it| it.segments[0].number = 8),
        (|it| it.next_segment = 9, |it| it.next_segment = 8),
        (|it| it.next_seq = 7, |it| it.next_seq = 6),
        (|it| it.segments[1].frame_bytes = MAX_SEQ, |it| it.segments[1].frame_bytes = MAX_SEQ + 1),
        (|it| it.segments[0].done.insert(3), |it| it.segments[0].done.insert(4)),
        (|it| it.segments[0].dead.insert(3), |it| it.segments[0].dead.insert(4)),
        (|it| it.in_flight.insert(99), |it| it.in_flight.insert(100)),
        (|it| it.in_flight.extend(11..17), |it| it.in_flight.extend(11..18)),
        (
            |it| it.attempts = [(1, [99].into_iter().collect())].into(),
            |it| {
                it.attempts = [(1, [100].into_iter().collect())].into();
            },
        ),
        (
            |it| it.segments[0].done.insert(1),
            |it| {
                it.segments[0].done.insert(1);
                it.segments[0].dead.insert(1);
            },
        ),
        (
            |it| it.segments[1].checksum = Some(Checksum { bytes: MAX_SEQ, crc: 0 }),
            |it| it.segments[1].checksum = Some(Checksum { bytes: MAX_SEQ + 1, crc: 0 }),
        ),
        (|it| hold(it, 8192), |it| hold(it, 8193)),
        (|it| quarantine(it, 2..=100_001), |it| quarantine(it, 3..=100_002)),
        (|it| quarantine(it, 1..=100_000), |it| quarantine(it, 1..=100_001)),
        (|it| fill(it, 100_000), |it| fill(it, 100_001)),
    ];
    let plausible = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = Manifest { next_seq: 100, ..manifest() };
        change(&mut manifest);
        manifest.is_plausible()
    };
    for (at, (sound, absurd)) in cases.into_iter().enumerate() {
        assert_eq!((plausible(&sound), plausible(&absurd)), (true, false), "case {at}");
    }
}

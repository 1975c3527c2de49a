//! A set of sequence numbers or times, kept as ranges.
//!
//! Why: a queue is mostly done from the front, so the numbers that are done are one range almost
//! always. Where records of a held instance stay behind while later ones leave, a few ranges say so
//! exactly; a single mark could not.
//!
//! A set that is read from disk is hostile input: one that is not sorted, or touches itself, is
//! refused, and nothing here walks through numbers without a bound that the caller has checked.

use rangemap::RangeInclusiveSet;
use serde::{Deserialize, Serialize};

/// Numbers below `u64::MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(RangeInclusiveSet<u64>);

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = &'static str;

    fn try_from(runs: Vec<(u64, u64)>) -> Result<Ranges, &'static str> {
        let is_whole = runs.iter().all(|(first, last)| first <= last && *last < u64::MAX);
        let is_sorted = runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
        if !is_whole || !is_sorted {
            return Err("ranges out of order");
        }
        Ok(Ranges(runs.into_iter().map(|(first, last)| first..=last).collect()))
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Vec<(u64, u64)> {
        ranges.runs().collect()
    }
}

impl Ranges {
    pub fn contains(&self, n: u64) -> bool {
        self.0.contains(&n)
    }

    pub fn insert(&mut self, n: u64) {
        self.0.insert(n..=n);
    }

    /// Removes a number and returns whether the set had it.
    pub fn remove(&mut self, n: u64) -> bool {
        let had = self.contains(n);
        if had {
            self.0.remove(n..=n);
        }
        had
    }

    pub fn len(&self) -> u64 {
        self.runs().map(|(first, last)| last - first + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|run| *run.start())
    }

    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|run| *run.end())
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().cloned().flatten()
    }

    /// The first and the last number of each range.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|run| (*run.start(), *run.end()))
    }

    /// The last number of the range that a number is in.
    pub fn end_of_run(&self, n: u64) -> Option<u64> {
        self.0.get(&n).map(|run| *run.end())
    }

    /// The numbers that are in this set and not in the other.
    pub fn without(&self, other: &Ranges) -> Ranges {
        let mut left = self.0.clone();
        other.0.iter().for_each(|run| left.remove(run.clone()));
        Ranges(left)
    }

    /// The numbers that are in both sets.
    pub fn within(&self, other: &Ranges) -> Ranges {
        Ranges(self.0.intersection(&other.0).collect())
    }

    /// The smallest numbers, at most `count` of them.
    pub fn take(&self, count: u64) -> Ranges {
        let mut left = count;
        let taken = self.runs().map_while(|(first, last)| {
            let end = last.min(first.saturating_add(left.checked_sub(1)?));
            left -= end - first + 1;
            Some(first..=end)
        });
        Ranges(taken.collect())
    }

    /// The numbers from `first` up to but without `end`.
    pub fn between(&self, first: u64, end: u64) -> Ranges {
        match end.checked_sub(1).filter(|last| first <= *last) {
            Some(last) => self.within(&Ranges([first..=last].into_iter().collect())),
            None => Ranges::default(),
        }
    }

    /// Joins the first two ranges and all between them, so that there is one range fewer.
    pub fn join_first_two(&mut self) {
        let mut runs = self.runs();
        if let (Some((first, _)), Some((_, last))) = (runs.next(), runs.next()) {
            drop(runs);
            self.0.insert(first..=last);
        }
    }
}

impl Extend<u64> for Ranges {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, numbers: I) {
        numbers.into_iter().for_each(|n| self.insert(n));
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges = Ranges::default();
        ranges.extend(numbers);
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_holds_the_same_numbers_as_a_plain_set_in_any_order_of_changes() {
        let mut seed = 7u64;
        for _ in 0..200 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..60 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let n = (seed >> 33) % 50;
                if seed >> 62 == 0 {
                    assert_eq!(ranges.remove(n), set.remove(&n));
                } else {
                    ranges.insert(n);
                    set.insert(n);
                }
                assert_eq!(ranges.contains(n), set.contains(&n));
            }
            assert_eq!(ranges.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            let first_five: Vec<u64> = set.iter().copied().take(5).collect();
            assert_eq!(ranges.take(5).iter().collect::<Vec<_>>(), first_five);
            let between: Vec<u64> = set.range(10..40).copied().collect();
            assert_eq!(ranges.between(10, 40).iter().collect::<Vec<_>>(), between);
            assert_eq!(ranges.len(), set.len() as u64);
            assert_eq!((ranges.first(), ranges.last()), (set.first().copied(), set.last().copied()));
            assert!(Ranges::default().is_empty() && ranges.is_empty() == set.is_empty());
            for n in 0..50 {
                let end = set.contains(&n).then(|| (n..).take_while(|n| set.contains(n)).last()).flatten();
                assert_eq!(ranges.end_of_run(n), end);
            }
            let other: Ranges = (0..seed >> 60).chain(20..30).chain([33, 35, 37]).collect();
            let without: Vec<u64> = set.iter().copied().filter(|n| !other.contains(*n)).collect();
            assert_eq!(ranges.without(&other).iter().collect::<Vec<_>>(), without);
            let within: Vec<u64> = set.iter().copied().filter(|n| other.contains(*n)).collect();
            assert_eq!(ranges.within(&other).iter().collect::<Vec<_>>(), within);
            assert!((0..50).all(|n| ranges.contains(n) == set.contains(&n)));
        }
    }

    #[test]
    fn ranges_that_are_out_of_order_are_refused() {
        for ranges in [vec![(2, 1)], vec![(1, 2), (3, 4)], vec![(5, 6), (1, 2)], vec![(0, u64::MAX)]] {
            assert!(Ranges::try_from(ranges.clone()).is_err(), "{ranges:?}");
        }
        let runs = vec![(1, 2), (4, 4)];
        assert_eq!(Ranges::try_from(runs.clone()).map(Vec::from), Ok(runs));
    }

    #[test]
    fn joining_the_first_two_keeps_every_number() {
        let mut ranges: Ranges = [1, 5, 9].into_iter().collect();
        ranges.join_first_two();
        assert_eq!(ranges.runs().collect::<Vec<_>>(), [(1, 5), (9, 9)]);
        ranges.join_first_two();
        ranges.join_first_two();
        assert_eq!(ranges.runs().collect::<Vec<_>>(), [(1, 9)]);
    }
}

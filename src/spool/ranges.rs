//! A set of sequence numbers, kept as ranges.
//!
//! Why: a queue is mostly done from the front, so the numbers that are done are one range almost
//! always. Where records of a held instance stay behind while later ones leave, a few ranges say so
//! exactly; a single mark could not.
//!
//! A set that is read from disk is hostile input: one that is not sorted, or touches itself, is
//! refused, and nothing here walks through numbers without a bound that the caller has checked.

use serde::{Deserialize, Serialize};

/// Numbers as sorted ranges with both ends included, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = &'static str;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Ranges, &'static str> {
        let is_whole = ranges.iter().all(|(first, last)| first <= last && *last < u64::MAX);
        let is_sorted = ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
        if is_whole && is_sorted { Ok(Ranges(ranges)) } else { Err("ranges out of order") }
    }
}

impl Ranges {
    pub fn contains(&self, n: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= n);
        after > 0 && n <= self.0[after - 1].1
    }

    /// Adds a number below `u64::MAX`.
    pub fn insert(&mut self, n: u64) {
        if self.contains(n) {
            return;
        }
        let at = self.0.partition_point(|(first, _)| *first <= n);
        let joins_left = at > 0 && self.0[at - 1].1 + 1 == n;
        let joins_right = at < self.0.len() && self.0[at].0 == n + 1;
        match (joins_left, joins_right) {
            (true, true) => self.0[at - 1].1 = self.0.remove(at).1,
            (true, false) => self.0[at - 1].1 = n,
            (false, true) => self.0[at].0 = n,
            (false, false) => self.0.insert(at, (n, n)),
        }
    }

    /// Removes a number and returns whether the set had it.
    pub fn remove(&mut self, n: u64) -> bool {
        if !self.contains(n) {
            return false;
        }
        let at = self.0.partition_point(|(first, _)| *first <= n) - 1;
        let (first, last) = self.0.remove(at);
        if n < last {
            self.0.insert(at, (n + 1, last));
        }
        if first < n {
            self.0.insert(at, (first, n - 1));
        }
        true
    }

    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The ranges, both ends included.
    pub fn runs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The numbers that are in this set and not in the other.
    pub fn without(&self, other: &Ranges) -> Ranges {
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for &(first, last) in &self.0 {
            let mut from = first;
            while let Some(&&(other_first, other_last)) = others.peek() {
                if other_last < from {
                    others.next();
                } else if other_first > last {
                    break;
                } else {
                    if other_first > from {
                        left.push((from, other_first - 1));
                    }
                    from = other_last + 1;
                    if other_last > last {
                        break;
                    }
                    others.next();
                }
            }
            if from <= last {
                left.push((from, last));
            }
        }
        Ranges(left)
    }

    /// The numbers that are in both sets.
    pub fn within(&self, other: &Ranges) -> Ranges {
        self.without(&self.without(other))
    }

    /// The smallest numbers, at most `count` of them.
    pub fn take(&self, count: u64) -> Ranges {
        let mut left = count;
        let mut taken = Vec::new();
        for &(first, last) in &self.0 {
            if left == 0 {
                break;
            }
            let end = last.min(first.saturating_add(left - 1));
            taken.push((first, end));
            left -= end - first + 1;
        }
        Ranges(taken)
    }

    /// The numbers from `first` up to but without `end`.
    pub fn between(&self, first: u64, end: u64) -> Ranges {
        match end.checked_sub(1).filter(|last| first <= *last) {
            Some(last) => self.within(&Ranges(vec![(first, last.min(u64::MAX - 1))])),
            None => Ranges::default(),
        }
    }

    /// Joins the first two ranges and all between them, so that there is one range fewer.
    pub fn join_first_two(&mut self) {
        if let [(_, first_end), (_, second_end), ..] = self.0.as_mut_slice() {
            *first_end = *second_end;
            self.0.remove(1);
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
            assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
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
        assert!(Ranges::try_from(vec![(1, 2), (4, 4)]).is_ok());
    }

    #[test]
    fn joining_the_first_two_keeps_every_number() {
        let mut ranges: Ranges = [1, 5, 9].into_iter().collect();
        ranges.join_first_two();
        assert_eq!(ranges.runs(), [(1, 5), (9, 9)]);
        ranges.join_first_two();
        ranges.join_first_two();
        assert_eq!(ranges.runs(), [(1, 9)]);
    }
}

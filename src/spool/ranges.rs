//! A set of sequence numbers, kept as ranges.
//!
//! Why: a queue is mostly done from the front, so the numbers that are done are one range almost always. Where records of a
//! held instance stay behind while later ones leave, a few ranges say so exactly; a mere mark could not.

use serde::{Deserialize, Serialize};

/// Sequence numbers as sorted ranges with both ends included, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether the number is in the set.
    pub fn contains(&self, n: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= n);
        after > 0 && n <= self.0[after - 1].1
    }

    /// Adds a number.
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

    /// Takes a number out; tells whether it was in.
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

    /// How many numbers are in the set.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The smallest number that is not in the other set.
    pub fn first_not_in(&self, other: &Ranges) -> Option<u64> {
        self.0.iter().find_map(|&(first, last)| {
            let after = other.0.partition_point(|(first_of_other, _)| *first_of_other <= first);
            // A range of the other set ends before a number that is not in it, as no two touch.
            let next = match after.checked_sub(1).map(|at| other.0[at].1) {
                Some(end) if end >= first => end + 1,
                _ => first,
            };
            (next <= last).then_some(next)
        })
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges = Ranges::default();
        for n in numbers {
            ranges.insert(n);
        }
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
            assert_eq!(ranges.len(), set.len() as u64);
            assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
            let other: Ranges = (0..seed >> 60).chain(20..30).collect();
            let not_in_other = set.iter().copied().find(|n| !other.contains(*n));
            assert_eq!(ranges.first_not_in(&other), not_in_other);
            assert!((0..50).all(|n| ranges.contains(n) == set.contains(&n)));
        }
    }
}

//! Whether a file has come to rest whose changes nobody announces.
//!
//! Why: on a network share a poll is the first to see a change, perhaps in the middle of a save, and no event says that it goes on. So what a
//! poll finds is believed once a second look, a settle time later, finds the same bytes. Pure.

use super::settle::RESTLESS;

/// The bytes that a poll found first, by their digest.
#[derive(Debug, Default)]
pub struct Rest {
    found: Option<[u8; 32]>,
    looks: u32,
}

impl Rest {
    /// Nobody has to look twice now.
    pub fn is_calm(&self) -> bool {
        self.found.is_none()
    }

    /// A look finds these bytes. Tells whether they are to be left alone until another look, since they are news and differ from those of the
    /// look before.
    pub fn stirs(&mut self, bytes: [u8; 32], is_news: bool) -> bool {
        let stirs = is_news && self.found != Some(bytes) && self.looks < RESTLESS;
        (self.found, self.looks) = if stirs { (Some(bytes), self.looks + 1) } else { (None, 0) };
        stirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_believed_when_they_are_seen_twice() {
        let mut rest = Rest::default();
        assert!(!rest.stirs([0; 32], false) && rest.is_calm());
        assert!(rest.stirs([1; 32], true) && !rest.is_calm());
        assert!(rest.stirs([2; 32], true), "it is being written");
        assert!(!rest.stirs([2; 32], true) && rest.is_calm());
        assert!(rest.stirs([3; 32], true));
        assert!(!rest.stirs([0; 32], false) && rest.is_calm(), "changed back");
    }

    #[test]
    fn a_file_that_never_comes_to_rest_is_believed_anyway() {
        let mut rest = Rest::default();
        let looks = (0u8..).take_while(|look| rest.stirs([*look; 32], true)).count();
        assert_eq!(looks, RESTLESS as usize);
    }
}

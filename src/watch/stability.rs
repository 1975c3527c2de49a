//! Confirms a change that no event announced by a second read.
//!
//! Why: on a network share a poll is the first to see a change, perhaps in the middle of a save,
//! and no event says that the save goes on. So what a poll found counts once a second read, one
//! settle time later, finds the same bytes. Pure.

use super::settle::MAX_SETTLE_TIMES;

/// The reads of one file, as long as they are not confirmed.
#[derive(Debug, Default)]
pub struct StableRead {
    /// Digest of the bytes that the last read found, if they have to be confirmed.
    unconfirmed: Option<[u8; 32]>,
    reads: u32,
}

impl StableRead {
    /// No read waits for its confirmation.
    pub fn is_confirmed(&self) -> bool {
        self.unconfirmed.is_none()
    }

    /// Takes in the digest of a read. Returns whether the file has to be read once more before its
    /// content counts: it is a change, and differs from the read before.
    pub fn needs_second_read(&mut self, digest: [u8; 32], is_change: bool) -> bool {
        let again = is_change && self.unconfirmed != Some(digest) && self.reads < MAX_SETTLE_TIMES;
        (self.unconfirmed, self.reads) = if again { (Some(digest), self.reads + 1) } else { (None, 0) };
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_when_they_are_read_twice() {
        let mut read = StableRead::default();
        assert!(!read.needs_second_read([0; 32], false) && read.is_confirmed());
        assert!(read.needs_second_read([1; 32], true) && !read.is_confirmed());
        assert!(read.needs_second_read([2; 32], true), "it is being written");
        assert!(!read.needs_second_read([2; 32], true) && read.is_confirmed());
        assert!(read.needs_second_read([3; 32], true));
        assert!(!read.needs_second_read([0; 32], false) && read.is_confirmed(), "changed back");
    }

    #[test]
    fn a_file_that_never_is_stable_counts_after_a_bounded_number_of_reads() {
        let mut read = StableRead::default();
        let reads = (0u8..).take_while(|byte| read.needs_second_read([*byte; 32], true)).count();
        assert_eq!(reads, MAX_SETTLE_TIMES as usize);
    }
}

//! Notices a spool that was restored, exchanged or removed under a running service.
//!
//! Why: the service keeps what it knows to be durable, so that an unchanged file costs no look.
//! That holds for one spool in one state. After a restore the same file may differ from the last
//! durable state, and no event says so. So the stamp of the spool is compared at each poll.
//!
//! A commit of another process (a flush, a purge) changes the stamp as well, and costs one worker
//! at the next poll. Pure.

use crate::spool::SpoolStamp;

/// The state of the spool that the service's knowledge belongs to.
#[derive(Debug, Default)]
pub(super) struct SpoolWatch {
    /// The inner `None` stands for "there is no spool", the outer one for "not known".
    known: Option<Option<SpoolStamp>>,
}

impl SpoolWatch {
    /// Takes in the stamp at a poll. Returns whether the knowledge of the service may not hold for
    /// this spool, so that every instance has to be compared with it.
    pub(super) fn differs(&mut self, stamp: Option<SpoolStamp>) -> bool {
        self.known.replace(stamp) != Some(stamp)
    }

    /// Takes in the stamps before and after the looks of a worker. If another process committed
    /// between the last poll and the first look, the instances that were not looked at have to be
    /// compared at the next poll.
    pub(super) fn looked(&mut self, before: Option<SpoolStamp>, after: Option<SpoolStamp>) {
        self.known = (self.known == Some(before)).then_some(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> Option<SpoolStamp> {
        Some(SpoolStamp::numbered(number))
    }

    #[test]
    fn only_commits_of_others_make_a_difference() {
        let mut watch = SpoolWatch::default();
        assert!(watch.differs(None), "nothing is known at the start");
        assert!(!watch.differs(None));
        watch.looked(None, stamp(1));
        assert!(!watch.differs(stamp(1)), "the worker's own commits");
        assert!(watch.differs(stamp(2)) && !watch.differs(stamp(2)), "a commit of another process, once");
        assert!(watch.differs(None) && watch.differs(stamp(2)), "removed, and put back");
    }

    #[test]
    fn a_restore_just_before_a_look_at_one_instance_is_noticed_for_the_others() {
        let mut watch = SpoolWatch::default();
        watch.differs(stamp(1));
        watch.looked(stamp(9), stamp(10));
        assert!(watch.differs(stamp(10)) && !watch.differs(stamp(10)));
    }
}

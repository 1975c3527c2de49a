//! The detect stage: when to look at a config file again.
//!
//! Why events only say "look again": editors replace files, containers swap symlinks, network shares send no events, queues
//! overflow, clocks and mtimes lie. So an event is never taken for a change; it starts a wait until the file has settled, and
//! then somebody looks. What counts is what the look finds. A slow poll looks without any event.
//!
//! [`settle`] decides when a target is due and is pure; [`events`] listens to the operating system. Neither knows what a
//! target is: they count them.
//!
//! Invariant: without an event nothing wakes up before the next poll.

pub mod events;
pub mod settle;

//! The detect stage: when to look at a config file again.
//!
//! Why events only say "look again": editors replace files, containers swap symlinks, network shares send no events, queues
//! overflow, clocks and mtimes lie. So an event is never taken for a change; it starts a wait until the file has settled, and
//! then somebody looks. What counts is what the look finds. A slow poll looks without any event.
//!
//! [`events`] listens to the operating system, in the folders and for the names on the [`way`] to a target's files, as the
//! [`registry`] keeps them; [`settle`] decides when a target is due. None of them knows what a target is: they count them. What differs
//! between operating systems stands in [`folder`], what they limit in [`limits`]. [`rest`] has what a poll finds looked at twice, [`patience`] says how long to be silent about what fails,
//! [`interval`] when something is due without a change; both are pure.
//!
//! Invariant: without an event that concerns a target nothing is looked at before the next poll.

pub mod events;
pub mod folder;
pub mod interval;
pub mod limits;
pub mod patience;
pub mod registry;
pub mod rest;
pub mod settle;
pub mod way;

use std::time::Duration;

/// How closely files are watched.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// How long a file must have been quiet before it is read.
    pub settle: Duration,
    /// How often each file is looked at even without events.
    pub poll: Duration,
}

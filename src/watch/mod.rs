//! The detect stage: decides when a config file has to be read again.
//!
//! Why an event only means "read again": editors replace files, containers swap symlinks, network
//! shares send no events, queues overflow, clocks and mtimes lie. So no event is taken for a
//! change. It starts a wait until the file has settled; the read that follows decides. A slow poll
//! reads without any event.
//!
//! - [`events`] listens to the operating system, in the folders and for the names on the
//!   [`path_walk`] to a file, as the [`registry`] keeps them.
//! - [`settle`] decides when a file is due.
//! - [`stability`] reads twice what a poll found first.
//! - [`quiet_retry`] spaces retries and decides when a failure is reported.
//! - [`interval`] decides when a record is due without a change.
//! - [`folder`] holds the differences between operating systems, [`error_text`] the words for their
//!   limits.
//!
//! None of them knows an instance or the settings; they handle [`watched::Watched`], a key. All but
//! [`events`] and the file-system question of [`path_walk`] are pure.
//!
//! Invariant: without an event that concerns a file, that file is not read before the next poll.

pub mod error_text;
pub mod events;
pub mod folder;
pub mod interval;
pub mod path_walk;
pub mod quiet_retry;
pub mod registry;
pub mod settle;
pub mod stability;
pub mod watched;

use std::time::Duration;

/// How closely files are watched.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// How long a file must have been quiet before it is read.
    pub settle: Duration,
    /// How often each file is looked at even without events.
    pub poll: Duration,
}

//! One look at one instance: the only place where the record stage meets the spool.
//!
//! Why level and not edge: a record is written for the difference between the file now and the last
//! durable state in the spool. So a look can be made at any time, by any process, as often as
//! wanted: a crash, a missed event or a restart loses no change, and nothing unchanged is recorded
//! twice.
//!
//! - [`Target`] is an instance with what is known to be durable of it.
//! - [`Collector`] looks at a target: it observes, compares, and records or erases.
//! - [`LookOutcome`] is the result of a look.
//! - [`Snapshot`] spares most looks after a start the opening of the spool.
//! - [`Ids`] decides on anonymous ids.
//! - `withhold` reads consent again before anything is sent.
//!
//! Invariants:
//! - The spool is opened only if the look found something that the spool may not hold yet (a better
//!   id counts), and never while waiting.
//! - Files that hold the bytes of the last look are read and hashed, and nothing else.
//! - Withdrawn consent erases the instance's records before anything else happens to them. It
//!   counts only once a second look at the settled file confirms it. A file that cannot be read
//!   erases nothing.

mod collector;
mod ids;
mod outcome;
mod seen;
mod snapshot;
mod summary;
mod target;
mod withhold;

pub use collector::{Collector, DO_NOT_TRACK, LookOptions, PAUSED};
pub use ids::Ids;
pub use outcome::{Ask, Introduction, LookOutcome, Recorded, UnreadableFiles};
pub use snapshot::Snapshot;
pub use target::Target;

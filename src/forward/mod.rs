//! The forward stage: from the spool to PostHog.
//!
//! Why three parts: what to send next and what an answer means is decided by [`plan`], which is pure; how it looks is said by
//! [`wire`] and [`gzip_body`]; how it gets there is done by [`transport`]. [`flush`] joins them with the spool, which it never holds while it waits.
//!
//! Invariants:
//! - Nothing is sent without a host and a project key that an admin wrote.
//! - A record leaves the queue only for an answer that says it is stored, or that it alone will never be taken.
//! - A retry sends the same uuid, timestamp, distinct id and event.

pub mod answer;
pub mod backoff;
pub mod flush;
pub mod gzip_body;
pub mod plan;
pub mod transport;
pub mod verdict;
pub mod wire;

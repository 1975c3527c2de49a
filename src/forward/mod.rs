//! The forward stage: batches of records, sent to PostHog.
//!
//! Why three parts: [`plan`] and [`verdict`] decide what to send next and what an answer means, and
//! are pure; [`wire`] and [`gzip_body`] write the request; [`transport`] sends it. [`flush`] is one
//! run, and the only place here that meets the spool, which it never holds while it waits.
//!
//! Invariants:
//! - Nothing is sent without a host and a project key that an admin wrote.
//! - A record leaves the queue only after an answer which says that PostHog stored it, or that
//!   PostHog will never accept this one record.
//! - A retry sends the same uuid, timestamp, distinct id and event.

pub mod answer;
pub mod backoff;
pub mod flush;
pub mod gzip_body;
pub mod plan;
pub mod transport;
pub mod verdict;
pub mod wire;

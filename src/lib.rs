//! salver: an offline-first spool-and-forward agent for the telemetry of Butler and Butler SOS.
//!
//! Why it exists: these tools keep their telemetry in memory until PostHog takes it, so an outage
//! loses it and an air-gapped server never reports at all. salver reads their config files, writes
//! the record that the tool itself would have sent to a spool on disk, and carries the spool to
//! PostHog when the network lets it, or when an admin says so.
//!
//! # Map
//!
//! Three stages, and the places where they meet:
//!
//! ```text
//!      detect               record                      spool                     forward
//!   watch/               record/                     spool/                    forward/
//!   events, settling  -> inputs -> document       -> frames in segments     -> plan, verdict,
//!        |               -> catalogue -> draft       manifest, reader          wire, transport
//!        |                   |                          |                         |
//!        '---- service/ -----'------- collect/ ---------'---- forward/flush.rs ---'
//!              (when)                 (one look)             (one run)
//! ```
//!
//! - [`watch`] says when to look at a file; it never takes an event for a change. Nobody else names
//!   notify.
//! - [`record`] turns files into a [`record::Draft`]; what is reported stands in
//!   `record/catalogue/*.yaml`.
//! - [`spool`] keeps [`record::Record`]s; the format on disk is described there. Nobody else names
//!   sled or bincode.
//! - [`forward`] decides what to send and what an answer means without I/O (`plan`, `verdict`,
//!   `backoff`), writes PostHog's JSON (`wire`, `gzip_body`), and posts it (`transport`, the only
//!   place that names ureq).
//! - [`collect`] is one look at one instance: observe, compare with the last durable state, record
//!   or erase.
//! - [`service`] holds the loop around looking, which ends when the settings change, and the one
//!   around forwarding; they meet in the spool only. A process that has opened the spool is never
//!   idle again, so `salver run` leaves that to short-lived child processes (`service/look.rs`,
//!   `service/forwarder.rs`).
//! - [`doctor`] checks each step from the config files to PostHog and changes nothing.
//! - [`cli`] is the only code that reads arguments, prints, asks or draws. One file a command.
//! - [`settings`] turns `salver.yaml`, environment and flags into one validated value, and
//!   [`wiring`] is the only place where that becomes the options of the stages.
//! - [`yaml`] is the one door through which YAML comes in; nobody else names serde_saphyr.
//!   [`read_limited`] reads the files that others write. [`rights`] knows who else may read or
//!   change what salver keeps and obeys. [`secret`] wraps the project key up to the bytes that are
//!   sent. [`clock`] reads the system clock, and reads and writes times as text.
//!
//! Imports go one way only, as a test in `tests/source` checks. Beside [`clock`] and [`secret`]:
//!
//! ```text
//! cli       imports  doctor, wiring, service and all below
//! doctor             collect, forward, settings, spool, record
//! wiring             service, collect, forward, settings, spool, record, watch
//! service            collect, forward, spool, record, watch; from settings their files
//! collect            spool, record; from settings and watch one pure function each
//! forward            record; in flush.rs the spool; from settings one pure function
//! spool              record, rights
//! settings           record, rights, read_limited, yaml
//! record             read_limited, yaml
//! ```
//!
//! # Promises
//!
//! Each has tests that try to break it.
//!
//! 1. **Acknowledged means on stable storage.** A record counts as written after a sync that covers
//!    it and everything that leads to it. A sync that failed is never made good by a later one of
//!    the same bytes.
//! 2. **Nobody holds the spool while waiting** for a network, a human or a timer. Every command
//!    works while the service runs, and what only reads takes no lock.
//! 3. **Level, not edge.** What is recorded is the difference between the file now and the last
//!    durable state of this spool, so no crash, missed event, restart or restored spool loses a
//!    change, and nothing unchanged is recorded twice.
//! 4. **At least once on the wire, once in PostHog.** uuid, timestamp, distinct id and event are
//!    fixed when a record is written, and timestamps of one id never repeat.
//! 5. **A record leaves the queue only for a reason in the ledger**, delivered and dead-lettered
//!    only on PostHog's own word. The ledger holds counts, times and reasons, never payloads.
//! 6. **Erased means gone from the disk's files**, not marked: damaged files and former ids
//!    included. A purge searches the folder at its end.
//! 7. **Only what the catalogue names can leave.** No other byte of a config file reaches the
//!    spool, the wire, a log or an error.
//! 8. **Nothing is sent before an admin wrote both a host and a key, nothing is collected without
//!    consent.** Withdrawn consent erases what is unsent; an unreadable or absent file only holds.
//! 9. **Bounded**: disk, memory, file handles, retries and every wait have limits; the oldest
//!    leaves first, and `status` shows it.
//! 10. **A damaged spool never stops the service and never lies.** Every record whose bytes are
//!     whole is saved before the damaged files are touched, and `status` says what is gone. No
//!     single byte of any file makes a spool unusable.
//!
//! # What is absent on purpose
//!
//! No async runtime: one loop that sleeps, a thread that waits to forward, and child processes that
//! do the work. No inbound socket. No compression or encryption in the spool, so that an auditor
//! can look for what must not be there with grep. No telemetry about salver itself. No name of a
//! service's feature in Rust code.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod cli;
pub mod clock;
pub mod collect;
pub mod doctor;
pub mod forward;
pub mod read_limited;
pub mod record;
pub mod rights;
pub mod secret;
pub mod service;
pub mod settings;
pub mod spool;
pub mod watch;
pub mod wiring;
pub mod yaml;

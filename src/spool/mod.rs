//! The spool: a queue on disk that cannot lose, lie or linger.
//!
//! Why a row of small databases: sled 0.34.7 was measured before this was designed. Its file never
//! shrinks, its `flush` does not reach stable storage, removing a key leaves the value's bytes in the
//! file, damage is silent and opening a damaged file makes the loss worse, only one process may have it
//! open, and walking a large one takes long. So the queue is a row of segments, each of which is
//! written, sealed, and deleted whole or written anew; sled has the last one open and no other, and a
//! reader needs no sled at all.
//!
//! # On disk
//!
//! ```text
//! spool/  SALVER-SPOOL   marker and format; nothing is touched in a folder without it  marker.rs
//!         lock           orders the processes that write; never replaced               lock.rs
//!         flush-lock     held while a batch is on the wire                             folder.rs
//!         line/          the places in which processes wait for the two                lock.rs
//!         manifest.0/.1  everything that records cannot tell; two slots, in turn       manifest.rs
//!         dedup          keyed digests of what was delivered or erased                 dedup.rs
//!         reserve        room for a purge or a flush on a full disk                    reserve.rs
//!         seg-00000017/  up to 4,096 records or 4 MiB of frames                        segment.rs
//! ```
//!
//! A record is a frame (frame.rs): magic, version, length, sequence number, time, uuid, id and instance,
//! the values, checksum. The keys that all records of a generation share are written once in each
//! segment, as a frame of their own. Values are neither compressed nor encrypted, and uuids and ids are
//! plain text, so that an auditor can check with grep what is there and what is not.
//!
//! # Invariants
//!
//! 1. A record is on stable storage (fdatasync, on Windows FlushFileBuffers) when `record` returns, and
//!    so is everything that leads to it.
//! 2. Writing a slot of the manifest is the one commit point. The older slot is the state before.
//! 3. What the manifest does not vouch for is written anew before it counts (recover.rs), and sled never
//!    opens it.
//! 4. The lock is held while acting, never while waiting for a network, a human or a timer. What only
//!    reads takes no lock and writes nothing (reader.rs).
//! 5. An error of the system is an error, never taken for damage.
//! 6. Records are never changed and sequence numbers never used twice.
//! 7. A record leaves the queue together with the ledger entry that says why.
//! 8. After a purge no file of the folder holds a uuid, an id or a value of the records it erased, except
//!    an id that its instance still uses. What is kept to recognise them (dedup.rs) tells nobody what
//!    they were.
//! 9. Every byte on disk is hostile input: no length is allocated and no number looped over before it was
//!    bounded.
//!
//! # What is absent on purpose
//!
//! No thread and no open file while idle; no compression; no index beyond the sequence number (a queue
//! is read in order); no migration from format 1, which was never released.

mod batch;
mod clock_guard;
mod codec;
mod commit;
mod dedup;
mod erase;
mod error;
mod files;
mod folder;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod ledger;
mod limit;
mod lock;
mod manifest;
mod marker;
mod notes;
mod queue;
mod ranges;
mod reader;
mod recover;
mod reserve;
mod retention;
mod search;
mod segment;
mod selector;
mod store;
mod times;

pub use erase::{Delivered, Purged, Receipt};
pub use error::SpoolError;
pub use folder::{FlushTurn, SpoolFolder};
pub use ledger::{LedgerEntry, LedgerReason};
pub use manifest::slots::SpoolStamp;
pub use manifest::{DeadLetter, FlushMemory, IdHistory, Instance, LinkState, Pin, Problem};
pub use queue::Spool;
pub use reader::{Counts, Queued, SpoolReader};
pub use retention::{RetentionStep, SpoolLimits};
pub use search::Search;
pub use selector::Selector;
pub(crate) use store::is_contained as is_contained_panic;
pub use times::is_ahead;

/// The format of the spool folder that this version writes.
pub const FORMAT: u32 = 2;

//! The spool: a queue on disk that cannot lose, lie or linger.
//!
//! Why a row of small databases: sled 0.34.7 was measured before this was designed. Its file never shrinks, its `flush`
//! does not reach stable storage, removing a key leaves the value's bytes in the file, damage is silent and opening a damaged
//! file makes the loss worse, only one process may have it open, and walking a large one takes long. So the queue is a row of
//! small databases ("segments"), each of which is written, sealed, and deleted whole or rewritten; and what a reader must be
//! able to find without sled stands in frames of our own.
//!
//! # On disk
//!
//! ```text
//! spool/  SALVER-SPOOL   marker and format; nothing is touched in a folder without it      folder.rs
//!         lock           orders the processes; never replaced                              lock.rs
//!         flush-lock     held by the one who flushes                                       folder.rs
//!         line/          the places in which processes wait for the two                    lock.rs
//!         witness        the parts as last closed, with checksums; replaced atomically     witness.rs
//!         reserve        room for a purge or a flush on a full disk                        reserve.rs
//!         identities     pinned ids and all ids ever used, once more; replaced atomically  identities.rs
//!         left           keyed digests of what was delivered or erased                     left.rs
//!         state/         sled: instances, pinned ids, what is done, dead letters, ledger   state.rs
//!         seg-00000017/  sled: up to 4,096 records or 4 MiB; only the last one is written to segment.rs
//!         seg-….damaged-…  what salvage set aside, for whoever wants to look at it         check.rs
//! ```
//!
//! A folder that cannot be written to, since it is read-only or its disk is full, is read by view.rs, from frames, witness and
//! identities alone.
//!
//! A record is a frame (frame.rs): magic, version, length, sequence number, uuid, id and instance in plain text, the
//! values, checksum. The keys that all records of a generation share stand once in each segment, as a frame of their own.
//! Values are neither compressed nor encrypted, so that an auditor can check with grep what is there and what is not. In front
//! of every value stands the version of its shape (codec.rs).
//!
//! # Invariants
//!
//! 1. A record is on stable storage (fdatasync, on Windows FlushFileBuffers) when `record` returns.
//! 2. The lock is held while acting, never while waiting for a network, a human or a timer.
//! 3. The segments are the truth and `state/` is the summary: what a crash kept out of it is taken from the records at
//!    the next opening. What the records cannot tell (done, dead, paused, ids) stands in `state/` and in the witness or
//!    `identities`.
//! 4. Records are never changed and sequence numbers never used twice.
//! 5. Before sled opens a part, its files are compared with the witness; where they differ the raw frames are read first.
//! 6. A record leaves the queue together with the ledger entry that says why.
//! 7. After a purge no file of the folder holds a uuid, an id or a value of the records it erased, except an id that its
//!    instance still uses. What is kept to know them again (left.rs) tells nobody what they were.
//!
//! # What is absent on purpose
//!
//! No thread and no open file while idle; no compression; no index beyond the sequence number (a queue is read in order);
//! no migration code, since there is one format so far.

mod batch;
mod check;
mod close;
mod codec;
mod era;
mod erase;
mod error;
mod folder;
mod frame;
mod identities;
mod ledger;
mod left;
mod limit;
mod lock;
mod memory;
mod queue;
mod ranges;
mod reconcile;
mod reserve;
mod retention;
mod sealed;
mod segment;
mod selector;
mod stamp;
mod state;
mod store;
mod view;
mod witness;

pub use batch::is_ahead;
pub use erase::{Delivered, Receipt};
pub use error::SpoolError;
pub use folder::{FlushTurn, SpoolFolder};
pub use ledger::{LedgerEntry, LedgerReason};
pub use memory::Counts;
pub use queue::{Queued, Spool};
pub use retention::{RetentionStep, SpoolLimits};
pub use selector::Selector;
pub use stamp::SpoolStamp;
pub use state::{DeadLetter, FlushMemory, IdHistory, Instance, LinkState, Pin, Problem};
pub use view::SpoolView;

/// The format of the spool folder that this version writes.
pub const FORMAT: u32 = 1;

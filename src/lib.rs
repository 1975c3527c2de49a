//! salver
pub mod cli;
pub mod clock;
pub mod collect;
pub mod forward;
pub mod forwarder;
pub mod record;
pub mod service;
pub mod settings;
pub mod spool;
pub mod stop;
pub mod watch;

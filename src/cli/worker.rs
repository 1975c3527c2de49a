//! `salver look` and `salver forward`: the workers of a running service.
//!
//! They appear in a list of processes for a moment, are not for use by hand, and take their
//! requests on stdin ([`crate::service::worker`]).

use anyhow::Result;

use super::exit::Ended;
use crate::service::{forwarder, look};

pub fn look() -> Result<Ended> {
    look::work()?;
    Ok(Ended::Done)
}

pub fn forward() -> Result<Ended> {
    forwarder::work()?;
    Ok(Ended::Done)
}

//! `salver look` and `salver forward`: what a running service starts when there is something to look at, and when it is time to forward. They show up
//! in a list of processes for a moment, are not for use by hand, and take their orders on stdin ([`crate::worker`]).

use anyhow::Result;

use super::exit::Ended;
use crate::{forwarder, look};

pub fn look() -> Result<Ended> {
    look::work()?;
    Ok(Ended::Done)
}

pub fn forward() -> Result<Ended> {
    forwarder::work()?;
    Ok(Ended::Done)
}

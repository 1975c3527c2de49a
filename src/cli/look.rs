//! `salver look`: what a running service starts when there is something to look at. It shows up in a list of processes for a moment, is not for
//! use by hand, and takes its orders on stdin ([`crate::worker`]).

use anyhow::Result;

use super::exit::Ended;
use crate::look;

pub fn run() -> Result<Ended> {
    look::work()?;
    Ok(Ended::Done)
}

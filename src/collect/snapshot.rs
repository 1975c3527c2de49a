//! The instances of the spool, read once for many looks.
//!
//! Why: most looks after a start find nothing new. A thousand unchanged instances then cost one
//! opening of the spool, not a thousand. A comparison with the snapshot is as good as a look that
//! was made when the snapshot was read.

use std::collections::BTreeMap;

use super::ids;
use crate::clock;
use crate::spool::{Instance, SpoolError, SpoolFolder};

/// The instances by their keys, as they were at one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) instances: BTreeMap<String, Instance>,
}

impl Snapshot {
    /// Reads the instances, and makes sure that they are of this host.
    pub fn read(folder: &SpoolFolder) -> Result<Snapshot, SpoolError> {
        let now_ms = clock::now_ms();
        if let Ok(spool) = folder.read(now_ms)
            && ids::is_recognised(spool.host())
        {
            return Ok(Snapshot { instances: spool.instances().clone() });
        }
        let mut spool = folder.open(now_ms)?;
        ids::recognise_host(&mut spool);
        let instances = spool.instances().clone();
        spool.close()?;
        Ok(Snapshot { instances })
    }
}

//! What the spool knew of all instances when the service started.
//!
//! Why: most starts find nothing new. A thousand instances that are as they were cost one opening of the spool then, not a thousand.
//! Each instance is compared once with this memory, which is as good as what a look a moment earlier would have left.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::notes::noted;
use super::{Collector, Introduction, Looked, Seen, ids, why_collecting};
use crate::clock;
use crate::record::observe::Report;
use crate::spool::{Instance, SpoolError, SpoolFolder};
use crate::target::Target;

/// The instances by their keys, as they were at one moment. Shared, and gone once every target was compared with it.
pub type Remembered = Arc<BTreeMap<String, Instance>>;

impl Collector {
    /// Reads what the spool knows, and makes sure that it is of this host.
    pub fn remember(&self, folder: &SpoolFolder) -> Result<Remembered, SpoolError> {
        let mut spool = folder.open(clock::now_ms())?;
        ids::recognise_host(&mut spool);
        let instances = spool.instances().clone();
        spool.close()?;
        Ok(Arc::new(instances))
    }

    /// What a look comes to that would find nothing to record and nothing to note, if that can be told without the spool.
    pub(super) fn as_remembered(&self, target: &mut Target, seen: &Seen, report: &Report) -> Option<Looked> {
        let Seen { observation, name, .. } = seen;
        let instance = target.remembered.take()?.get(name)?.clone();
        let pin = instance.pin.clone().filter(|pin| pin.fixed || !self.ids.improve_on(pin.readable))?;
        let draft = self.draft(observation, report, pin.id.clone());
        let as_noted = noted(instance.clone(), target, observation, true, why_collecting(observation));
        if instance.paused || instance != as_noted || instance.last_digest != Some(draft.digest()) {
            return None;
        }
        target.early_pin = pin.readable.filter(|_| !pin.fixed);
        target.last_record_ms = instance.last_record_ms;
        Some(Looked::Unchanged {
            name: name.clone(),
            introduction: Some(Introduction::of(pin.id, observation)),
        })
    }
}

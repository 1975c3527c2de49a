//! Decides on the anonymous ids of the instances. The record stage computes an id, the spool keeps
//! it.
//!
//! Why an id is pinned: the tools compute their id anew at each start, and it changes with an
//! address or a user; one server would be many in the charts. Why not from the first moment: a
//! service that starts before the network does, or without the right to read the firmware's UUID,
//! would keep a poor id for ever.
//!
//! Invariants:
//! - An id that was delivered, or adopted by an admin, stays with its instance.
//! - Before that, an id that was made while less could be read gives way to a better one, never the
//!   other way round. A running service notices at its polls that the network has come up.
//! - The ids belong to one host: if the spool turns out to be a copy, each instance gets an id of
//!   its own, and `status` says so. Waiting records keep the id they were written with.

use crate::clock;
use crate::record::identity::{self, Fingerprint, Identity, Readable, SystemIdSource};
use crate::record::observe::Reportable;
use crate::spool::{Instance, Pin, Spool, SpoolError, SpoolFolder};

/// Computes ids as the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// Where the system id comes from.
    pub source: SystemIdSource,
}

impl Ids {
    /// The id as computed now.
    pub fn computed(&self, report: &Reportable) -> Identity {
        identity::identify(&report.identity_host.0, self.source)
    }

    /// Whether an id that is not fixed, made under these conditions, would give way now.
    pub fn improve_on(&self, early: Option<Readable>) -> bool {
        early.is_some_and(|then| identity::identify("", self.source).readable.better_than(&then))
    }

    /// The pinned id of the instance, if it has one on this host. Changes nothing.
    pub fn pinned(&self, folder: &SpoolFolder, name: &str) -> Result<Option<Pin>, SpoolError> {
        if !folder.exists() {
            return Ok(None);
        }
        let spool = folder.read(clock::now_ms())?;
        let is_copy = spool.host().is_some_and(|host| host.rules_out(&identity::fingerprint()));
        let instance = spool.instance(name).filter(|_| !is_copy);
        Ok(instance.and_then(|instance| instance.pin.clone()))
    }

    /// The pin that the instance's next record will carry. Changes nothing.
    pub fn next(&self, folder: &SpoolFolder, name: &str, report: &Reportable) -> Result<Pin, SpoolError> {
        Ok(self.choose(self.pinned(folder, name)?, report))
    }

    /// Pins the id of the instance and returns it. Nothing is written if it is pinned already.
    pub fn pin(&self, folder: &SpoolFolder, name: &str, report: &Reportable) -> Result<Pin, SpoolError> {
        let pinned = self.pinned(folder, name)?;
        let pin = self.choose(pinned.clone(), report);
        if pinned.as_ref() == Some(&pin) {
            return Ok(pin);
        }
        let mut spool = folder.open(clock::now_ms())?;
        recognise_host(&mut spool);
        let mut instance = spool.instance(name).unwrap_or_default();
        let pin = self.pin_in(&mut instance, report);
        spool.put_instance(name, instance);
        spool.close()?;
        Ok(pin)
    }

    /// Pins an id from the tool's own log: 64 lower-case hex digits.
    pub fn adopt(&self, folder: &SpoolFolder, name: &str, id: String) -> Result<(), SpoolError> {
        let mut spool = folder.open(clock::now_ms())?;
        recognise_host(&mut spool);
        let mut instance = spool.instance(name).unwrap_or_default();
        instance.pin = Some(Pin { id, readable: None, fixed: true });
        spool.put_instance(name, instance);
        spool.close()
    }

    /// Pins the id of an instance of an open spool. The host must have been recognised before.
    pub(super) fn pin_in(&self, instance: &mut Instance, report: &Reportable) -> Pin {
        let pin = self.choose(instance.pin.take(), report);
        instance.pin.insert(pin).clone()
    }

    /// The existing pin, or a better one.
    fn choose(&self, pinned: Option<Pin>, report: &Reportable) -> Pin {
        match pinned {
            Some(pin) if pin.fixed => pin,
            pinned => better(pinned, self.computed(report)),
        }
    }
}

/// Chooses between a pin that was never delivered and the id as computed now.
fn better(pinned: Option<Pin>, now: Identity) -> Pin {
    match pinned {
        Some(pin) if pin.readable.is_none_or(|then| !now.readable.better_than(&then)) => pin,
        _ => Pin { id: now.id, readable: Some(now.readable), fixed: false },
    }
}

/// Compares this host with the one that the spool's ids belong to; drops the ids if it is another.
pub(super) fn recognise_host(spool: &mut Spool) {
    recognise(spool, &identity::fingerprint());
}

/// Whether the spool's ids belong to this host and nothing more is to be noted of it.
pub(super) fn is_recognised(host: Option<&Fingerprint>) -> bool {
    let now = identity::fingerprint();
    host.is_some_and(|known| !known.rules_out(&now) && known.learn(&now) == *known)
}

fn recognise(spool: &mut Spool, now: &Fingerprint) {
    let known = spool.host().cloned();
    if known.as_ref().is_some_and(|known| known.rules_out(now)) {
        drop_pins(spool);
        spool.put_host(now);
        return;
    }
    let learnt = known.as_ref().map_or_else(|| now.clone(), |known| known.learn(now));
    if known.as_ref() != Some(&learnt) {
        spool.put_host(&learnt);
    }
}

fn drop_pins(spool: &mut Spool) {
    let mut dropped = Vec::new();
    for (name, mut instance) in spool.instances().clone() {
        if instance.pin.take().is_some() {
            spool.put_instance(&name, instance);
            dropped.push(name);
        }
    }
    if !dropped.is_empty() {
        spool.add_problem(format!(
            "this spool was made on another machine and copied to this one: {} got an id of its own here, shown by \
             `salver id`; what waits keeps the id it was written with, and `salver purge --id` erases what belongs to \
             the other machine",
            dropped.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::record::identity::SystemIdOrigin;
    use crate::spool::SpoolLimits;

    fn identity(id: &str, network: bool, system: SystemIdOrigin) -> Identity {
        let readable = Readable { source: SystemIdSource::Auto, network, ipv4: network, system };
        Identity { id: id.to_owned(), readable }
    }

    fn host(dmi: u16) -> Fingerprint {
        serde_json::from_value(json!({ "dmi": dmi, "addresses": [1] })).unwrap()
    }

    #[test]
    fn an_id_that_was_not_delivered_gives_way_to_a_better_one_only() {
        let early = better(None, identity("early", false, SystemIdOrigin::Machine));
        assert!((early.id.as_str(), early.fixed) == ("early", false));
        let kept = better(Some(early.clone()), identity("other", false, SystemIdOrigin::Empty));
        assert_eq!(kept, early);
        let later = better(Some(kept), identity("later", true, SystemIdOrigin::Dmi));
        assert_eq!(later.id, "later");
        assert_eq!(better(Some(later.clone()), identity("early", false, SystemIdOrigin::Machine)), later);
        let adopted = Pin { id: "adopted".into(), readable: None, fixed: true };
        assert_eq!(better(Some(adopted.clone()), identity("later", true, SystemIdOrigin::Dmi)), adopted);
    }

    #[test]
    fn a_copied_spool_drops_its_pins_and_says_so_once() {
        let place = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { max_bytes: u64::MAX, max_records: u64::MAX, retention: Duration::MAX };
        let folder = SpoolFolder { path: place.path().join("spool"), limits, wait: Duration::from_secs(10) };
        let visit = |now: &Fingerprint| {
            let mut spool = folder.open(1).unwrap();
            recognise(&mut spool, now);
            let seen = (spool.instance("sos").unwrap_or_default().pin, spool.problems().len());
            let pin = Some(Pin { id: "feed".into(), readable: None, fixed: true });
            spool.put_instance("sos", Instance { pin, ..Instance::default() });
            spool.close().unwrap();
            seen
        };
        assert_eq!(visit(&host(1)), (None, 0));
        assert!(matches!(visit(&host(1)), (Some(_), 0)), "the same host");
        assert_eq!(visit(&host(2)), (None, 1), "a copy");
        assert!(matches!(visit(&host(2)), (Some(_), 1)), "at home now");
    }
}

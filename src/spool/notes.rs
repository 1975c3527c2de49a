//! What the spool notes beside the records: instances, ids, and what the other stages keep in it.

use super::manifest::{DeadLetter, FlushMemory, Instance, LinkState, Pin};
use super::queue::Spool;
use crate::record::Record;
use crate::record::identity::Fingerprint;

impl Spool {
    /// Notes what a record says of its id and its instance.
    pub(super) fn note_record(&mut self, seq: u64, record: &Record) {
        let draft = &record.draft;
        let manifest = &mut self.reader.manifest;
        let history = manifest.ids.entry(draft.id.clone()).or_default();
        if history.first_ms == 0 {
            history.first_ms = record.timestamp_ms;
        }
        history.last_ms = record.timestamp_ms;
        history.used.add(record.timestamp_ms);
        if !history.instances.contains(&record.instance) {
            history.instances.insert(record.instance.clone());
        }
        if !manifest.instances.contains_key(&record.instance) {
            manifest.instances.insert(record.instance.clone(), Instance::default());
        }
        let Some(instance) = manifest.instances.get_mut(&record.instance) else { return };
        instance.service.clone_from(&draft.layout.service);
        instance.service_version.clone_from(&draft.service_version);
        instance.last_record_ms = Some(record.timestamp_ms);
        instance.last_seq = Some(seq);
        // Only where the manifest was lost there is no pin; then the id of the records is the one to keep.
        instance.pin.get_or_insert_with(|| Pin { id: draft.id.clone(), readable: None, fixed: true });
        self.undigested.insert(record.instance.clone(), draft.clone());
    }

    /// Computes the digests that are still missing.
    pub(super) fn digest(&mut self) {
        for (name, draft) in std::mem::take(&mut self.undigested) {
            if let Some(instance) = self.manifest.instances.get_mut(&name) {
                instance.last_digest = Some(draft.digest());
            }
        }
    }

    /// What is remembered of an instance.
    pub fn instance(&mut self, name: &str) -> Option<Instance> {
        self.digest();
        self.manifest.instances.get(name).cloned()
    }

    /// Remembers an instance. A pause is in both slots of the manifest before it is reported.
    pub fn put_instance(&mut self, name: &str, instance: Instance) {
        self.undigested.remove(name);
        let before = self.manifest.instances.insert(name.to_owned(), instance);
        let was_paused = before.is_some_and(|before| before.paused);
        self.into_both_slots |= was_paused != self.manifest.instances[name].paused;
    }

    /// Notes the host that the pinned ids belong to.
    pub fn put_host(&mut self, host: &Fingerprint) {
        self.manifest.host = Some(host.clone());
    }

    /// What the forwarder remembers.
    pub fn flush_memory_mut(&mut self) -> &mut FlushMemory {
        &mut self.reader.manifest.flush
    }

    /// Remembers the link to the host.
    pub fn put_link_state(&mut self, link: LinkState) {
        self.manifest.link = link;
    }

    /// Notes something that an admin should know of.
    pub fn add_problem(&mut self, text: String) {
        let now_ms = self.now_ms;
        self.manifest.add_problem(now_ms, text);
    }

    /// Notes that an admin has seen the problems.
    pub fn acknowledge_problems(&mut self) {
        self.manifest.problems.clear();
    }

    /// A dead letter of now.
    pub(super) fn dead_letter_of(&self, seq: u64, words: &str) -> DeadLetter {
        let attempts = self.manifest.attempts_of(seq).max(1);
        DeadLetter { at_ms: Some(self.now_ms), words: Some(words.to_owned()), attempts }
    }

    /// Notes that an id was delivered: from now on it stays with its instance.
    pub(super) fn note_delivered(&mut self, instance: &str, id: &str) {
        let now_ms = self.now_ms;
        let manifest = &mut self.reader.manifest;
        let history = manifest.ids.entry(id.to_owned()).or_default();
        history.delivered_ms = Some(now_ms);
        let pin = manifest.instances.get_mut(instance).and_then(|instance| instance.pin.as_mut());
        if let Some(pin) = pin.filter(|pin| pin.id == id) {
            pin.fixed = true;
        }
    }
}

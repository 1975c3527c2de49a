//! What the service watches, with the reads that are not confirmed and the faults at this moment.

use crate::collect::{Target, UnreadableFiles};
use crate::record::inputs::{self, Inputs};
use crate::settings;
use crate::watch::events::{Events, WatchTarget};
use crate::watch::quiet_retry::QuietRetry;
use crate::watch::stability::StableRead;
use crate::watch::watched::Watched;

pub(super) struct WatchedInstance {
    pub target: Target,
    stability: StableRead,
    /// Reads that failed.
    pub read_retry: QuietRetry,
    /// Looks that failed.
    pub look_retry: QuietRetry,
    /// The files, while they cannot be read.
    pub unreadable: Option<UnreadableFiles>,
}

/// The settings file and the files that it names.
pub(super) struct WatchedSettings {
    inputs: settings::SettingsInputs,
    /// Digest of the bytes that the settings in force were read from.
    pub in_force: [u8; 32],
    stability: StableRead,
    /// Settings that were refused.
    pub retry: QuietRetry,
}

impl WatchedInstance {
    pub(super) fn new(target: Target) -> WatchedInstance {
        WatchedInstance {
            target,
            stability: StableRead::default(),
            read_retry: QuietRetry::default(),
            look_retry: QuietRetry::default(),
            unreadable: None,
        }
    }

    /// Reads the files, once the paths to them are watched, and returns the digest of their bytes;
    /// `None` if a second read has to confirm them.
    pub(super) fn read(&mut self, index: usize, events: &mut Events, is_poll: bool) -> Option<[u8; 32]> {
        let subject = &self.target.subject;
        let files: Vec<_> = inputs::files(subject).into_iter().map(WatchTarget::File).collect();
        events.follow(Watched::Instance(index), &files);
        let digest = Inputs::read(subject).digest;
        let changed = self.target.has_changed(&digest);
        confirmed(&mut self.stability, digest, changed, is_poll).then_some(digest)
    }

    /// Forgets what the spool was known to hold.
    pub(super) fn forget_spool(&mut self) {
        self.target.forget_spool();
        if let Some(files) = &mut self.unreadable {
            files.noted = false;
        }
    }
}

impl WatchedSettings {
    pub(super) fn new(inputs: settings::SettingsInputs, in_force: [u8; 32]) -> WatchedSettings {
        let (stability, retry) = (StableRead::default(), QuietRetry::default());
        WatchedSettings { inputs, in_force, stability, retry }
    }

    /// Reads the files, once the paths to them are watched. Returns whether they differ from those
    /// in force; `None` if a second read has to confirm that.
    pub(super) fn read(&mut self, events: &mut Events, is_poll: bool) -> Option<bool> {
        let files = self.inputs.files().map(|file| WatchTarget::File(file.to_owned()));
        let folders = self.inputs.folders().map(|folder| WatchTarget::Folder(folder.to_owned()));
        events.follow(Watched::Settings, &files.chain(folders).collect::<Vec<_>>());
        let digest = self.inputs.digest();
        let changed = digest != self.in_force;
        confirmed(&mut self.stability, digest, changed, is_poll).then_some(changed)
    }
}

/// Whether a read counts. After an event it does, as the settle time is over; a change that a poll
/// finds has to be read twice.
fn confirmed(stability: &mut StableRead, digest: [u8; 32], changed: bool, is_poll: bool) -> bool {
    let after_event = !is_poll && stability.is_confirmed();
    after_event || !stability.needs_second_read(digest, changed)
}

//! The operating system's events, reduced to "something may have happened to these targets". This and
//! [`limits`] are the only places that name notify.
//!
//! Folders are watched, not files: an editor that renames a new file over the old one would end a watch on the file. Which folders,
//! and for which names, [`way`] says; the [`registry`](super::registry) knows what an event about one means.
//!
//! Invariants:
//! - Whoever follows a target's way before looking at it misses nothing: what happens after the watch is set gives an event,
//!   what happened before is seen by the look.
//! - Where events were lost, or may have been, everything is touched and every watch is set anew.
//! - Nothing depends on events: without any, because a limit is reached or there is no watcher at all, the polls find everything. That is
//!   said once, with the remedy, and once more when events come again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::folder::{FolderId, NEAR};
use super::limits;
use super::registry::{Registry, Stop, Touched};
use super::way;

/// Watching sets off from anew so often if the way changes under its feet; the events that this gives do the rest.
const TRIES: usize = 3;

/// What a target depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, or nothing yet.
    File(PathBuf),
    /// Every file in a folder.
    Folder(PathBuf),
}

/// Listens as long as it lives.
pub struct Events {
    watcher: Option<RecommendedWatcher>,
    registry: Arc<Mutex<Registry>>,
    touch: Arc<dyn Fn(Touched) + Send + Sync>,
    /// What was said about limits, and whether it still holds by the pass that goes on.
    trouble: Option<String>,
    troubled: bool,
}

impl Events {
    /// Calls `touch`, on a thread of its own, with the targets to which something may have happened.
    pub fn new(touch: impl Fn(Touched) + Send + Sync + 'static) -> Events {
        Events {
            watcher: None,
            registry: Arc::default(),
            touch: Arc::new(touch),
            trouble: None,
            troubled: false,
        }
    }

    /// A pass over all targets begins: what did not work before is tried again.
    pub fn begin_pass(&mut self) {
        self.troubled = false;
        if self.watcher.is_none() {
            let (registry, touch) = (Arc::clone(&self.registry), Arc::clone(&self.touch));
            match notify::recommended_watcher(move |event| hear(event, &registry, &*touch)) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => self.complain(limits::of_watcher(&error)),
            }
        }
    }

    /// The pass is over.
    pub fn end_pass(&mut self) {
        if !self.troubled && self.trouble.take().is_some() {
            tracing::info!("changes are noticed at once again");
        }
    }

    /// Watches the way to the places of a target as it is now. To be called before each look at the target.
    pub fn follow(&mut self, target: usize, places: &[Place]) {
        for _ in 0..TRIES {
            if self.watcher.is_none() {
                return;
            }
            // Not while watching is asked for: the thread that would do it may be waiting for the lock.
            let plan = lock(&self.registry).follow(target, stops(places));
            for folder in &plan.drop {
                // That it is not watched any more is what is wanted.
                _ = self.watcher.as_mut().map(|watcher| watcher.unwatch(folder));
            }
            let failed = plan.watch.iter().filter(|folder| !self.listen(folder)).count();
            if plan.watch.is_empty() || failed > 0 {
                return;
            }
        }
    }

    fn listen(&mut self, folder: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) else { return true };
        lock(&self.registry).failed(folder);
        match &error.kind {
            // Gone in this moment; the folder above tells more.
            _ if !folder.exists() => {}
            ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
                tracing::debug!(folder = %folder.display(), "no events here, as it may not be read; polling goes on");
            }
            _ => self.complain(limits::of_watch(&error, folder)),
        }
        false
    }

    fn complain(&mut self, text: String) {
        self.troubled = true;
        if self.trouble.is_none() {
            tracing::warn!("{text}");
        }
        self.trouble = Some(text);
    }
}

fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    // Whatever a panic left half changed is no worse than a lost event.
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an event, or the failure to hear one, means.
fn hear(
    event: notify::Result<notify::Event>,
    registry: &Mutex<Registry>,
    touch: &(dyn Fn(Touched) + Send + Sync),
) {
    let mut registry = lock(registry);
    let touched: Touched = match event {
        Ok(event) if event.need_rescan() => registry.lose_all(),
        Ok(event) if is_silent(&event.kind) => return,
        Ok(event) => {
            let moved = moves(&event.kind);
            event.paths.iter().flat_map(|path| registry.touched_by(path, moved)).collect()
        }
        Err(_) => registry.lose_all(),
    };
    drop(registry);
    if !touched.is_empty() {
        touch(touched);
    }
}

/// Reading a file, and looking at its attributes, is no change; it would have us look again because we looked.
fn is_silent(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

/// Whether what stands there may be another file or folder than before.
fn moves(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)))
}

/// The folders on the way to all places, as far as they are near enough.
fn stops(places: &[Place]) -> BTreeSet<Stop> {
    places.iter().flat_map(stops_to).collect()
}

fn stops_to(place: &Place) -> Vec<Stop> {
    let (path, folder) = match place {
        Place::File(path) => (path, None),
        Place::Folder(path) => (path, Some(path)),
    };
    let steps = way::walk(path, way::on_disk);
    let far = steps.len().saturating_sub(NEAR);
    let near = steps.into_iter().enumerate().filter(|(number, step)| *number >= far || step.link);
    let stops = near.filter_map(|(_, step)| {
        Some(Stop { id: FolderId::of(&step.folder)?, path: step.folder, name: Some(step.name) })
    });
    let any = folder.and_then(|path| path.canonicalize().ok());
    let any = any.and_then(|path| Some(Stop { id: FolderId::of(&path)?, path, name: None }));
    stops.chain(any).collect()
}

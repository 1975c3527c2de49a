//! Turns the operating system's events into "these files have to be read". This and [`error_text`]
//! are the only places that name notify.
//!
//! Folders are watched, not files: an editor that renames a new file over the old one would end a
//! watch on the file. [`path_walk`] tells the folders and the names in them; the
//! [`registry`](super::registry) knows the meaning of an event about one.
//!
//! Invariants:
//! - A caller that follows the path to a file before each read misses nothing: a change after the
//!   watch was set gives an event, a change before it is seen by the read.
//! - Where events were lost, or may have been, everything is read and every watch is set anew.
//! - Nothing depends on events. Without any, because a limit is reached or there is no watcher, the
//!   polls find every change. That is logged once, with the remedy, and once more when events work
//!   again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::error_text;
use super::folder::{FolderId, NEAR, is_crowded};
use super::path_walk;
use super::registry::{Registry, Touched, WatchPoint};
use super::watched::Watched;

/// How often watching starts over while the path changes under it. The events of a change that
/// comes later start it again anyway.
const TRIES: usize = 3;

/// A place in the file system where a change matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchTarget {
    /// A file, which may not exist yet.
    File(PathBuf),
    /// Every file in a folder.
    Folder(PathBuf),
}

/// A watcher, and what it watches. Listens until it is dropped.
pub struct Events {
    watcher: Option<RecommendedWatcher>,
    registry: Arc<Mutex<Registry>>,
    touch: Arc<dyn Fn(Touched) + Send + Sync>,
    /// Why events are missing, as it was logged last.
    logged_fault: Option<String>,
    /// Whether the current pass met a fault.
    pass_has_fault: bool,
}

impl Events {
    /// Calls `touch`, on the watcher's thread, with what has to be read.
    pub fn new(touch: impl Fn(Touched) + Send + Sync + 'static) -> Events {
        Events {
            watcher: None,
            registry: Arc::default(),
            touch: Arc::new(touch),
            logged_fault: None,
            pass_has_fault: false,
        }
    }

    /// Begins a pass over everything that is watched. Retries what failed in the last one.
    pub fn begin_pass(&mut self) {
        self.pass_has_fault = false;
        if self.watcher.is_none() {
            let (registry, touch) = (Arc::clone(&self.registry), Arc::clone(&self.touch));
            match notify::recommended_watcher(move |event| handle(event, &registry, &*touch)) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => self.fault(error_text::of_watcher(&error)),
            }
        }
    }

    /// Ends the pass; logs if all events work again.
    pub fn end_pass(&mut self) {
        if !self.pass_has_fault && self.logged_fault.take().is_some() {
            tracing::info!("changes are noticed at once again");
        }
    }

    /// Watches the paths to `targets` as they are now. To be called before each read.
    pub fn follow(&mut self, watched: Watched, targets: &[WatchTarget]) {
        for _ in 0..TRIES {
            if self.watcher.is_none() {
                return;
            }
            // The lock is released before notify is called: its thread may be waiting for it.
            let plan = lock(&self.registry).follow(watched, points(targets));
            for folder in &plan.drop {
                // An error means that there is no such watch, which is the aim.
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
            // Removed a moment ago; the watch on the folder above reports what follows.
            _ if !folder.exists() => {}
            ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
                tracing::debug!(folder = %folder.display(), "no events here, as it may not be read; polling goes on");
            }
            _ => self.fault(error_text::of_watch(&error, folder)),
        }
        false
    }

    fn fault(&mut self, text: String) {
        self.pass_has_fault = true;
        if self.logged_fault.is_none() {
            tracing::warn!("{text}");
        }
        self.logged_fault = Some(text);
    }
}

fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    // A half-finished change that a panic left is no worse than a lost event.
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles an event, or the failure to receive one.
fn handle(
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

/// Reading a file or its attributes is no change; taken for one, each read would cause the next.
fn is_silent(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

/// Whether the path may lead to another file or folder than before.
fn moves(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)))
}

/// The folders to watch for these targets.
fn points(targets: &[WatchTarget]) -> BTreeSet<WatchPoint> {
    targets.iter().flat_map(points_to).collect()
}

/// The folders nearest to the target, and those with links on the path to it.
fn points_to(target: &WatchTarget) -> Vec<WatchPoint> {
    let (path, folder) = match target {
        WatchTarget::File(path) => (path, None),
        WatchTarget::Folder(path) => (path, Some(path)),
    };
    let steps = path_walk::walk(path, path_walk::on_disk);
    let (last, far) = (steps.len().saturating_sub(1), steps.len().saturating_sub(NEAR));
    let near = steps.into_iter().enumerate().filter(|(number, step)| {
        step.link || *number == last || (*number >= far && !is_crowded(&step.folder))
    });
    let points = near.filter_map(|(_, step)| {
        Some(WatchPoint { id: FolderId::of(&step.folder)?, path: step.folder, name: Some(step.name) })
    });
    let any = folder.and_then(|path| path.canonicalize().ok());
    let any = any.and_then(|path| Some(WatchPoint { id: FolderId::of(&path)?, path, name: None }));
    points.chain(any).collect()
}

//! The operating system's events, reduced to "something may have happened to these targets".
//!
//! Parent folders are watched, not files: an editor that renames a new file over the old one would end a watch on the file. Where
//! a config file is a symlink, the folders of every link on the way are watched as well (Kubernetes swaps `..data`). Folders that
//! do not exist yet are tried again at each poll. Limits of the operating system are named once, with the remedy; the poll
//! goes on without events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// What is sent for an event: the targets to look at.
pub type Touched = BTreeSet<usize>;

/// Which targets a folder matters to.
type Folders = Arc<Mutex<BTreeMap<PathBuf, Touched>>>;

/// Listens as long as it lives.
pub struct Events {
    watcher: Option<RecommendedWatcher>,
    folders: Folders,
    all: Touched,
    complained: bool,
}

impl Events {
    /// Starts to listen, and sends what happens through `wrap` to `sender`.
    pub fn new<T: Send + 'static>(
        targets: usize,
        sender: Sender<T>,
        wrap: impl Fn(Touched) -> T + Send + 'static,
    ) -> Events {
        let folders = Folders::default();
        let all: Touched = (0..targets).collect();
        let seen = Arc::clone(&folders);
        let everything = all.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let touched = match event {
                Ok(event) if event.need_rescan() => everything.clone(),
                Ok(event) if is_silent(&event.kind) => return,
                Ok(event) => touched_by(&event.paths, &seen),
                // What was missed is not known: everything is looked at.
                Err(_) => everything.clone(),
            };
            if !touched.is_empty() {
                // The receiver is gone only when the service ends.
                _ = sender.send(wrap(touched));
            }
        });
        let mut events = Events { watcher: None, folders, all, complained: false };
        match watcher {
            Ok(watcher) => events.watcher = Some(watcher),
            Err(error) => events.complain(&error, Path::new("")),
        }
        events
    }

    /// Watches all folders on the way to `files` of a target that are not watched yet.
    pub fn watch(&mut self, target: usize, files: &[PathBuf]) {
        for folder in files.iter().flat_map(|file| folders_of(file)) {
            if self.listen(&folder) {
                let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
                // macOS names the real path in its events, whatever path was asked for.
                if let Ok(real) = folder.canonicalize() {
                    folders.entry(real).or_default().insert(target);
                }
                folders.entry(folder).or_default().insert(target);
            }
        }
    }

    /// Whether a folder is watched, from now on if need be.
    fn listen(&mut self, folder: &Path) -> bool {
        if self.folders.lock().unwrap_or_else(PoisonError::into_inner).contains_key(folder) {
            return true;
        }
        if !folder.is_dir() {
            return false;
        }
        match self.watcher.as_mut().map(|watcher| watcher.watch(folder, RecursiveMode::NonRecursive)) {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.complain(&error, folder);
                false
            }
            None => false,
        }
    }

    /// All targets.
    pub fn all(&self) -> &Touched {
        &self.all
    }

    fn complain(&mut self, error: &notify::Error, folder: &Path) {
        if std::mem::replace(&mut self.complained, true) {
            return;
        }
        let remedy = match error.kind {
            notify::ErrorKind::MaxFilesWatch => {
                "the limit of inotify watches is reached; raise it with `sysctl fs.inotify.max_user_watches=524288`"
            }
            _ if cfg!(target_os = "linux") => {
                "if a limit is reached, raise it with `sysctl fs.inotify.max_user_instances=1024`"
            }
            _ => "changes there are seen at the next poll",
        };
        tracing::warn!(folder = %folder.display(), "no events for a folder, polling goes on: {error}; {remedy}");
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

fn touched_by(paths: &[PathBuf], folders: &Folders) -> Touched {
    let folders = folders.lock().unwrap_or_else(PoisonError::into_inner);
    let concerned = |path: &PathBuf| {
        let here = folders.get(path.as_path());
        let parent = path.parent().and_then(|parent| folders.get(parent));
        here.into_iter().chain(parent).flatten().copied().collect::<Vec<_>>()
    };
    paths.iter().flat_map(concerned).collect()
}

/// The folders in which something must happen for the file to change: its own, and those of each symlink on the way.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    const MOST_LINKS: usize = 16;
    let mut folders = Vec::new();
    let mut at = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    for _ in 0..MOST_LINKS {
        let Some(parent) = at.parent().map(Path::to_owned) else {
            break;
        };
        // The folder itself may be reached by a link (`..data`), which lies in the folder above.
        if std::fs::symlink_metadata(&parent).is_ok_and(|metadata| metadata.is_symlink()) {
            folders.extend(folders_of(&parent));
        }
        folders.push(parent.clone());
        match std::fs::read_link(&at) {
            Ok(link) => at = parent.join(link),
            Err(_) => break,
        }
    }
    folders
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_every_link_on_the_way_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("v1")).unwrap();
        std::fs::write(root.join("v1/production.yaml"), "").unwrap();
        std::os::unix::fs::symlink("v1", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/production.yaml", root.join("production.yaml")).unwrap();
        let folders = folders_of(&root.join("production.yaml"));
        assert!(folders.contains(&root) && folders.contains(&root.join("..data")), "{folders:?}");
    }
}

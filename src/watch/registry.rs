//! Keeps which folders are watched, for which names in them, and on whose behalf.
//!
//! Why apart from the watcher: the meaning of an event, and the watches to set and to drop, can be
//! decided without the operating system.
//!
//! Invariants:
//! - A folder is watched as long as one of the paths leads through it, and once, however many paths
//!   lead to it.
//! - A watch that may be dead (its folder was moved or deleted, events were lost, it could not be
//!   set) is *stale*: the next caller whose path leads through the folder sets it anew.
//! - An event about a name on no path concerns nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::folder::{FolderId, comparable};
use super::watched::Watched;

/// What an event concerns.
pub type Touched = BTreeSet<Watched>;

/// A folder on a path, and the name in it that the path goes on with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchPoint {
    pub id: FolderId,
    pub path: PathBuf,
    /// `None` if every name in the folder matters.
    pub name: Option<OsString>,
}

/// The changes of watches that a path needs, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WatchChanges {
    /// Folders whose watch has to be dropped, if they have one.
    pub drop: Vec<PathBuf>,
    pub watch: Vec<PathBuf>,
}

/// The watched folders and the paths that lead through them.
#[derive(Debug, Default)]
pub struct Registry {
    folders: BTreeMap<FolderId, Folder>,
    /// The folders under the paths by which events name them.
    ids: BTreeMap<PathBuf, FolderId>,
    points: BTreeMap<Watched, BTreeSet<WatchPoint>>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    names: BTreeMap<Option<OsString>, Touched>,
    stale: bool,
}

impl Folder {
    fn touched(&self) -> impl Iterator<Item = Watched> {
        self.names.values().flatten().copied()
    }
}

impl Registry {
    /// Replaces the points of `watched`.
    pub fn follow(&mut self, watched: Watched, points: BTreeSet<WatchPoint>) -> WatchChanges {
        let mut changes = WatchChanges::default();
        let before = self.points.insert(watched, points.clone()).unwrap_or_default();
        for point in &points {
            self.enter(watched, point, &mut changes);
        }
        for point in before.difference(&points) {
            self.leave(watched, point, &points, &mut changes);
        }
        changes
    }

    fn enter(&mut self, watched: Watched, point: &WatchPoint, changes: &mut WatchChanges) {
        let new = || Folder { path: point.path.clone(), names: BTreeMap::new(), stale: true };
        let folder = self.folders.entry(point.id.clone()).or_insert_with(new);
        folder.names.entry(point.name.as_deref().map(comparable)).or_default().insert(watched);
        if !std::mem::take(&mut folder.stale) {
            return;
        }
        // The folder may have moved.
        let old = std::mem::replace(&mut folder.path, point.path.clone());
        if old != point.path && self.ids.get(&key(&old)) == Some(&point.id) {
            self.ids.remove(&key(&old));
            changes.drop.push(old);
        }
        self.ids.insert(key(&point.path), point.id.clone());
        // A watch that is still set would be doubled or, worse, belong to an earlier folder.
        changes.drop.push(point.path.clone());
        changes.watch.push(point.path.clone());
    }

    fn leave(
        &mut self,
        watched: Watched,
        point: &WatchPoint,
        kept: &BTreeSet<WatchPoint>,
        changes: &mut WatchChanges,
    ) {
        if kept.iter().any(|kept| kept.id == point.id && kept.name == point.name) {
            return; // The same folder by another path.
        }
        let Some(folder) = self.folders.get_mut(&point.id) else { return };
        let name = point.name.as_deref().map(comparable);
        if let Some(touched) = folder.names.get_mut(&name) {
            touched.remove(&watched);
            if touched.is_empty() {
                folder.names.remove(&name);
            }
        }
        if !folder.names.is_empty() {
            return;
        }
        let path = key(&folder.path);
        // Another folder may stand there by now, with a watch of its own.
        if self.ids.get(&path) == Some(&point.id) {
            self.ids.remove(&path);
            changes.drop.push(folder.path.clone());
        }
        self.folders.remove(&point.id);
    }

    /// Takes note that the watch of the folder at this path could not be set.
    pub fn failed(&mut self, path: &Path) {
        if let Some(folder) = self.ids.get(&key(path)).and_then(|id| self.folders.get_mut(id)) {
            folder.stale = true;
        }
    }

    /// What an event at `path` concerns; `moved` if the path may lead to another file or folder
    /// now.
    pub fn touched_by(&mut self, path: &Path, moved: bool) -> Touched {
        let path = key(path);
        let mut touched = Touched::new();
        if let Some(folder) = self.at(&path) {
            touched.extend(folder.touched());
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Some(folder) = self.at(parent)
        {
            let names = [Some(name.to_owned()), None];
            touched.extend(names.iter().filter_map(|name| folder.names.get(name)).flatten());
        }
        if moved {
            let below = self.ids.range(path.clone()..).take_while(|(folder, _)| folder.starts_with(&path));
            for (_, id) in below {
                if let Some(folder) = self.folders.get_mut(id) {
                    folder.stale = true;
                    touched.extend(folder.touched());
                }
            }
        }
        touched
    }

    /// Takes note that events were lost: every watch may be dead. Returns everything watched.
    pub fn lose_all(&mut self) -> Touched {
        self.folders.values_mut().for_each(|folder| folder.stale = true);
        self.points.keys().copied().collect()
    }

    fn at(&self, path: &Path) -> Option<&Folder> {
        self.ids.get(path).and_then(|id| self.folders.get(id))
    }
}

fn key(path: &Path) -> PathBuf {
    comparable(path.as_os_str()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(points: &[(u8, &str, &str)]) -> BTreeSet<WatchPoint> {
        let point = |(id, path, name): &(u8, &str, &str)| WatchPoint {
            id: FolderId::number(*id),
            path: PathBuf::from(path),
            name: (*name != "*").then(|| OsString::from(name)),
        };
        points.iter().map(point).collect()
    }

    fn changes(drop: &[&str], watch: &[&str]) -> WatchChanges {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        WatchChanges { drop: paths(drop), watch: paths(watch) }
    }

    fn touched(registry: &mut Registry, path: &str, moved: bool) -> Vec<usize> {
        let touched = registry.touched_by(Path::new(path), moved).into_iter();
        let number = |watched| match watched {
            Watched::Instance(number) => number,
            Watched::Settings => panic!("the settings are not watched here"),
        };
        touched.map(number).collect()
    }

    #[test]
    fn an_event_concerns_those_whose_path_has_that_name() {
        let mut registry = Registry::default();
        registry.follow(Watched::Instance(1), points(&[(1, "/c", "a.yaml")]));
        registry.follow(Watched::Instance(2), points(&[(1, "/c", "b.yaml"), (2, "/more", "*")]));
        assert_eq!(touched(&mut registry, "/c/a.yaml", true), [1]);
        assert_eq!(touched(&mut registry, "/c/b.yaml", false), [2]);
        assert_eq!(touched(&mut registry, "/more/anything", false), [2]);
        assert!(touched(&mut registry, "/c/butler.log", true).is_empty(), "a busy neighbour");
        assert!(touched(&mut registry, "/c/deep/a.yaml", false).is_empty());
        assert_eq!(touched(&mut registry, "/c", false), [1, 2], "the folder itself, such as its rights");
    }

    #[test]
    fn a_folder_is_watched_once_and_as_long_as_a_path_leads_through_it() {
        let mut registry = Registry::default();
        let here = points(&[(1, "/c", "a")]);
        assert_eq!(registry.follow(Watched::Instance(1), here.clone()), changes(&["/c"], &["/c"]));
        assert_eq!(registry.follow(Watched::Instance(1), here.clone()), changes(&[], &[]), "nothing new");
        assert_eq!(registry.follow(Watched::Instance(2), here), changes(&[], &[]));
        assert_eq!(registry.follow(Watched::Instance(1), points(&[])), changes(&[], &[]));
        assert_eq!(registry.follow(Watched::Instance(2), points(&[])), changes(&["/c"], &[]));
        assert!(touched(&mut registry, "/c/a", true).is_empty());
    }

    #[test]
    fn a_folder_that_was_moved_and_all_below_it_are_watched_anew() {
        let mut registry = Registry::default();
        let all = points(&[(1, "/", "sos"), (2, "/sos", "config"), (3, "/sos/config", "p.yaml")]);
        registry.follow(Watched::Instance(7), all.clone());
        assert_eq!(touched(&mut registry, "/sos", true), [7]);
        let anew = changes(&["/sos", "/sos/config"], &["/sos", "/sos/config"]);
        assert_eq!(registry.follow(Watched::Instance(7), all), anew, "put back, but its watches are gone");
        // Replaced by another one.
        assert_eq!(touched(&mut registry, "/sos", true), [7]);
        let other = points(&[(1, "/", "sos"), (4, "/sos", "config"), (5, "/sos/config", "p.yaml")]);
        assert_eq!(
            registry.follow(Watched::Instance(7), other),
            anew,
            "and the new watches are not dropped with the old folders"
        );
        assert_eq!(touched(&mut registry, "/sos/config/p.yaml", false), [7]);
    }

    #[test]
    fn two_paths_to_one_folder_share_its_watch() {
        let mut registry = Registry::default();
        registry.follow(Watched::Instance(1), points(&[(1, "/a", "x")]));
        assert_eq!(
            registry.follow(Watched::Instance(2), points(&[(1, "/b", "x")])),
            changes(&[], &[]),
            "a bind mount"
        );
        assert_eq!(touched(&mut registry, "/a/x", false), [1, 2]);
        // Once the path that is watched is gone the other one is.
        assert_eq!(touched(&mut registry, "/a", true), [1, 2]);
        assert_eq!(
            registry.follow(Watched::Instance(2), points(&[(1, "/b", "x")])),
            changes(&["/a", "/b"], &["/b"])
        );
        assert_eq!(touched(&mut registry, "/b/x", false), [1, 2]);
    }

    #[test]
    fn a_watch_that_failed_or_was_lost_is_set_again() {
        let mut registry = Registry::default();
        let all = points(&[(1, "/c", "a")]);
        registry.follow(Watched::Instance(1), all.clone());
        registry.failed(Path::new("/c"));
        assert_eq!(registry.follow(Watched::Instance(1), all.clone()).watch.len(), 1);
        registry.follow(Watched::Instance(2), points(&[]));
        assert_eq!(registry.lose_all().len(), 2, "everything is read");
        assert_eq!(registry.follow(Watched::Instance(1), all).watch.len(), 1);
    }
}

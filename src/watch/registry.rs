//! Which folders are watched, for which names and whose sake: events are turned into targets here.
//!
//! Why it is apart from the watching: what an event means, and which watches are to be set and dropped, can be decided
//! without the operating system.
//!
//! Invariants:
//! - A folder is watched as long as a target goes through it, and once, however many targets and paths lead to it.
//! - A watch that may be dead (its folder was moved or deleted, events were lost, it could not be set) is *stale*: whoever goes through
//!   the folder next sets it anew.
//! - An event about a name on nobody's way touches nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::folder::{FolderId, plain};

/// Targets, by their number.
pub type Touched = BTreeSet<usize>;

/// One folder on a target's way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stop {
    /// The folder.
    pub id: FolderId,
    /// Where it is.
    pub path: PathBuf,
    /// The name in it that matters; `None` for any.
    pub name: Option<OsString>,
}

/// What is to be done so that a target's way is watched, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Folders whose watch is to be dropped, if they have one.
    pub drop: Vec<PathBuf>,
    /// Folders to be watched.
    pub watch: Vec<PathBuf>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Registry {
    watched: BTreeMap<FolderId, Watched>,
    /// The folders under the paths by which events name them.
    paths: BTreeMap<PathBuf, FolderId>,
    ways: BTreeMap<usize, BTreeSet<Stop>>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    names: BTreeMap<Option<OsString>, Touched>,
    stale: bool,
}

impl Watched {
    fn targets(&self) -> impl Iterator<Item = usize> {
        self.names.values().flatten().copied()
    }
}

impl Registry {
    /// From now on the target's way goes through these folders.
    pub fn follow(&mut self, target: usize, way: BTreeSet<Stop>) -> Plan {
        let mut plan = Plan::default();
        let before = self.ways.insert(target, way.clone()).unwrap_or_default();
        for stop in &way {
            self.enter(target, stop, &mut plan);
        }
        for stop in before.difference(&way) {
            self.leave(target, stop, &way, &mut plan);
        }
        plan
    }

    fn enter(&mut self, target: usize, stop: &Stop, plan: &mut Plan) {
        let fresh = || Watched { path: stop.path.clone(), names: BTreeMap::new(), stale: true };
        let watched = self.watched.entry(stop.id.clone()).or_insert_with(fresh);
        watched.names.entry(stop.name.as_deref().map(plain)).or_default().insert(target);
        if !std::mem::take(&mut watched.stale) {
            return;
        }
        // It may be somewhere else than it was.
        let old = std::mem::replace(&mut watched.path, stop.path.clone());
        if old != stop.path && self.paths.get(&key(&old)) == Some(&stop.id) {
            self.paths.remove(&key(&old));
            plan.drop.push(old);
        }
        self.paths.insert(key(&stop.path), stop.id.clone());
        // A watch that is still there would be doubled or, worse, stay with a folder that was here before.
        plan.drop.push(stop.path.clone());
        plan.watch.push(stop.path.clone());
    }

    fn leave(&mut self, target: usize, stop: &Stop, way: &BTreeSet<Stop>, plan: &mut Plan) {
        if way.iter().any(|kept| kept.id == stop.id && kept.name == stop.name) {
            return; // The same folder by another path.
        }
        let Some(watched) = self.watched.get_mut(&stop.id) else { return };
        let name = stop.name.as_deref().map(plain);
        if let Some(targets) = watched.names.get_mut(&name) {
            targets.remove(&target);
            if targets.is_empty() {
                watched.names.remove(&name);
            }
        }
        if !watched.names.is_empty() {
            return;
        }
        let path = key(&watched.path);
        // Another folder may stand there by now, with a watch of its own.
        if self.paths.get(&path) == Some(&stop.id) {
            self.paths.remove(&path);
            plan.drop.push(watched.path.clone());
        }
        self.watched.remove(&stop.id);
    }

    /// The watch of the folder at this path could not be set.
    pub fn failed(&mut self, path: &Path) {
        if let Some(watched) = self.paths.get(&key(path)).and_then(|id| self.watched.get_mut(id)) {
            watched.stale = true;
        }
    }

    /// Something happened at a path; `moved` if what stood there may not be what stands there now.
    pub fn touched_by(&mut self, path: &Path, moved: bool) -> Touched {
        let path = key(path);
        let mut touched = Touched::new();
        if let Some(watched) = self.at(&path) {
            touched.extend(watched.targets());
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Some(watched) = self.at(parent)
        {
            let names = [Some(name.to_owned()), None];
            touched.extend(names.iter().filter_map(|name| watched.names.get(name)).flatten());
        }
        if moved {
            let below = self.paths.range(path.clone()..).take_while(|(folder, _)| folder.starts_with(&path));
            for (_, id) in below {
                if let Some(watched) = self.watched.get_mut(id) {
                    watched.stale = true;
                    touched.extend(watched.targets());
                }
            }
        }
        touched
    }

    /// Events were lost: every watch may be dead, and something may have happened to everybody.
    pub fn lose_all(&mut self) -> Touched {
        self.watched.values_mut().for_each(|watched| watched.stale = true);
        self.ways.keys().copied().collect()
    }

    fn at(&self, path: &Path) -> Option<&Watched> {
        self.paths.get(path).and_then(|id| self.watched.get(id))
    }
}

fn key(path: &Path) -> PathBuf {
    plain(path.as_os_str()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(stops: &[(u8, &str, &str)]) -> BTreeSet<Stop> {
        let stop = |(id, path, name): &(u8, &str, &str)| Stop {
            id: FolderId::number(*id),
            path: PathBuf::from(path),
            name: (*name != "*").then(|| OsString::from(name)),
        };
        stops.iter().map(stop).collect()
    }

    fn plan(drop: &[&str], watch: &[&str]) -> Plan {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Plan { drop: paths(drop), watch: paths(watch) }
    }

    fn touched(registry: &mut Registry, path: &str, moved: bool) -> Vec<usize> {
        registry.touched_by(Path::new(path), moved).into_iter().collect()
    }

    #[test]
    fn an_event_touches_those_who_wait_for_that_name() {
        let mut registry = Registry::default();
        registry.follow(1, way(&[(1, "/c", "a.yaml")]));
        registry.follow(2, way(&[(1, "/c", "b.yaml"), (2, "/more", "*")]));
        assert_eq!(touched(&mut registry, "/c/a.yaml", true), [1]);
        assert_eq!(touched(&mut registry, "/c/b.yaml", false), [2]);
        assert_eq!(touched(&mut registry, "/more/anything", false), [2]);
        assert!(touched(&mut registry, "/c/butler.log", true).is_empty(), "a busy neighbour");
        assert!(touched(&mut registry, "/c/deep/a.yaml", false).is_empty());
        assert_eq!(touched(&mut registry, "/c", false), [1, 2], "the folder itself, such as its rights");
    }

    #[test]
    fn a_folder_is_watched_once_and_as_long_as_somebody_goes_through() {
        let mut registry = Registry::default();
        let here = way(&[(1, "/c", "a")]);
        assert_eq!(registry.follow(1, here.clone()), plan(&["/c"], &["/c"]));
        assert_eq!(registry.follow(1, here.clone()), plan(&[], &[]), "nothing new");
        assert_eq!(registry.follow(2, here), plan(&[], &[]));
        assert_eq!(registry.follow(1, way(&[])), plan(&[], &[]));
        assert_eq!(registry.follow(2, way(&[])), plan(&["/c"], &[]));
        assert!(touched(&mut registry, "/c/a", true).is_empty());
    }

    #[test]
    fn a_folder_that_was_moved_and_all_below_it_are_watched_anew() {
        let mut registry = Registry::default();
        let stops = way(&[(1, "/", "sos"), (2, "/sos", "config"), (3, "/sos/config", "p.yaml")]);
        registry.follow(7, stops.clone());
        assert_eq!(touched(&mut registry, "/sos", true), [7]);
        let anew = plan(&["/sos", "/sos/config"], &["/sos", "/sos/config"]);
        assert_eq!(registry.follow(7, stops), anew, "put back, but its watches are gone");
        // Replaced by another one.
        assert_eq!(touched(&mut registry, "/sos", true), [7]);
        let other = way(&[(1, "/", "sos"), (4, "/sos", "config"), (5, "/sos/config", "p.yaml")]);
        assert_eq!(
            registry.follow(7, other),
            anew,
            "and the new watches are not dropped with the old folders"
        );
        assert_eq!(touched(&mut registry, "/sos/config/p.yaml", false), [7]);
    }

    #[test]
    fn two_paths_to_one_folder_share_its_watch() {
        let mut registry = Registry::default();
        registry.follow(1, way(&[(1, "/a", "x")]));
        assert_eq!(registry.follow(2, way(&[(1, "/b", "x")])), plan(&[], &[]), "a bind mount");
        assert_eq!(touched(&mut registry, "/a/x", false), [1, 2]);
        // Once the path that is watched is gone the other one is.
        assert_eq!(touched(&mut registry, "/a", true), [1, 2]);
        assert_eq!(registry.follow(2, way(&[(1, "/b", "x")])), plan(&["/a", "/b"], &["/b"]));
        assert_eq!(touched(&mut registry, "/b/x", false), [1, 2]);
    }

    #[test]
    fn what_could_not_be_watched_or_was_lost_is_tried_again() {
        let mut registry = Registry::default();
        let stops = way(&[(1, "/c", "a")]);
        registry.follow(1, stops.clone());
        registry.failed(Path::new("/c"));
        assert_eq!(registry.follow(1, stops.clone()).watch.len(), 1);
        registry.follow(2, way(&[]));
        assert_eq!(registry.lose_all().len(), 2, "everybody is to look");
        assert_eq!(registry.follow(1, stops).watch.len(), 1);
    }
}

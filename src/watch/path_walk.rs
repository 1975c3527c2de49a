//! The walk along the path to a file: every folder in which a change can affect the file, and the
//! name that matters in it.
//!
//! Why: a file changes when it is written, but also when a link on its path is turned (Kubernetes
//! swaps `..data`), when its folder is replaced by an upgrade, or when a missing folder is made.
//! Each of these is an event in one folder about one name. And config folders hold log files that
//! are written every second: an event about any other name means nothing.
//!
//! So the path is walked component by component, as the kernel walks it, and each step is kept: the
//! real folder and the name. At the first name that does not exist the walk ends; that name is the
//! one to wait for.
//!
//! Pure but for the question what stands at a path, which is passed in.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows; other kernels follow fewer.
const MOST_LINKS: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEntry {
    /// None, or none that this process may see.
    Missing,
    /// A file or a folder.
    Present,
    /// A link to another path.
    Link(PathBuf),
}

/// One name on the path, and the folder it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// An existing folder, without links in its path.
    pub folder: PathBuf,
    pub name: OsString,
    /// Whether the name is that of a link.
    pub link: bool,
}

/// Asks the file system.
pub fn on_disk(path: &Path) -> PathEntry {
    match std::fs::read_link(path) {
        Ok(link) => PathEntry::Link(link),
        Err(_) if std::fs::symlink_metadata(path).is_ok() => PathEntry::Present,
        Err(_) => PathEntry::Missing,
    }
}

/// Walks along the path to a file, which should be absolute; `entry_at` answers for each step.
pub fn walk(file: &Path, entry_at: impl Fn(&Path) -> PathEntry) -> Vec<PathStep> {
    let mut steps: Vec<PathStep> = Vec::new();
    let mut folder = PathBuf::new();
    let mut ahead: VecDeque<Part> = parts(file).collect();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        let name = match part {
            Part::Root(root) => {
                folder.push(root);
                continue;
            }
            Part::Up => {
                folder.pop();
                continue;
            }
            Part::Name(name) => name,
        };
        let here = folder.join(&name);
        let found = entry_at(&here);
        let link = matches!(found, PathEntry::Link(_));
        steps.push(PathStep { folder: folder.clone(), name, link });
        match found {
            PathEntry::Present => folder = here,
            PathEntry::Link(to) if links < MOST_LINKS => {
                links += 1;
                for part in parts(&to).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            PathEntry::Missing | PathEntry::Link(_) => break,
        }
    }
    steps
}

/// A component with nothing borrowed.
enum Part {
    /// A root or a drive: pushed, it replaces what it must.
    Root(OsString),
    Up,
    Name(OsString),
}

fn parts(path: &Path) -> impl Iterator<Item = Part> {
    path.components().filter_map(|component| match component {
        Component::Prefix(_) | Component::RootDir => Some(Part::Root(component.as_os_str().to_owned())),
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Name(OsStr::to_owned(name))),
        Component::CurDir => None,
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Walks where these links are, and nothing at `missing` and below.
    fn walk_with(file: &str, links: &[(&str, &str)], missing: &str) -> Vec<(String, String)> {
        let links: BTreeMap<&Path, &str> = links.iter().map(|(at, to)| (Path::new(*at), *to)).collect();
        let look = |path: &Path| match links.get(path) {
            Some(to) => PathEntry::Link(PathBuf::from(to)),
            None if path.starts_with(missing) => PathEntry::Missing,
            None => PathEntry::Present,
        };
        let text =
            |step: &PathStep| (step.folder.display().to_string(), step.name.to_string_lossy().into_owned());
        walk(Path::new(file), look).iter().map(text).collect()
    }

    fn steps(steps: &[(&str, &str)]) -> Vec<(String, String)> {
        steps.iter().map(|(folder, name)| ((*folder).to_owned(), (*name).to_owned())).collect()
    }

    const NOTHING: &str = "/missing";

    #[test]
    fn each_folder_matters_for_one_name() {
        let walk = walk_with("/opt/sos/./config/../config/p.yaml", &[], NOTHING);
        let expected = [
            ("/", "opt"),
            ("/opt", "sos"),
            ("/opt/sos", "config"),
            ("/opt/sos", "config"),
            ("/opt/sos/config", "p.yaml"),
        ];
        assert_eq!(walk, steps(&expected));
    }

    #[test]
    fn the_walk_ends_at_the_first_name_that_is_missing() {
        let walk = walk_with("/opt/sos/config/p.yaml", &[], "/opt/sos");
        assert_eq!(walk, steps(&[("/", "opt"), ("/opt", "sos")]));
    }

    #[test]
    fn links_to_files_and_folders_are_followed_and_noted() {
        let links = [("/c/p.yaml", "..data/p.yaml"), ("/c/..data", "..v1")];
        let expected =
            [("/", "c"), ("/c", "p.yaml"), ("/c", "..data"), ("/c", "..v1"), ("/c/..v1", "p.yaml")];
        assert_eq!(walk_with("/c/p.yaml", &links, NOTHING), steps(&expected));
        let absolute = [("/etc/sos", "/srv/sos/../other")];
        let expected = [
            ("/", "etc"),
            ("/etc", "sos"),
            ("/", "srv"),
            ("/srv", "sos"),
            ("/srv", "other"),
            ("/srv/other", "p.yaml"),
        ];
        assert_eq!(walk_with("/etc/sos/p.yaml", &absolute, NOTHING), steps(&expected));
    }

    #[test]
    fn links_in_a_circle_end_the_walk() {
        assert_eq!(walk_with("/a", &[("/a", "b"), ("/b", "a")], NOTHING).len(), MOST_LINKS + 1);
    }

    #[test]
    fn the_disk_tells_links_from_what_is_there_and_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        assert_eq!(on_disk(&at("link")), PathEntry::Link("nowhere".into()));
        assert_eq!((on_disk(&at("file")), on_disk(&at("none"))), (PathEntry::Present, PathEntry::Missing));
    }
}

//! The disk in memory: for each file and folder what is on stable storage, and the changes that are
//! not yet.
//!
//! The rule is pessimistic. A write reaches the medium by an fsync or fdatasync of its file and by
//! nothing else; a name by an fsync of its folder. Whatever was not synced is there or not, whole
//! or in single sectors, in any order, each file and folder for itself. Real file systems keep more
//! order than this.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::super::dice::Dice;
use super::Event;

/// The smallest part of a write that a disk keeps or loses.
const SECTOR: u64 = 512;

/// What a cut leaves of the changes that were not synced.
pub enum Kept<'a> {
    /// None of them.
    Nothing,
    /// All of them: what remains when a process is killed and the machine goes on.
    All,
    /// Some, by chance.
    Half(&'a mut Dice),
}

impl Kept<'_> {
    fn keeps(&mut self) -> bool {
        match self {
            Kept::Nothing => false,
            Kept::All => true,
            Kept::Half(dice) => dice.chance(50),
        }
    }
}

/// Which syncs the disk carries out. All but the first are there to see what happens without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    All,
    /// Those of files do nothing.
    NotOfFiles,
    /// Those of folders do nothing.
    NotOfFolders,
}

#[derive(Clone, Debug)]
enum Content {
    File(Vec<u8>),
    Folder(BTreeMap<String, usize>),
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

#[derive(Clone)]
struct Node {
    stable: Content,
    /// As a process sees it.
    seen: Content,
    pending: Vec<Change>,
}

/// A folder on such a disk, with all below it.
#[derive(Clone)]
pub struct Disk {
    nodes: Vec<Node>,
    /// The node that an inode number stands for at present; the numbers are used again.
    by_inode: HashMap<u64, usize>,
    syncs: Syncs,
}

impl Disk {
    /// A disk with what is in a folder now, all of it on stable storage.
    pub fn of(folder: &Path) -> Disk {
        let mut disk = Disk { nodes: Vec::new(), by_inode: HashMap::new(), syncs: Syncs::All };
        disk.take_in(folder);
        disk
    }

    /// The same disk, which carries out these syncs only.
    pub fn with(self, syncs: Syncs) -> Disk {
        Disk { syncs, ..self }
    }

    fn take_in(&mut self, path: &Path) -> usize {
        let is = fs::metadata(path).unwrap();
        let number = self.add(is.ino(), is.is_dir());
        let content = match is.is_dir() {
            false => Content::File(fs::read(path).unwrap()),
            true => {
                let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
                let named = entries.map(|it| (it.file_name().into_string().unwrap(), it.path()));
                Content::Folder(
                    named
                        .collect::<Vec<_>>()
                        .into_iter()
                        .map(|(name, it)| (name, self.take_in(&it)))
                        .collect(),
                )
            }
        };
        self.nodes[number].stable = content.clone();
        self.nodes[number].seen = content;
        number
    }

    fn add(&mut self, inode: u64, folder: bool) -> usize {
        let empty = || if folder { Content::Folder(BTreeMap::new()) } else { Content::File(Vec::new()) };
        self.nodes.push(Node { stable: empty(), seen: empty(), pending: Vec::new() });
        self.by_inode.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Carries out one entry of a tape.
    pub fn play(&mut self, event: &Event) {
        match event {
            Event::New { parent, inode, folder, name } => {
                let node = self.add(*inode, *folder);
                self.change(*parent, Change::Link(name.clone(), node));
            }
            Event::Written { inode, offset, data } => {
                self.change(*inode, Change::Write(*offset, data.clone()))
            }
            Event::Cut { inode, size } => self.change(*inode, Change::Cut(*size)),
            Event::Renamed { from, to, old, new } => {
                assert_eq!(from, to, "{old} to {new}: this disk renames within a folder only");
                let Content::Folder(names) = &self.nodes[self.by_inode[from]].seen else { unreachable!() };
                let node = names[old];
                self.change(*from, Change::Rename(old.clone(), new.clone(), node));
            }
            Event::Removed { parent, name } => self.change(*parent, Change::Unlink(name.clone())),
            Event::Synced { inode } | Event::DataSynced { inode } => self.sync(*inode),
            // Clean from now on: no later sync writes it.
            Event::SyncFailed { inode } => self.nodes[self.by_inode[inode]].pending.clear(),
            Event::Said(_) => {}
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        let node = &mut self.nodes[self.by_inode[&inode]];
        node.seen.make(&change, &mut Kept::All);
        node.pending.push(change);
    }

    fn sync(&mut self, inode: u64) {
        let node = &mut self.nodes[self.by_inode[&inode]];
        let ignored = match node.stable {
            Content::File(_) => Syncs::NotOfFiles,
            Content::Folder(_) => Syncs::NotOfFolders,
        };
        if self.syncs != ignored {
            for change in std::mem::take(&mut node.pending) {
                node.stable.make(&change, &mut Kept::All);
            }
        }
    }

    /// Writes out what is left after a cut at this moment.
    pub fn after_a_cut(&self, place: &Path, mut kept: Kept<'_>) {
        self.write_out(0, place, &mut kept);
    }

    fn write_out(&self, number: usize, place: &Path, kept: &mut Kept<'_>) {
        let node = &self.nodes[number];
        let mut content = node.stable.clone();
        for change in &node.pending {
            content.make(change, kept);
        }
        match content {
            Content::File(bytes) => fs::write(place, bytes).unwrap(),
            Content::Folder(names) => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(place).unwrap();
                for (name, node) in names {
                    self.write_out(node, &place.join(name), kept);
                }
            }
        }
    }
}

impl Content {
    /// Makes a change as far as it is kept.
    fn make(&mut self, change: &Change, kept: &mut Kept<'_>) {
        match (self, change) {
            (Content::File(bytes), Change::Write(offset, data)) => {
                let (first, end) = (*offset, *offset + data.len() as u64);
                let mut at = first;
                while at < end {
                    let next = ((at / SECTOR + 1) * SECTOR).min(end);
                    let next = if matches!(kept, Kept::Half(_)) { next } else { end };
                    if kept.keeps() {
                        bytes.resize(bytes.len().max(next as usize), 0);
                        bytes[at as usize..next as usize]
                            .copy_from_slice(&data[(at - first) as usize..(next - first) as usize]);
                    }
                    at = next;
                }
            }
            (Content::File(bytes), Change::Cut(size)) if kept.keeps() => bytes.resize(*size as usize, 0),
            (Content::Folder(names), Change::Link(name, node)) if kept.keeps() => {
                names.insert(name.clone(), *node);
            }
            (Content::Folder(names), Change::Unlink(name)) if kept.keeps() => _ = names.remove(name),
            (Content::Folder(names), Change::Rename(old, new, node)) if kept.keeps() => {
                names.remove(old);
                names.insert(new.clone(), *node);
            }
            _ => {}
        }
    }
}

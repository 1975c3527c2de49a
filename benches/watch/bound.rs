//! What no watcher can do without: the operating system tells of a write, and a file reaches the
//! disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use notify::{Event, RecommendedWatcher, RecursiveMode, Result, Watcher};

pub struct Bound {
    watched: PathBuf,
    log: File,
    events: Receiver<Result<Event>>,
    _watcher: RecommendedWatcher,
}

impl Bound {
    /// In a folder of its own.
    pub fn new(folder: &Path) -> Bound {
        let watched = folder.join("watched");
        std::fs::create_dir_all(&watched).expect("a folder can be made");
        let log = File::create(folder.join("log")).expect("a file can be made");
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(sender).expect("a watcher can be made");
        watcher.watch(&watched, RecursiveMode::NonRecursive).expect("a folder can be watched");
        Bound { watched: watched.join("file"), log, events, _watcher: watcher }
    }

    /// One write, its event, and as many bytes as a record has on the disk.
    pub fn once(&mut self) -> Duration {
        while self.events.try_recv().is_ok() {}
        std::fs::write(&self.watched, [b'x'; 4096]).expect("a file can be written");
        let written = Instant::now();
        self.events.recv().expect("an event comes").expect("it is no error");
        self.log.write_all(&[b'y'; 800]).and_then(|()| self.log.sync_data()).expect("a file can be synced");
        written.elapsed()
    }
}

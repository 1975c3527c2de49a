//! Spool folders, and a look at their raw bytes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use salver::spool::{Queued, Spool, SpoolError, SpoolFolder, SpoolLimits};

/// The present, for tests that do not care.
pub const NOW: i64 = 1_800_000_000_000;

/// A spool with ample limits.
pub fn spool_folder(path: &Path) -> SpoolFolder {
    SpoolFolder {
        path: path.to_owned(),
        limits: SpoolLimits {
            max_bytes: 1 << 30,
            max_records: 1 << 20,
            retention: Duration::from_secs(3600 * 24 * 365),
        },
        wait: Duration::from_secs(10),
    }
}

/// All that waits in an open spool, in its order.
pub fn waiting_in(spool: &mut Spool) -> Result<Vec<Queued>, SpoolError> {
    let mut waiting = Vec::new();
    let _ = spool.each(0, u64::MAX, |queued| {
        waiting.push(queued);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(waiting)
}

/// The uuids of all that waits in an open spool, in its order.
pub fn uuids_in(spool: &mut Spool) -> Result<Vec<String>, SpoolError> {
    Ok(waiting_in(spool)?.into_iter().map(|queued| queued.record.uuid).collect())
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files below a folder that hold these bytes.
pub fn files_with(folder: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        // On Windows a lock file that is held cannot be read; all of them are empty.
        let is_empty = path.metadata().unwrap().len() == 0;
        let bytes = if is_empty { Vec::new() } else { std::fs::read(path).unwrap() };
        bytes.windows(wanted.len()).any(|window| window == wanted)
    };
    files(folder).into_iter().filter(holds).collect()
}

/// Copies a folder with all in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The marker that a salver of another format writes. The first had no checksum.
pub fn marker_of(format: u32) -> String {
    let body =
        format!("This folder is a spool of salver. Do not change files in it by hand.\nformat {format}\n");
    let check = format!("check {:08x}\n", crc32fast::hash(body.as_bytes()));
    if format == 1 { body } else { body + &check }
}

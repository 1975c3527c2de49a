//! Folders for files that nobody needs to keep.

use std::path::Path;

use tempfile::TempDir;

/// A folder in memory where there is such a place: thousands of spools are opened there, and none of them needs to last.
pub fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A number from the environment, for tests that can do more than usual.
pub fn how_many(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

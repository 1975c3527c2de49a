//! Temporary folders, and limits from the environment.

use std::path::Path;

use tempfile::TempDir;

/// A folder in memory where there is one, for thousands of spools that need not last.
pub fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A number from the environment, for tests that can do more than usual.
pub fn how_many(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

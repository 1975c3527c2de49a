//! Why there are no events, in words that an admin can act on.
//!
//! inotify has two limits for each user, the number of watches and the number of watchers; other
//! programs of that user use them up as well.

use std::path::Path;

use notify::{Error, ErrorKind};

const POLLING: &str = "changes are found by polling (watch.poll) until then";

/// Text for a folder that cannot be watched.
pub fn of_watch(error: &Error, folder: &Path) -> String {
    match error.kind {
        ErrorKind::MaxFilesWatch => {
            format!("no watch was left for {}: {}", folder.display(), raise("max_user_watches", 524_288))
        }
        _ => format!("{} cannot be watched: {error}; {POLLING}", folder.display()),
    }
}

/// Text for a watcher that cannot be created.
pub fn of_watcher(error: &Error) -> String {
    match &error.kind {
        ErrorKind::Io(io) if cfg!(target_os = "linux") && io.raw_os_error() == Some(TOO_MANY_FILES) => {
            let instances = raise("max_user_instances", 1024);
            format!(
                "files cannot be watched: {instances}; or, if salver has too many files open, raise `ulimit -n`"
            )
        }
        _ => format!("files cannot be watched: {error}; {POLLING}"),
    }
}

/// EMFILE.
const TOO_MANY_FILES: i32 = 24;

fn raise(limit: &str, to: u32) -> String {
    let now = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{limit}"));
    let now = now.map_or_else(|_| String::new(), |now| format!(" (now {})", now.trim()));
    format!(
        "the limit fs.inotify.{limit} is reached{now}; raise it with `sysctl fs.inotify.{limit}={to}`, and in /etc/sysctl.d to \
         keep it; in a container, on its host; {POLLING}"
    )
}

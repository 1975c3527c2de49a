//! What two processes do to each other's files. On Windows a handle may keep others away.

use super::*;

fn content(path: &Path) -> Result<Vec<u8>, SpoolError> {
    std::fs::read(path).doing("read", path)
}

/// A folder with a file `file`.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "old").unwrap();
    (folder, path)
}

#[cfg(windows)]
#[test]
fn a_file_that_is_in_use_is_read_once_it_is_free() {
    for code in [32, 33] {
        let mut answers = 0;
        let read = read_patiently(Duration::from_secs(60), || {
            answers += 1;
            if answers < 3 { Err(std::io::Error::from_raw_os_error(code)) } else { Ok(()) }
                .doing("read", Path::new("file"))
        });
        assert!(read.is_ok() && answers == 3);
    }
}

#[cfg(windows)]
#[test]
fn a_file_that_is_not_shared_is_in_use() {
    use std::os::windows::fs::OpenOptionsExt;
    let (folder, path) = folder();
    let unshared = File::options().read(true).share_mode(0).open(&path).unwrap();
    assert!(checksum(folder.path()).unwrap_err().is_in_use());
    assert!(open_without_waiting(&path).is_err());
    drop(unshared);
    checksum(folder.path()).unwrap();
}

/// Only Windows itself can show that: wine lets others read what is locked.
#[cfg(windows)]
#[test]
fn a_file_that_is_locked_is_in_use() {
    let (folder, path) = folder();
    let locked = File::options().read(true).write(true).open(&path).unwrap();
    locked.lock().unwrap();
    if let Err(error) = checksum(folder.path()) {
        assert!(error.is_in_use(), "{error}");
    }
    // After it has unlocked the file, wine answers with an error all the same.
    _ = locked.unlock();
    checksum(folder.path()).unwrap();
}

#[test]
fn a_file_is_replaced_while_somebody_reads_it() {
    let (folder, path) = folder();
    let mut reader = open_without_waiting(&path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let mut old = String::new();
            reader.read_to_string(&mut old).unwrap();
            assert_eq!(old, "old");
        });
        replace(folder.path(), "file", b"new").unwrap();
    });
    assert_eq!(content(&path).unwrap(), b"new");
}

#[test]
fn a_folder_is_removed_while_somebody_reads_from_it() {
    let (folder, _) = folder();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("file"), "content").unwrap();
    let reader = open_without_waiting(&inner.join("file")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            drop(reader);
        });
        remove_folder(&inner).unwrap();
    });
    assert!(!inner.exists());
}

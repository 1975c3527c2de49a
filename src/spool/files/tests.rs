//! What two processes do to each other's files. On Windows a handle may keep others away.

use super::*;

/// Within which a file that nobody keeps for ever is free again.
const LONG: Duration = Duration::from_secs(60);

fn content(path: &Path) -> Result<Vec<u8>, SpoolError> {
    std::fs::read(path).doing("read", path)
}

#[test]
fn a_locked_file_is_read_once_the_lock_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let locked = File::options().read(true).write(true).open(&path).unwrap();
    locked.lock().unwrap();
    for read in
        [|path: &Path| checksum(path.parent().unwrap()).map(drop), |path: &Path| content(path).map(drop)]
    {
        // Locks of Unix keep nobody from reading.
        let answer = read_patiently(Duration::ZERO, || read(&path));
        assert_eq!(answer.is_err_and(|error| error.is_in_use()), cfg!(windows));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| read_patiently(LONG, || content(&path)).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        locked.unlock().unwrap();
    });
}

#[cfg(windows)]
#[test]
fn a_file_that_somebody_opened_without_sharing_is_in_use() {
    use std::os::windows::fs::OpenOptionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let unshared = File::options().read(true).share_mode(0).open(&path).unwrap();
    assert!(content(&path).unwrap_err().is_in_use());
    assert!(open_without_waiting(&path).is_err());
    drop(unshared);
    content(&path).unwrap();
}

#[test]
fn a_file_that_somebody_reads_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    replace(folder.path(), "file", b"old").unwrap();
    let mut reader = open_without_waiting(&folder.path().join("file")).unwrap();
    replace(folder.path(), "file", b"new").unwrap();
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    assert_eq!((old.as_str(), content(&folder.path().join("file")).unwrap()), ("old", b"new".to_vec()));
}

#[test]
fn a_folder_goes_while_somebody_reads_from_it() {
    let folder = tempfile::tempdir().unwrap();
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
    assert!(files(folder.path()).unwrap().is_empty() && !inner.exists());
}

use super::*;

#[test]
fn one_entry_after_another_makes_the_log_longer_only_now_and_then() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().join("db")).unwrap();
    let mut lengths: Vec<u64> = (0..64u8)
        .map(|n| {
            store.append(vec![(vec![n], vec![n; 400])]).unwrap();
            store.log.metadata().unwrap().len()
        })
        .collect();
    lengths.dedup();
    assert!(lengths.len() < 16, "{lengths:?}");
    store.close().unwrap();
    let reopened = Store::open(&place.path().join("db")).unwrap();
    assert!((0..64u8).all(|n| reopened.get(&[n]).unwrap() == Some(vec![n; 400])));
}

use super::*;
use crate::spool::frame::tests::record;

#[test]
fn what_an_instance_last_reported_is_known_at_once_and_stays_known() {
    let place = tempfile::tempdir().unwrap();
    let digest = |state: &State| state.instance("a").unwrap().unwrap().last_digest;
    let (first, last) = (record("a", 1), record("a", 2));
    let mut state = State::at(place.path()).unwrap();
    state.apply_all(&[(0, &first), (1, &last)]).unwrap();
    let expected = Some(last.draft.digest());
    assert_eq!(digest(&state), expected);
    assert_eq!(state.instances().unwrap()[0].1.last_digest, expected);
    state.close().unwrap();

    let mut state = State::at(place.path()).unwrap();
    assert_eq!(digest(&state), expected);
    // What is put after a record holds, whatever that record was.
    state.apply(2, &first).unwrap();
    state.put_instance("a", &Instance::default());
    assert_eq!(digest(&state), None);
    state.close().unwrap();
    assert_eq!(digest(&State::at(place.path()).unwrap()), None);
}

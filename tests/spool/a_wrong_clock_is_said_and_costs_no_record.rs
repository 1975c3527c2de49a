//! A clock before 1970 or after 9999 is an error in words: no record could carry such a time.
//! Nothing else changes, and with a right clock the spool goes on.

use salver::record::Reason;
use salver::spool::SpoolError;

use crate::support::drafts::draft;
use crate::support::folders::{NOW, spool_folder, uuids_in};

const YEAR_10000: i64 = 253_402_300_800_000;

#[test]
fn a_clock_that_no_record_can_carry_is_refused_and_a_right_one_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = spool_folder(&place.path().join("spool"));
    let mut kept = Vec::new();
    for wrong_ms in [-60_000, -1, YEAR_10000, i64::MAX, i64::MIN] {
        let mut spool = folder.open(NOW).unwrap();
        kept.push(spool.record("a", draft(1), Reason::Changed).unwrap().uuid);
        spool.close().unwrap();
        let mut spool = folder.open(wrong_ms).unwrap();
        let error = spool.record("a", draft(2), Reason::Changed).unwrap_err();
        assert!(matches!(error, SpoolError::Clock), "{wrong_ms}: {error}");
        assert!(error.to_string().contains("set its date and time"), "{error}");
        spool.close().unwrap();
        assert!(folder.read(wrong_ms).unwrap().counts().is_ok(), "{wrong_ms}");
        assert_eq!(uuids_in(&mut folder.open(NOW).unwrap()).unwrap(), kept, "{wrong_ms}");
    }
}

//! Doors for the fuzz targets in `fuzz/`, which feed them with hostile bytes.

use super::frame;
use super::manifest::slots::{Slot, decode, decode_body};
use super::segment::records::{Records, Wanted};

/// Reads all records that are in the bytes of a file, and in a frame of each kind that has the bytes as
/// its body and a right checksum; returns how many.
pub fn records(bytes: &[u8]) -> usize {
    let mut records = Records::default();
    let all = Wanted { is: |_| true, enough: usize::MAX };
    // Reading from memory does not fail.
    _ = records.scan(bytes, &all);
    for kind in 0..5 {
        _ = records.scan(frame::sealed(kind, bytes).as_slice(), &all);
    }
    records.into_records().count()
}

/// Whether the bytes are a sound copy of the manifest, or the body of one.
pub fn manifest(bytes: &[u8]) -> bool {
    [decode(bytes), decode_body(bytes)].iter().any(|slot| matches!(slot, Slot::Sound(_)))
}

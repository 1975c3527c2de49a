//! Whatever the bytes of a segment's file are, reading its records ends, without a panic and within bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    salver::spool::fuzzing::records(bytes);
});

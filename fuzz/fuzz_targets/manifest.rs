//! Whatever the bytes of a manifest's slot are, decoding them ends, without a panic and within bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    salver::spool::fuzzing::manifest(bytes);
});

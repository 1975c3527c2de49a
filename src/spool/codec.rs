//! Values with a version in front.
//!
//! Why: bincode 2.0.1 is the last of its line and its bytes do not describe themselves. Every value
//! therefore starts with the version of its shape, so that a later salver can read what this one
//! wrote, or refuse it, but never misread it. This is the only file that names bincode.
//!
//! The bytes are hostile input: a length in them is bounded before anything is allocated for it.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// No value takes more memory than this while it is decoded, in bytes. A manifest with a thousand
/// instances takes about half a megabyte.
const MAX_DECODED: usize = 64 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_DECODED>> =
    standard().with_limit::<MAX_DECODED>();

/// The bytes are not a value of this shape and version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of version {found} cannot be read")]
pub(super) struct Unreadable {
    pub found: u8,
}

/// Appends the version byte and the value behind it. On an error `bytes` is as before.
pub(super) fn encode_into<T: Serialize>(
    bytes: &mut Vec<u8>,
    version: u8,
    value: &T,
) -> Result<(), EncodeError> {
    let start = bytes.len();
    bytes.push(version);
    let encoded = bincode::serde::encode_into_std_write(value, bytes, CONFIG).map(drop);
    if encoded.is_err() {
        bytes.truncate(start);
    }
    encoded
}

/// Reads a value that `encode_into` wrote with the same version; bytes behind the value are an
/// error.
pub(super) fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    let (found, body) = bytes.split_first().ok_or(Unreadable { found: 0 })?;
    let unreadable = Unreadable { found: *found };
    if *found != version {
        return Err(unreadable);
    }
    match bincode::serde::decode_from_slice(body, CONFIG) {
        Ok((value, read)) if read == body.len() => Ok(value),
        _ => Err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_neither_a_prefix_nor_more_bytes_do() {
        let value = vec!["one".to_owned(), "two".to_owned()];
        let mut bytes = Vec::new();
        encode_into(&mut bytes, 7, &value).unwrap();
        assert_eq!(decode(7, &bytes), Ok(value));
        for cut in 0..bytes.len() {
            assert!(decode::<Vec<String>>(7, &bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(decode::<Vec<String>>(8, &bytes), Err(Unreadable { found: 7 }));
        bytes.push(0);
        assert!(decode::<Vec<String>>(7, &bytes).is_err());
    }

    #[test]
    fn a_hostile_length_is_an_error_and_no_allocation() {
        // A list of 2^64 - 1 strings, and a string of as many bytes.
        for body in
            [[7, 253, 255, 255, 255, 255, 255, 255, 255, 255], [7, 1, 253, 255, 255, 255, 255, 255, 255, 127]]
        {
            assert!(decode::<Vec<String>>(7, &body).is_err());
        }
        for (mebibytes, is_read) in [(63, true), (65, false)] {
            let length: u32 = mebibytes << 20;
            let body = [&[7, 252], &length.to_le_bytes()[..], &vec![b'x'; length as usize]].concat();
            assert_eq!(decode::<String>(7, &body).is_ok(), is_read, "{mebibytes} MiB");
        }
    }
}

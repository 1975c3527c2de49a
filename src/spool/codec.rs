//! Values with a version in front.
//!
//! Why: bincode 2.0.1 is the last of its line and its bytes do not describe themselves. Every value therefore starts with
//! the version of its shape, so that a later salver can read what this one wrote, or refuse it, but never misread it.
//! This is the only file that names bincode.

use bincode::config::{Configuration, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes are not a value of this shape and version.
#[derive(Debug, thiserror::Error)]
#[error("a value of version {found} cannot be read")]
pub(super) struct Unreadable {
    found: u8,
}

const CONFIG: Configuration = standard();

/// The version byte and the value behind it.
pub(super) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, version, value);
    bytes
}

/// Adds the version byte and the value behind it to `bytes`.
pub(super) fn encode_into<T: Serialize>(bytes: &mut Vec<u8>, version: u8, value: &T) {
    bytes.push(version);
    let value_at = bytes.len();
    // Encoding fails only for types that serde cannot size or that refuse to be serialised; ours are plain data.
    if bincode::serde::encode_into_std_write(value, bytes, CONFIG).is_err() {
        bytes.truncate(value_at);
    }
}

/// Reads a value that `encode` wrote with the same version.
pub(super) fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    match bytes.split_first() {
        Some((found, rest)) if *found == version => bincode::serde::decode_from_slice(rest, CONFIG)
            .map(|(value, _)| value)
            .map_err(|_| Unreadable { found: *found }),
        Some((found, _)) => Err(Unreadable { found: *found }),
        None => Err(Unreadable { found: 0 }),
    }
}

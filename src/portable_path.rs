//! Paths as JSON, whatever their bytes.
//!
//! Why: a path need not be UTF-8 (on Windows: valid UTF-16), and serde refuses such a path, which
//! would keep every instance of a request from being looked at.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text where the path is text, its units where it is not.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Portable {
    Text(String),
    Units(OsString),
}

impl From<&Path> for Portable {
    fn from(path: &Path) -> Portable {
        match path.to_str() {
            Some(text) => Portable::Text(text.to_owned()),
            None => Portable::Units(path.as_os_str().to_owned()),
        }
    }
}

impl From<Portable> for PathBuf {
    fn from(portable: Portable) -> PathBuf {
        match portable {
            Portable::Text(text) => text.into(),
            Portable::Units(units) => units.into(),
        }
    }
}

pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    Portable::from(path).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(Portable::deserialize(deserializer)?.into())
}

/// The same for a list of paths.
pub mod list {
    use super::{Deserialize, Deserializer, PathBuf, Portable, Serialize, Serializer};

    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        let paths: Vec<Portable> = paths.iter().map(|path| path.as_path().into()).collect();
        paths.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Portable>::deserialize(deserializer)?.into_iter().map(PathBuf::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Paths {
        #[serde(with = "crate::portable_path")]
        one: PathBuf,
        #[serde(with = "crate::portable_path::list")]
        more: Vec<PathBuf>,
    }

    #[cfg(unix)]
    fn odd() -> OsString {
        use std::os::unix::ffi::OsStringExt;
        OsString::from_vec(b"/opt/\xFF\xFE.yaml".to_vec())
    }

    #[cfg(windows)]
    fn odd() -> OsString {
        use std::os::windows::ffi::OsStringExt;
        OsString::from_wide(&[0x43, 0x3A, 0x5C, 0xD800])
    }

    #[test]
    fn every_path_survives_and_text_stays_text() {
        let paths = Paths { one: odd().into(), more: vec!["/opt/ä.yaml".into(), odd().into()] };
        let json = serde_json::to_string(&paths).unwrap();
        assert!(json.contains("\"/opt/ä.yaml\""), "{json}");
        assert_eq!(serde_json::from_str::<Paths>(&json).unwrap(), paths);
    }
}

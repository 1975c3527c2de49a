//! A text that must not be printed by accident: the project key, or a proxy's address with a
//! password.
//!
//! Such texts travel through the same values as every other setting, and those values are logged,
//! compared and shown. So only [`Secret::expose`] gives the text, and that name stands out in a
//! review. A secret has no `Serialize` for the same reason: a struct that is sent to a worker names
//! [`expose_to_worker`] at the field.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A text that prints as `***`, whatever the format.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the bytes that are sent, never for a log, an error or the screen.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Serializes the text itself, for the private pipe to a worker of the same program.
pub fn expose_to_worker<'s, S: Serializer>(
    secret: impl Into<Option<&'s Secret>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.into().map(Secret::expose).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Request {
        #[serde(serialize_with = "expose_to_worker")]
        key: Secret,
        #[serde(serialize_with = "expose_to_worker")]
        proxy: Option<Secret>,
    }

    #[test]
    fn a_secret_is_shown_only_on_request() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "*** *** Some(\n    ***,\n)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_worker_gets_the_text() {
        for proxy in [None, Some(Secret::new("http://me:hunter3@proxy"))] {
            let request = Request { key: Secret::new("hunter2"), proxy };
            let json = serde_json::to_string(&request).unwrap();
            assert!(json.contains("hunter2"), "{json}");
            assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
        }
    }
}

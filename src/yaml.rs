//! The one door through which YAML comes in: config files, settings and catalogues.
//!
//! Why one: config files hold passwords and the settings hold a project key, and a parser's message
//! quotes the line that it objects to. Here each objection becomes a [`YamlErrorKind`] and a
//! [`Position`], and only the code behind this door sees the parser's own words.
//!
//! Invariants:
//! 1. Nodes, events and what aliases expand to are bounded before anything is built, see
//!    [`Bounds`].
//! 2. An error holds no value of the file. [`YamlErrorKind::UnknownKey`] holds the key, since the
//!    settings suggest the nearest known one; neither `Display` nor `Debug` shows it.
//! 3. The types are those of the YAML 1.2 core schema: `yes` and `off` are texts, as are numbers
//!    with underscores. A key that stands twice in one map is an error, and so is a second
//!    document.
//! 4. Positions count from 1. An error behind an alias has the position of the alias.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy, Spanned};

/// How much one file may hold, and how its numbers are read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most nodes of the document, and most that aliases may add to them.
    pub nodes: usize,
    /// Read `010` as a text. The tools read it as a number, so a config file must not.
    pub leading_zeros_are_text: bool,
}

/// Scalars give one event, lists and maps two, and each may have a comment and an anchor.
const EVENTS_A_NODE: usize = 4;

/// A place in a file. Both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// A value, and where it stands.
#[derive(Clone, Deserialize)]
#[serde(from = "Spanned<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub struct Located<T> {
    pub value: T,
    /// `None` for a value that serde buffered on its way (untagged enums).
    pub at: Option<Position>,
}

/// An objection to a text, and its position where the parser knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct YamlError {
    pub at: Option<Position>,
    pub kind: YamlErrorKind,
}

#[derive(Clone, PartialEq, Eq)]
pub enum YamlErrorKind {
    /// No content, or comments only.
    Empty,
    /// A key that its map does not have. It may be a secret, so the key is not to be shown as it
    /// is.
    UnknownKey {
        key: String,
        known: Vec<&'static str>,
    },
    /// A word that is none of those known.
    UnknownWord {
        known: Vec<&'static str>,
    },
    /// A key that is needed.
    MissingKey(&'static str),
    DuplicateKey,
    SecondDocument,
    UnknownAnchor,
    /// More nodes, levels or aliases than the bounds allow.
    BeyondBounds,
    /// A list, map or scalar where another of these is needed.
    WrongKind,
    /// Not YAML, or a value that the document's type refuses.
    Invalid,
}

pub fn parse<T: DeserializeOwned>(text: &str, bounds: &Bounds) -> Result<T, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: bounds.nodes,
            max_events: EVENTS_A_NODE * bounds.nodes,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: bounds.nodes },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        leading_zero_numbers_as_strings: bounds.leading_zeros_are_text,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| YamlError::from(&error))
}

/// The keys of the map that `T` is read from, in their order, as `T` itself states them.
pub fn keys_of<T: DeserializeOwned>() -> Vec<&'static str> {
    let bounds = Bounds { nodes: 10, leading_zeros_are_text: true };
    match parse::<T>("'': 0", &bounds).map_err(|error| error.kind) {
        Err(YamlErrorKind::UnknownKey { known, .. }) => known,
        _ => Vec::new(),
    }
}

impl YamlErrorKind {
    /// Cause and next step, in words that fit every kind of file.
    pub fn words(&self) -> &'static str {
        match self {
            YamlErrorKind::Empty => "the file is empty",
            YamlErrorKind::UnknownKey { .. } => "this key is not known here",
            YamlErrorKind::UnknownWord { .. } => "this word is not known here",
            YamlErrorKind::MissingKey(_) => "a key is missing here",
            YamlErrorKind::DuplicateKey => "the same key stands twice in one map; remove one of them",
            YamlErrorKind::SecondDocument => "a second document starts (---); the file must hold one only",
            YamlErrorKind::UnknownAnchor => "an alias names an anchor that does not exist",
            YamlErrorKind::BeyondBounds => "aliases, nesting or size beyond what such a file needs",
            YamlErrorKind::WrongKind | YamlErrorKind::Invalid => {
                "not valid YAML (or half written); check indentation and quotes around here"
            }
        }
    }
}

impl<T> From<Spanned<T>> for Located<T> {
    fn from(spanned: Spanned<T>) -> Self {
        Located { value: spanned.value, at: Position::known(spanned.referenced) }
    }
}

impl<T> Located<T> {
    /// The line, for a message; the first where it is not known.
    pub fn line(&self) -> u64 {
        self.at.map_or(1, |at| at.line)
    }
}

impl Position {
    /// The parser writes zeros where it does not know.
    fn known(location: serde_saphyr::Location) -> Option<Position> {
        let (line, column) = (location.line(), location.column());
        (line > 0).then_some(Position { line, column })
    }
}

impl From<&Error> for YamlError {
    fn from(error: &Error) -> Self {
        let error = error.without_snippet();
        let at = error.location().and_then(Position::known);
        if let Error::AliasError { error, .. } = error {
            let behind = YamlError::from(&**error);
            return YamlError { at: at.or(behind.at), kind: behind.kind };
        }
        YamlError { at, kind: YamlErrorKind::from(error) }
    }
}

impl From<&Error> for YamlErrorKind {
    fn from(error: &Error) -> Self {
        match error {
            Error::Eof { .. } => YamlErrorKind::Empty,
            Error::SerdeUnknownField { field, expected, .. } => {
                YamlErrorKind::UnknownKey { key: field.clone(), known: expected.clone() }
            }
            Error::SerdeUnknownVariant { expected, .. } => {
                YamlErrorKind::UnknownWord { known: expected.clone() }
            }
            Error::SerdeMissingField { field, .. } => YamlErrorKind::MissingKey(field),
            Error::DuplicateMappingKey { .. } => YamlErrorKind::DuplicateKey,
            Error::MultipleDocuments { .. } => YamlErrorKind::SecondDocument,
            Error::UnknownAnchor { .. } => YamlErrorKind::UnknownAnchor,
            Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => YamlErrorKind::BeyondBounds,
            Error::Unexpected { .. } | Error::SerdeInvalidType { .. } => YamlErrorKind::WrongKind,
            _ => YamlErrorKind::Invalid,
        }
    }
}

impl fmt::Display for YamlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl fmt::Debug for YamlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(Position { line, column }) => {
                write!(f, "line {line}, column {column}: {}", self.kind)
            }
            None => self.kind.fmt(f),
        }
    }
}

impl fmt::Debug for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const BOUNDS: Bounds = Bounds { nodes: 1000, leading_zeros_are_text: true };

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        #[expect(dead_code, reason = "only read")]
        a: Word,
        #[expect(dead_code, reason = "only read")]
        b: Option<u8>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
    }

    fn error(text: &str) -> YamlError {
        parse::<Pair>(text, &BOUNDS).expect_err(text)
    }

    #[test]
    fn each_kind_of_slip_is_told_apart_with_its_place_and_never_quoted() {
        let cases = [
            ("# hunter2\n", YamlErrorKind::Empty, None),
            ("a: one\nb: hunter2\n", YamlErrorKind::Invalid, Some((2, 4))),
            ("a: hunter2\n", YamlErrorKind::UnknownWord { known: vec!["one"] }, Some((1, 4))),
            ("b: 1\n", YamlErrorKind::MissingKey("a"), Some((1, 1))),
            ("a: one\na: hunter2\n", YamlErrorKind::DuplicateKey, Some((2, 1))),
            ("a: one\n---\nhunter2: 1\n", YamlErrorKind::SecondDocument, Some((3, 1))),
            ("a: one\nb: *hunter2\n", YamlErrorKind::UnknownAnchor, Some((2, 4))),
            ("a: one\nb: [hunter2]\n", YamlErrorKind::WrongKind, Some((2, 4))),
            ("a: 'hunter2\n", YamlErrorKind::Invalid, Some((2, 1))),
        ];
        for (text, kind, at) in cases {
            let error = error(text);
            assert_eq!(error.kind, kind, "{text}");
            let found = error.at.map(|at| (at.line, at.column));
            assert!(at.is_none() || found == at, "{text}: {found:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_kept_for_a_suggestion_and_not_shown() {
        let error = error("a: one\nhunter2: 1\n");
        let known = vec!["a", "b"];
        assert_eq!(error.kind, YamlErrorKind::UnknownKey { key: "hunter2".to_owned(), known });
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert_eq!(keys_of::<Pair>(), ["a", "b"]);
    }

    #[test]
    fn what_is_behind_an_alias_has_the_place_of_the_alias() {
        let behind = error("a: &a one\nb: *a\n");
        assert_eq!((behind.at.map(|at| at.line), behind.kind), (Some(2), YamlErrorKind::Invalid));
        let lists = parse::<BTreeMap<String, Located<Vec<String>>>>("a: &a [x]\nb: *a\n", &BOUNDS);
        assert_eq!(lists.unwrap()["b"].at, Some(Position { line: 2, column: 4 }));
    }

    #[test]
    fn aliases_and_nesting_are_bounded() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        let any = |text: &str| parse::<serde_json::Value>(text, &BOUNDS).unwrap_err().kind;
        assert_eq!(any(&bomb), YamlErrorKind::BeyondBounds);
        assert_eq!(any(&format!("[{}]", "x,".repeat(2000))), YamlErrorKind::BeyondBounds);
    }

    #[test]
    fn a_number_with_a_leading_zero_is_what_the_bounds_say() {
        let read = |bounds| parse::<serde_json::Value>("010", &bounds).unwrap();
        assert_eq!(read(BOUNDS), "010");
        assert_eq!(read(Bounds { leading_zeros_are_text: false, ..BOUNDS }), 10.0);
    }
}

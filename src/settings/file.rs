//! Reading the settings file, within bounds, and parsing it.
//!
//! Invariants: at most 1 MiB of a regular file is read; aliases and nesting are bounded; the parser's own words, which may
//! quote the file, are replaced by ours.

use std::path::Path;

use serde_saphyr::{DuplicateKeyPolicy, Error as YamlError, NonFiniteFloatPolicy};

use super::check::check;
use super::error::{Place, SettingsError};
use super::values::Settings;
use super::{limits, nearest, shape};
use crate::read_limited::{self, Unreadable};

/// A settings file has some forty values; these bounds are hundreds of times that.
const MAX_NODES: usize = 50_000;
const MAX_REPLAYED: usize = 10_000;

impl Settings {
    /// Reads and validates the settings file at `path`; a relative path is one from the working folder.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let file = std::path::absolute(path)
            .map_err(|error| SettingsError::NoSuchFolder { path: path.to_owned(), cause: error.kind() })?;
        match read_limited::read_text(&file, limits::FILE_BYTES) {
            Ok(text) => Self::parse(&text, &file),
            Err(Unreadable::Missing) => Err(SettingsError::Missing { file }),
            Err(cause) => Err(SettingsError::Unreadable { file, cause }),
        }
    }

    /// Validates the text of a settings file that stands (or would stand) at `file`, which should be absolute: relative
    /// paths in the text are resolved against its folder. Reads nothing from the disk.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: MAX_NODES },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
            duplicate_keys: DuplicateKeyPolicy::Error,
            strict_booleans: true,
            underscored_numbers_as_strings: true,
            leading_zero_numbers_as_strings: true,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options::<Option<shape::Document>>(text, options) {
            Ok(document) => check(document.unwrap_or_default(), file),
            Err(YamlError::Eof { .. }) => check(shape::Document::default(), file),
            Err(error) => Err(refusal(&error, file)),
        }
    }
}

/// The parser's objection in words that quote nothing of the file but a word-like key.
fn refusal(error: &YamlError, file: &Path) -> SettingsError {
    let error = error.without_snippet();
    let at = Place::new(file, error.location());
    let what = match error {
        YamlError::AliasError { error, .. } => return refusal(error, file),
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let what = format!("{} is no setting here", nearest::show(field));
            return SettingsError::UnknownKey { at, what, help: nearest::help(field, expected) };
        }
        YamlError::DuplicateMappingKey { .. } => "this key stands twice in one section; remove one of them",
        YamlError::MultipleDocuments { .. } => {
            "a second document starts (---); a settings file is one document"
        }
        YamlError::UnknownAnchor { .. } => "an alias (*) names an anchor (&) that does not exist",
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => {
            "aliases, nesting or size beyond what settings need; start again from the sample"
        }
        YamlError::Unexpected { .. } | YamlError::SerdeInvalidType { .. } => {
            "another shape is needed here: a section holds lines of \"key: value\", indented below its name, and \
             instances is a list, each entry starting with a hyphen; see the sample"
        }
        _ => {
            "not valid YAML; check indentation and quotes around here (spaces, no tabs; Windows paths in single \
             quotes)"
        }
    };
    SettingsError::Syntax { at, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> SettingsError {
        Settings::parse(text, Path::new("salver.yaml")).expect_err(text)
    }

    fn load(bytes: &[u8]) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("salver.yaml");
        std::fs::write(&file, bytes).unwrap();
        Settings::load(&file)
    }

    #[test]
    fn an_unknown_key_names_the_line_and_the_nearest_known_one() {
        let cases = [
            (
                "flush:\n  mod: auto\n",
                "salver.yaml, line 2, column 3: \"mod\" is no setting here; did you mean \"mode\"?",
            ),
            (
                "spool: {}\nflsh: {}\n",
                "line 2, column 1: \"flsh\" is no setting here; did you mean \"flush\"?",
            ),
            (
                "apiKey: x\n",
                "line 1, column 1: \"apiKey\" is no setting here; \"apiKey\" belongs under \"posthog\"",
            ),
            (
                "instances:\n  - configfile: x\n",
                "line 2, column 5: \"configfile\" is no setting here; did you mean \"configFile\"?",
            ),
        ];
        for (text, expected) in cases {
            let error = refused(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn no_message_quotes_the_file() {
        let texts = [
            "posthog:\n  apiKey:hunter2\n",
            "posthog: {apiKey:hunter2}\n",
            "posthog:\n  apiKey: hunter2\n  apiKey: hunter2\n",
            "posthog:\n  proxy: \"hunter2\n",
            "posthog:\n  proxy: \"\\hunter2\"\n",
            "posthog:\n\tproxy: hunter2\n",
            "posthog: {proxy: hunter2\n",
            "posthog: hunter2\n",
            "hunter2\n",
            "instances: hunter2\n",
            "instances: {hunter2: 1}\n",
            "instances: [hunter2]\n",
            "posthog: {proxy: *hunter2}\n",
            "posthog: {proxy: !hunter2 x}\n",
            "posthog: {proxy: !!int hunter2}\n",
            "posthog: {? [hunter2] : 1}\n",
            "a: &a {proxy: hunter2}\nposthog: *a\n",
            "spool: {}\n---\nhunter2: 1\n",
            "<<: hunter2\n",
        ];
        for text in texts {
            let error = refused(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(error.to_string().contains("salver.yaml, line "), "{text}: {error}");
        }
    }

    #[test]
    fn a_yaml_bomb_is_refused_in_bounded_memory() {
        let mut bomb = String::from("catalogues:\n  - &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            bomb += &format!("  - &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        assert!(matches!(refused(&bomb), SettingsError::Syntax { .. }));
        assert!(matches!(refused(&"[".repeat(100_000)), SettingsError::Syntax { .. }));
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_do_not_matter() {
        let settings = load(b"\xEF\xBB\xBFflush:\r\n  mode: auto\r\n").unwrap();
        assert_eq!(settings.flush.mode, super::super::FlushMode::Auto);
    }

    #[test]
    fn what_is_no_settings_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Settings::load(&folder.path().join("salver.yaml")).unwrap_err();
        assert!(missing.to_string().contains("does not exist; check --config"), "{missing}");
        let a_folder = Settings::load(folder.path()).unwrap_err();
        assert!(a_folder.to_string().contains("a folder, not a regular file"), "{a_folder}");
        let utf16 = load(&[0xFF, 0xFE, b'f', 0]).unwrap_err();
        assert!(utf16.to_string().contains("but UTF-16; save it as UTF-8"), "{utf16}");
        let large = load(&vec![b'#'; 1 << 21]).unwrap_err();
        assert!(large.to_string().contains("larger than 1 MiB"), "{large}");
    }
}

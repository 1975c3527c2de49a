//! The settings file: reads it within bounds, parses it, and has each section validated.
//!
//! Stops at the first slip: its line is named, and the next run names the next one.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{Location, SettingsError};
use super::fields::Fields;
use super::flush::{FlushSettings, RawFlush};
use super::identity::{IdentitySettings, RawIdentity};
use super::instances::{self, InstanceSettings, RawInstance};
use super::posthog::{PostHogSettings, RawPostHog};
use super::raw::Raw;
use super::record::{RawRecord, RecordSettings};
use super::spool::{RawSpool, SpoolSettings};
use super::suggest;
use super::watch::{RawWatch, WatchSettings};
use crate::read_limited::{self, Unreadable};
use crate::yaml::{self, Bounds, Located, YamlError, YamlErrorKind, keys_of};

/// The largest settings file that is read; the commented sample has about 6 KB.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// A settings file has some forty values; this is a thousand times that.
const BOUNDS: Bounds = Bounds { nodes: 50_000, leading_zeros_are_text: true };

/// Everything that can be set. Paths are absolute, numbers within their ranges, names distinct.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub spool: SpoolSettings,
    pub watch: WatchSettings,
    pub record: RecordSettings,
    pub identity: IdentitySettings,
    pub flush: FlushSettings,
    pub posthog: PostHogSettings,
    /// Folders with catalogues beyond those compiled in; a later one wins.
    pub catalogues: Vec<PathBuf>,
    pub instances: Vec<InstanceSettings>,
}

/// The document before its values are validated. Everything is optional, and a key or a section
/// without a value counts as absent. serde refuses unknown keys.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawSettings {
    spool: Option<RawSpool>,
    watch: Option<RawWatch>,
    record: Option<RawRecord>,
    identity: Option<RawIdentity>,
    flush: Option<RawFlush>,
    posthog: Option<RawPostHog>,
    catalogues: Option<Raw>,
    instances: Option<Vec<Located<RawInstance>>>,
}

impl RawSettings {
    fn validate(self, fields: &Fields) -> Result<Settings, SettingsError> {
        Ok(Settings {
            spool: self.spool.unwrap_or_default().validate(fields)?,
            watch: self.watch.unwrap_or_default().validate(fields)?,
            record: self.record.unwrap_or_default().validate(fields)?,
            identity: self.identity.unwrap_or_default().validate(fields)?,
            flush: self.flush.unwrap_or_default().validate(fields)?,
            posthog: self.posthog.unwrap_or_default().validate(fields)?,
            catalogues: fields.paths("catalogues", self.catalogues)?,
            instances: instances::validate(self.instances.unwrap_or_default(), fields)?,
        })
    }
}

/// The sections and the keys of each; `instances` is the list of sections of one kind.
pub(super) fn sections() -> [(&'static str, Vec<&'static str>); 7] {
    [
        ("spool", keys_of::<RawSpool>()),
        ("watch", keys_of::<RawWatch>()),
        ("record", keys_of::<RawRecord>()),
        ("identity", keys_of::<RawIdentity>()),
        ("flush", keys_of::<RawFlush>()),
        ("posthog", keys_of::<RawPostHog>()),
        ("instances", keys_of::<RawInstance>()),
    ]
}

/// The text of the settings file at `path`, which should be absolute.
pub(super) fn read(path: &Path) -> Result<String, SettingsError> {
    read_limited::read_text(path, MAX_BYTES).map_err(|cause| match cause {
        Unreadable::Missing => SettingsError::Missing { file: path.to_owned() },
        cause => SettingsError::Unreadable { file: path.to_owned(), cause },
    })
}

impl Settings {
    /// Reads and validates the settings file at `path`; a relative path is one from the working
    /// folder.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let file = std::path::absolute(path)
            .map_err(|error| SettingsError::NoSuchFolder { path: path.to_owned(), cause: error.kind() })?;
        Self::parse(&read(&file)?, &file)
    }

    /// Validates the text of a settings file that stands (or would stand) at `file`, which should
    /// be absolute: relative paths in the text are resolved against its folder. Pure.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let raw = match yaml::parse::<Option<RawSettings>>(text, &BOUNDS) {
            Ok(raw) => raw.unwrap_or_default(),
            Err(YamlError { kind: YamlErrorKind::Empty, .. }) => RawSettings::default(),
            Err(error) => return Err(refusal(&error, file)),
        };
        raw.validate(&Fields::new(file))
    }
}

/// The error in words that quote nothing of the file but a word-like key.
fn refusal(error: &YamlError, file: &Path) -> SettingsError {
    let at = Location { file: file.to_owned(), at: error.at };
    let what = match &error.kind {
        YamlErrorKind::UnknownKey { key, known } => {
            let what = format!("{} is no setting here", suggest::show(key));
            return SettingsError::UnknownKey { at, what, help: suggest::help(key, known, &sections()) };
        }
        YamlErrorKind::WrongKind => {
            "a section holds lines of \"key: value\", indented below its name, and instances is a \
             list, each entry starting with a hyphen; write it so here, see the sample"
        }
        YamlErrorKind::Invalid => {
            "not valid YAML; check indentation and quotes around here (spaces, no tabs; Windows paths \
             in single quotes)"
        }
        kind => kind.words(),
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
        assert_eq!(settings.flush.mode, crate::settings::FlushMode::Auto);
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

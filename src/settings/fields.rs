//! Reads one setting at a time from the raw document, and says where a refused one stands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Location, SettingsError};
use super::raw::{Raw, RawValue};
use super::rules::{self, Refusal, Setting, text};
use crate::yaml::Position;

/// The fields of the settings file at `file`.
pub(super) struct Fields<'a> {
    file: &'a Path,
}

impl<'a> Fields<'a> {
    pub fn new(file: &'a Path) -> Self {
        Self { file }
    }

    /// The value by its rule, or the default.
    pub fn or<T>(
        &self,
        default: T,
        name: &str,
        raw: Option<Raw>,
        rule: impl FnOnce(&RawValue) -> Result<T, Refusal>,
    ) -> Result<T, SettingsError> {
        Ok(self.optional(name, raw, rule)?.unwrap_or(default))
    }

    /// The value by its rule, if one is given.
    pub fn optional<T>(
        &self,
        name: &str,
        raw: Option<Raw>,
        rule: impl FnOnce(&RawValue) -> Result<T, Refusal>,
    ) -> Result<Option<T>, SettingsError> {
        match raw {
            None => Ok(None),
            Some(raw) if matches!(raw.value, RawValue::Null) => Ok(None),
            Some(raw) => rule(&raw.value).map(Some).map_err(|refusal| self.refuse(name, raw.at, &refusal)),
        }
    }

    pub fn count(&self, setting: &Setting<u64>, raw: Option<Raw>) -> Result<u64, SettingsError> {
        self.or(setting.default, setting.name, raw, |value| rules::count(value, &setting.range))
    }

    pub fn size(&self, setting: &Setting<u64>, raw: Option<Raw>) -> Result<u64, SettingsError> {
        self.or(setting.default, setting.name, raw, |value| rules::size(value, &setting.range))
    }

    pub fn duration(&self, setting: &Setting<Duration>, raw: Option<Raw>) -> Result<Duration, SettingsError> {
        self.or(setting.default, setting.name, raw, |value| rules::duration(value, &setting.range))
    }

    /// One path, absolute.
    pub fn path(&self, name: &str, raw: Option<Raw>) -> Result<Option<PathBuf>, SettingsError> {
        self.optional(name, raw, |value| self.absolute(text(value)?))
    }

    /// One path or a list of them, absolute.
    pub fn paths(&self, name: &str, raw: Option<Raw>) -> Result<Vec<PathBuf>, SettingsError> {
        let entries = match raw {
            Some(Raw { value: RawValue::List(entries), .. }) => entries,
            one => one.into_iter().collect(),
        };
        let paths = entries.into_iter().filter_map(|entry| self.path(name, Some(entry)).transpose());
        paths.collect()
    }

    /// The error for a setting that its rule refuses.
    pub fn refuse(&self, name: &str, at: Option<Position>, refusal: &Refusal) -> SettingsError {
        let at = Location { file: self.file.to_owned(), at };
        let what = refusal.0.clone().into_owned();
        SettingsError::Value { at, setting: name.to_owned(), what }
    }

    /// Relative paths start at the settings file's folder, not at the working folder: a service's
    /// is system32 or `/`.
    fn absolute(&self, text: &str) -> Result<PathBuf, Refusal> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Refusal::new(
                "empty, or with a control character, and so no path; write Windows paths in single \
                 quotes, as \\ has a meaning in double ones",
            );
        }
        let path = self.file.parent().unwrap_or(Path::new("")).join(text);
        // In the operating system's own way (`.`, and on Windows `/`): one file, one spelling.
        Ok(std::path::absolute(&path).unwrap_or(path))
    }
}

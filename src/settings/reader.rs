//! Asks the document for one setting at a time, and says where a refused one stands.

use std::path::{Path, PathBuf};

use serde_saphyr::Location;

use super::error::{Place, SettingsError};
use super::given::{Given, Leaf, Wrong, text};

/// The settings file under examination.
pub(super) struct Reader<'a> {
    file: &'a Path,
}

impl<'a> Reader<'a> {
    /// A reader of the file that stands at `file`.
    pub fn new(file: &'a Path) -> Self {
        Self { file }
    }

    /// The setting by its rule, or its default.
    pub fn or<T>(
        &self,
        default: T,
        setting: &str,
        given: Option<Given>,
        rule: impl FnOnce(&Leaf) -> Result<T, Wrong>,
    ) -> Result<T, SettingsError> {
        Ok(self.optional(setting, given, rule)?.unwrap_or(default))
    }

    /// The setting by its rule, if it is given.
    pub fn optional<T>(
        &self,
        setting: &str,
        given: Option<Given>,
        rule: impl FnOnce(&Leaf) -> Result<T, Wrong>,
    ) -> Result<Option<T>, SettingsError> {
        match given {
            None => Ok(None),
            Some(given) if matches!(given.value, Leaf::Null) => Ok(None),
            Some(given) => {
                rule(&given.value).map(Some).map_err(|wrong| self.refuse(setting, given.referenced, &wrong))
            }
        }
    }

    /// One path, absolute.
    pub fn path(&self, setting: &str, given: Option<Given>) -> Result<Option<PathBuf>, SettingsError> {
        self.optional(setting, given, |value| self.absolute(text(value)?))
    }

    /// One path or a list of them, absolute.
    pub fn paths(&self, setting: &str, given: Option<Given>) -> Result<Vec<PathBuf>, SettingsError> {
        let entries = match given {
            Some(Given { value: Leaf::List(entries), .. }) => entries,
            one => one.into_iter().collect(),
        };
        let paths = entries.into_iter().filter_map(|entry| self.path(setting, Some(entry)).transpose());
        paths.collect()
    }

    /// The error for a setting that its rule refuses.
    pub fn refuse(&self, setting: &str, location: Location, wrong: &Wrong) -> SettingsError {
        let at = Place::new(self.file, Some(location));
        SettingsError::Value { at, setting: setting.to_owned(), what: wrong.0.clone().into_owned() }
    }

    /// Relative paths start at the settings file's folder, not at the working folder: a service's is system32 or `/`.
    fn absolute(&self, text: &str) -> Result<PathBuf, Wrong> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Wrong::new(
                "empty, or with a control character, and so no path; write Windows paths in single quotes, \
                 as \\ has a meaning in double ones",
            );
        }
        let path = self.file.parent().unwrap_or(Path::new("")).join(text);
        // In the operating system's own way (`.`, and on Windows `/`): one file, one spelling.
        Ok(std::path::absolute(&path).unwrap_or(path))
    }
}

//! Which settings apply: the command line over the settings file over the defaults.
//!
//! The rule in full, in this order:
//! 1. A settings file that was named (`--config`, `SALVER_CONFIG`) is used, and must exist.
//! 2. Otherwise the one at the system place is used, if it exists. It is never skipped because it cannot be read: that
//!    would quietly put records into another spool than the service's.
//! 3. Otherwise, if config files are named, this is a try-out: defaults, and the spool is `./salver-spool`.
//! 4. Otherwise, if a spool is named, that is enough for the commands that only look at one.
//! 5. Otherwise there is nothing to work on, and the error says what to do.
//!
//! A named spool and a named flush mode win in every case. Named config files are added to the instances listed in the
//! settings; one of them that is listed there is that instance, with its name, service and versions.

use std::path::{Path, PathBuf};

use super::error::SettingsError;
use super::place::TRY_OUT_SPOOL;
use super::trust;
use super::values::{FlushMode, Instance, Settings};

/// What the command line and the environment say. An empty path counts as not given, as an empty variable does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--config` or `SALVER_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--spool` or `SALVER_SPOOL`; relative to the working folder.
    pub spool: Option<PathBuf>,
    /// Config files named on the command line; relative to the working folder.
    pub watch: Vec<PathBuf>,
    /// `--flush`.
    pub flush_mode: Option<FlushMode>,
}

/// The settings that apply, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The settings, with the overrides laid over them.
    pub settings: Settings,
    /// The settings file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Files were named and no settings file was found: the spool is to be named on screen.
    pub try_out: bool,
}

/// Decides which settings apply. `system_place` is [`super::system_place`] outside of tests.
pub fn resolve(overrides: Overrides, system_place: &Path) -> Result<Resolved, SettingsError> {
    let spool = given(overrides.spool).map(absolute).transpose()?;
    let watch = overrides.watch.into_iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let file = settings_file(given(overrides.config), system_place)?;
    let try_out = file.is_none() && !watch.is_empty();
    if file.is_none() && spool.is_none() && !try_out {
        return Err(SettingsError::Nothing { place: system_place.to_owned() });
    }
    let mut settings = file.as_deref().map(load_trusted).transpose()?.unwrap_or_default();
    match spool {
        Some(spool) => settings.spool.directory = spool,
        None if try_out => settings.spool.directory = absolute(PathBuf::from(TRY_OUT_SPOOL))?,
        None => {}
    }
    if let Some(mode) = overrides.flush_mode {
        settings.flush.mode = mode;
    }
    add(&mut settings.instances, watch);
    Ok(Resolved { settings, file, try_out })
}

fn load_trusted(file: &Path) -> Result<Settings, SettingsError> {
    let settings = Settings::load(file)?;
    trust::check(file, &settings.catalogues)?;
    Ok(settings)
}

/// The settings file to read: the one named, or the one at the system place if there is anything at all.
fn settings_file(config: Option<PathBuf>, system_place: &Path) -> Result<Option<PathBuf>, SettingsError> {
    if let Some(config) = config {
        return absolute(config).map(Some);
    }
    match system_place.try_exists() {
        Ok(true) => Ok(Some(system_place.to_owned())),
        Ok(false) => Ok(None),
        Err(error) => Err(SettingsError::Unreadable { file: system_place.to_owned(), cause: error.into() }),
    }
}

/// Adds an instance for each named file that no instance has yet, with everything left to be told by the file.
fn add(instances: &mut Vec<Instance>, watch: Vec<PathBuf>) {
    for file in watch {
        if !instances.iter().any(|instance| instance.config_files.contains(&file)) {
            instances.push(Instance::of_file(file));
        }
    }
}

fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn absolute(path: PathBuf) -> Result<PathBuf, SettingsError> {
    std::path::absolute(&path).map_err(|error| SettingsError::NoSuchFolder { path, cause: error.kind() })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder with a settings file of two instances, and one place where there is none.
    fn folder() -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("salver.yaml");
        let text = "flush: {every: 1h}\nspool: {directory: kept}\n\
                    instances: [{name: one, configFile: one.yaml}, {name: two, configFile: two.yaml}]";
        std::fs::write(&file, text).unwrap();
        let nowhere = folder.path().join("nowhere.yaml");
        (folder, file, nowhere)
    }

    #[test]
    fn a_named_file_must_exist_and_wins_over_the_system_place() {
        let (folder, file, nowhere) = folder();
        let other = folder.path().join("other.yaml");
        std::fs::write(&other, "flush: {every: 2h}").unwrap();
        let named = Overrides { config: Some(other.clone()), ..Overrides::default() };
        assert_eq!(resolve(named, &file).unwrap().file, Some(other));
        let missing = Overrides { config: Some(nowhere.clone()), ..Overrides::default() };
        assert_eq!(resolve(missing, &file), Err(SettingsError::Missing { file: nowhere }));
    }

    #[test]
    fn the_system_place_is_used_if_it_exists_and_flags_lie_over_it() {
        let (folder, file, _) = folder();
        let plain = resolve(Overrides::default(), &file).unwrap();
        assert_eq!(plain.settings.spool.directory, folder.path().join("kept"));
        assert_eq!((plain.settings.instances.len(), plain.try_out), (2, false));
        let spool = folder.path().join("other");
        let flags = Overrides {
            spool: Some(spool.clone()),
            flush_mode: Some(FlushMode::Auto),
            ..Overrides::default()
        };
        let laid_over = resolve(flags, &file).unwrap().settings;
        assert_eq!((laid_over.spool.directory, laid_over.flush.mode), (spool, FlushMode::Auto));
        assert_eq!(laid_over.flush.every, plain.settings.flush.every);
    }

    #[test]
    fn named_files_need_no_settings_and_are_then_a_try_out() {
        let (_folder, _, nowhere) = folder();
        let watch = vec![PathBuf::from("a.yaml"), PathBuf::from("./a.yaml")];
        let here = std::env::current_dir().unwrap();
        let try_out = resolve(Overrides { watch: watch.clone(), ..Overrides::default() }, &nowhere).unwrap();
        assert!(try_out.try_out && try_out.file.is_none());
        assert_eq!(try_out.settings.spool.directory, here.join("salver-spool"));
        assert_eq!(try_out.settings.instances, [Instance::of_file(here.join("a.yaml"))]);
        let spool = Some(PathBuf::from("mine"));
        let named = resolve(Overrides { watch, spool, ..Overrides::default() }, &nowhere).unwrap();
        assert_eq!(named.settings.spool.directory, here.join("mine"));
    }

    #[test]
    fn named_files_are_added_to_the_instances_listed_unless_they_are_among_them() {
        let (folder, file, _) = folder();
        let watch = vec![folder.path().join("two.yaml"), folder.path().join("new.yaml")];
        let named = Overrides { watch: watch.clone(), ..Overrides::default() };
        let resolved = resolve(named, &file).unwrap();
        let instances = resolved.settings.instances;
        let names: Vec<_> = instances.iter().map(|instance| instance.name.as_deref()).collect();
        assert_eq!(names, [Some("one"), Some("two"), None]);
        assert_eq!(instances[2].config_files, watch[1..]);
        assert!(!resolved.try_out);
    }

    #[test]
    fn a_spool_alone_is_enough_and_nothing_at_all_is_an_error_with_the_next_step() {
        let (folder, _, nowhere) = folder();
        let spool = Some(folder.path().join("spool"));
        let resolved = resolve(Overrides { spool: spool.clone(), ..Overrides::default() }, &nowhere).unwrap();
        assert_eq!((Some(resolved.settings.spool.directory), resolved.try_out), (spool, false));
        // An empty variable is as good as none; a ./salver-spool that happens to be here is never looked for.
        let empty =
            Overrides { spool: Some(PathBuf::new()), config: Some(PathBuf::new()), ..Overrides::default() };
        let error = resolve(empty, &nowhere).unwrap_err().to_string();
        assert!(
            error.contains("nowhere.yaml does not exist") && error.contains("salver.sample.yaml"),
            "{error}"
        );
    }
}

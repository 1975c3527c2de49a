//! Which settings apply: the command line over the settings file over the defaults.
//!
//! The rule in full, in this order:
//! 1. A settings file that was named (`--config`, `SALVER_CONFIG`) is used, and must exist.
//! 2. Otherwise the system's settings file is used, if it exists. It is never skipped because it
//!    cannot be read: that would quietly put records into another spool than the service's.
//! 3. Otherwise, if config files are named, this is a try-out: defaults, and the spool is
//!    `./salver-spool`.
//! 4. Otherwise, if a spool is named, that is enough for the commands that only look at one.
//! 5. Otherwise there is nothing to work on, and the error names the next step.
//!
//! A named spool and a named flush mode win in every case. Named config files are added to the
//! instances listed in the settings; one of them that is listed there is that instance, with its
//! name, service and versions.

use std::path::{Path, PathBuf};

use super::error::SettingsError;
use super::file::{self, Settings};
use super::flush::FlushMode;
use super::inputs::SettingsInputs;
use super::instances::InstanceSettings;
use super::paths::TRY_OUT_SPOOL;
use super::trust;

/// The command line and the environment. An empty path counts as not given, as an empty variable
/// does.
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
    pub inputs: SettingsInputs,
}

impl Resolved {
    /// Whether the other settings, perhaps of a file with other bytes, say the same.
    pub fn says_the_same_as(&self, other: &Resolved) -> bool {
        self.settings == other.settings && self.file == other.file && self.try_out == other.try_out
    }
}

/// Decides which settings apply. `system_settings` is [`super::system_settings`] outside of tests.
pub fn resolve(overrides: Overrides, system_settings: &Path) -> Result<Resolved, SettingsError> {
    let spool = unless_empty(overrides.spool).map(absolute).transpose()?;
    let watch = overrides.watch.into_iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let file = settings_file(unless_empty(overrides.config), system_settings)?;
    let try_out = file.is_none() && !watch.is_empty();
    if file.is_none() && spool.is_none() && !try_out {
        return Err(SettingsError::NoSettings { looked_at: system_settings.to_owned() });
    }
    let text = file.as_deref().map(file::read).transpose()?;
    let read = file.as_deref().zip(text.as_deref());
    let mut settings = read.map(parse_trusted).transpose()?.unwrap_or_default();
    match spool {
        Some(spool) => settings.spool.directory = spool,
        None if try_out => settings.spool.directory = absolute(PathBuf::from(TRY_OUT_SPOOL))?,
        None => {}
    }
    if let Some(mode) = overrides.flush_mode {
        settings.flush.mode = mode;
    }
    add(&mut settings.instances, watch);
    require_unicode(&settings)?;
    let inputs = SettingsInputs::new(&settings, read);
    Ok(Resolved { settings, file, try_out, inputs })
}

fn parse_trusted((file, text): (&Path, &str)) -> Result<Settings, SettingsError> {
    let settings = Settings::parse(text, file)?;
    trust::check(file, &settings.catalogues)?;
    Ok(settings)
}

/// Paths go into the spool, into JSON and into the requests of workers, none of which can hold
/// others. One may come from the command line, from the working folder or from the folder of the
/// settings file.
fn require_unicode(settings: &Settings) -> Result<(), SettingsError> {
    let files = settings.instances.iter().flat_map(|instance| &instance.config_files);
    let mut paths =
        files.chain([&settings.spool.directory]).chain(&settings.posthog.ca_file).chain(&settings.catalogues);
    match paths.find(|path| path.to_str().is_none()) {
        Some(path) => Err(SettingsError::NotUnicode { path: path.clone() }),
        None => Ok(()),
    }
}

/// The settings file to read: the one named, or the system's if there is anything at all.
fn settings_file(config: Option<PathBuf>, system_settings: &Path) -> Result<Option<PathBuf>, SettingsError> {
    if let Some(config) = config {
        return absolute(config).map(Some);
    }
    match system_settings.try_exists() {
        Ok(true) => Ok(Some(system_settings.to_owned())),
        Ok(false) => Ok(None),
        Err(error) => {
            Err(SettingsError::Unreadable { file: system_settings.to_owned(), cause: error.into() })
        }
    }
}

/// Adds an instance for each named file that no instance has yet, with everything left to be told
/// by the file.
fn add(instances: &mut Vec<InstanceSettings>, watch: Vec<PathBuf>) {
    for file in watch {
        if !instances.iter().any(|instance| instance.config_files.contains(&file)) {
            instances.push(InstanceSettings::of_file(file));
        }
    }
}

fn unless_empty(path: Option<PathBuf>) -> Option<PathBuf> {
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
    fn a_named_file_must_exist_and_wins_over_the_systems() {
        let (folder, file, nowhere) = folder();
        let other = folder.path().join("other.yaml");
        std::fs::write(&other, "flush: {every: 2h}").unwrap();
        let named = Overrides { config: Some(other.clone()), ..Overrides::default() };
        assert_eq!(resolve(named, &file).unwrap().file, Some(other));
        let missing = Overrides { config: Some(nowhere.clone()), ..Overrides::default() };
        assert_eq!(resolve(missing, &file), Err(SettingsError::Missing { file: nowhere }));
    }

    #[test]
    fn the_systems_file_is_used_if_it_exists_and_flags_lie_over_it() {
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
        assert_eq!(try_out.settings.instances, [InstanceSettings::of_file(here.join("a.yaml"))]);
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
        // An empty variable is as good as none; a ./salver-spool that happens to be here is never
        // looked for.
        let empty =
            Overrides { spool: Some(PathBuf::new()), config: Some(PathBuf::new()), ..Overrides::default() };
        let error = resolve(empty, &nowhere).unwrap_err().to_string();
        assert!(
            error.contains("nowhere.yaml does not exist") && error.contains("salver.sample.yaml"),
            "{error}"
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_path_that_is_not_unicode_is_refused_in_words() {
        use std::os::unix::ffi::OsStrExt;

        let (folder, file, nowhere) = folder();
        let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"odd\xFF"));
        let watch = Overrides { watch: vec![odd.join("a.yaml")], ..Overrides::default() };
        let spool = Overrides { spool: Some(odd.clone()), ..Overrides::default() };
        std::fs::create_dir(&odd).unwrap();
        std::fs::copy(&file, odd.join("salver.yaml")).unwrap();
        let config = Overrides { config: Some(odd.join("salver.yaml")), ..Overrides::default() };
        for overrides in [watch, spool, config] {
            let error = resolve(overrides, &nowhere).unwrap_err().to_string();
            assert!(error.contains("odd") && error.contains("valid Unicode"), "{error}");
        }
    }
}

//! The start of most commands: the settings, and the instances that the arguments name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::exit::Usage;
use super::output::say;
use crate::collect::Target;
use crate::secret::Secret;
use crate::settings::{self, FlushMode, InstanceSettings, Overrides, Resolved, Settings};
use crate::spool::SpoolFolder;
use crate::wiring;

/// The arguments that all commands share.
pub struct Context {
    pub config: Option<PathBuf>,
    pub spool: Option<PathBuf>,
    pub quiet: bool,
    /// The logging arguments, for child processes.
    pub logging: Vec<OsString>,
}

impl Context {
    /// The settings, with the command line laid over them.
    pub fn resolve(&self, watch: Vec<PathBuf>, flush_mode: Option<FlushMode>) -> Result<Resolved> {
        let overrides =
            Overrides { config: self.config.clone(), spool: self.spool.clone(), watch, flush_mode };
        Ok(settings::resolve(overrides, &settings::system_settings())?)
    }

    /// Names the spool of a try-out on screen, since no setting names it.
    pub fn name_try_out(&self, resolved: &Resolved) {
        if resolved.try_out && !self.quiet {
            say(&format!("The spool of this try-out is {}.", resolved.settings.spool.directory.display()));
        }
    }

    /// The settings of a command that names no files.
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.resolve(Vec::new(), None)?.settings)
    }

    /// The settings for a command whose arguments name instances or files, and the targets they
    /// name; all instances of the settings if there are no arguments.
    pub fn targets(&self, names: &[String]) -> Result<(Resolved, Vec<Target>)> {
        let files = names.iter().filter(|name| is_path(name)).map(PathBuf::from).collect();
        // Files that no instance has are added to the instances, so each name below is an instance.
        let mut resolved = self.resolve(files, None)?;
        let known = &resolved.settings.instances;
        let find = |name: &String| {
            let file = std::path::absolute(name).ok().filter(|_| is_path(name));
            let found = known.iter().find(|instance| match &file {
                Some(file) => instance.config_files.contains(file),
                None => instance.name.as_ref() == Some(name),
            });
            found.cloned().ok_or_else(|| Usage(unknown(name, known)))
        };
        if !names.is_empty() {
            resolved.settings.instances = names.iter().map(find).collect::<Result<_, _>>()?;
        }
        let targets = wiring::targets(&resolved.settings);
        Ok((resolved, targets))
    }
}

/// The project key of the settings if it is to be revealed, else `***`.
pub fn shown_key(settings: &Settings, reveal: bool) -> Secret {
    let key = settings.posthog.api_key.as_ref().filter(|_| reveal);
    key.cloned().unwrap_or_else(|| Secret::new("***"))
}

/// The consequences of a full disk, and the next step.
pub fn disk_full(folder: &SpoolFolder) -> String {
    let free = folder.short_of_room().map_or_else(String::new, |free| format!(" ({free} bytes are free)"));
    format!(
        "the disk of the spool is full{free}, so nothing can be recorded: free some space, or let `salver flush` or `salver purge` \
         do so; what is spooled already is safe, and a service tries again by itself"
    )
}

/// Whether an argument names a file and not an instance: it looks like a path, or there is such a
/// file.
fn is_path(name: &str) -> bool {
    name.contains(['/', '\\'])
        || name.ends_with(".yaml")
        || name.ends_with(".yml")
        || Path::new(name).is_file()
}

fn unknown(name: &str, known: &[InstanceSettings]) -> String {
    let names: Vec<&str> = known.iter().filter_map(|instance| instance.name.as_deref()).collect();
    match names.as_slice() {
        [] => {
            format!("there is no instance `{name}`, and no file of that name; the settings name no instance")
        }
        names => {
            format!("there is no instance `{name}`, and no file of that name; known are {}", names.join(", "))
        }
    }
}

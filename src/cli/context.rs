//! What most commands start from: the settings, the spool, the instances.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::exit::Usage;
use super::output::say;
use crate::collect::Collector;
use crate::forward::transport::{Endpoint, EndpointSettings};
use crate::forward::wire::RequestOptions;
use crate::record::catalogue::Catalogue;
use crate::secret::Secret;
use crate::settings::{self, FlushMode, Instance, Overrides, Resolved, Settings};
use crate::spool::{SpoolFolder, SpoolLimits};
use crate::target::Target;

/// The arguments that all commands share.
pub struct Context {
    pub config: Option<PathBuf>,
    pub spool: Option<PathBuf>,
    pub quiet: bool,
    /// The arguments that say how to log.
    pub logging: Vec<OsString>,
}

impl Context {
    /// The settings, with what the command line says laid over them.
    pub fn resolve(&self, watch: Vec<PathBuf>, flush_mode: Option<FlushMode>) -> Result<Resolved> {
        let overrides =
            Overrides { config: self.config.clone(), spool: self.spool.clone(), watch, flush_mode };
        Ok(settings::resolve(overrides, &settings::system_place())?)
    }

    /// Names the spool of a try-out on screen, since nobody chose it.
    pub fn name_try_out(&self, resolved: &Resolved) {
        if resolved.try_out && !self.quiet {
            say(&format!("The spool of this try-out is {}.", resolved.settings.spool.directory.display()));
        }
    }

    /// The settings of a command that names no files.
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.resolve(Vec::new(), None)?.settings)
    }

    /// The settings for a command whose arguments name instances or files, and the targets they name; all instances of the
    /// settings if there are no arguments.
    pub fn targets(&self, names: &[String]) -> Result<(Resolved, Vec<Target>)> {
        let files = names.iter().filter(|name| is_path(name)).map(PathBuf::from).collect();
        // Files that no instance has are added to the instances, so from here on everything named is one of them.
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
        let targets = Target::of(&resolved.settings)?;
        Ok((resolved, targets))
    }

    /// The spool of the settings.
    pub fn folder(settings: &Settings) -> SpoolFolder {
        let spool = &settings.spool;
        SpoolFolder {
            path: spool.directory.clone(),
            limits: SpoolLimits {
                max_bytes: spool.max_bytes,
                max_records: spool.max_records,
                retention: spool.retention,
            },
            wait: spool.wait,
        }
    }

    /// Looks and records.
    pub fn collector(settings: &Settings) -> Result<Collector> {
        let catalogue = Catalogue::load(&settings.catalogues)?;
        Ok(Collector::new(catalogue, settings.identity.system_id, settings.watch.settle))
    }

    /// Where to forward to, if an admin wrote both a host and a key.
    pub fn endpoint(settings: &Settings) -> Result<(Endpoint, RequestOptions)> {
        let (endpoint, shape) = Context::destination(settings)?;
        Ok((Endpoint::new(&endpoint)?, shape))
    }

    /// The same, not yet checked by whoever connects.
    pub fn destination(settings: &Settings) -> Result<(EndpointSettings, RequestOptions)> {
        let posthog = &settings.posthog;
        let (Some(host), Some(api_key)) = (&posthog.host, &posthog.api_key) else {
            let missing = if posthog.host.is_none() { "posthog.host" } else { "posthog.apiKey" };
            let text = format!(
                "{missing} is not set, so nothing is sent: write both posthog.host and posthog.apiKey into the settings file"
            );
            return Err(Usage(text).into());
        };
        let endpoint = EndpointSettings {
            host: host.clone(),
            proxy: posthog.proxy.clone(),
            ca_file: posthog.ca_file.clone(),
            timeout: settings.flush.timeout,
        };
        Ok((endpoint, shape(settings, api_key.clone())))
    }
}

/// The shape of a request with this key, or with what is shown in its place.
pub fn shape(settings: &Settings, api_key: Secret) -> RequestOptions {
    RequestOptions {
        api_key,
        batch_bytes: settings.flush.batch_bytes,
        historical_after: settings.flush.historical_after,
        geoip: settings.posthog.geoip,
    }
}

/// The project key of the settings, or what is shown in its place unless it is to be revealed.
pub fn shown_key(settings: &Settings, reveal: bool) -> Secret {
    let key = settings.posthog.api_key.as_ref().filter(|_| reveal);
    key.cloned().unwrap_or_else(|| Secret::new("***"))
}

/// What is to be known of a spool whose disk is full.
pub fn disk_full(folder: &SpoolFolder) -> String {
    let free = folder.short_of_room().map_or_else(String::new, |free| format!(" ({free} bytes are free)"));
    format!(
        "the disk of the spool is full{free}, so nothing can be recorded: free some space, or let `salver flush` or `salver purge` \
         do so; what is spooled already is safe, and a service tries again by itself"
    )
}

/// Whether an argument names a file and not an instance: it looks like a path, or there is such a file.
fn is_path(name: &str) -> bool {
    name.contains(['/', '\\'])
        || name.ends_with(".yaml")
        || name.ends_with(".yml")
        || Path::new(name).is_file()
}

fn unknown(name: &str, known: &[Instance]) -> String {
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

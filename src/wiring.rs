//! The only place where settings become the options of the stages.
//!
//! Why one place: the stages do not know the settings, so each can be used and tested alone, and a
//! reader of a setting finds here everything that it reaches.

use crate::collect::{Collector, Target};
use crate::forward::plan::FlushLimits;
use crate::forward::transport::{Endpoint, EndpointError, EndpointSettings};
use crate::forward::wire::RequestOptions;
use crate::record::catalogue::{Catalogue, CatalogueError};
use crate::record::subject::Subject;
use crate::secret::Secret;
use crate::service::forwarder::ForwardConfig;
use crate::service::look::LookConfig;
use crate::settings::{FlushMode, InstanceSettings, Settings};
use crate::spool::{SpoolFolder, SpoolLimits};
use crate::watch::WatchOptions;

/// The settings name no usable destination.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    #[error(
        "{0} is not set, so nothing is sent: write both posthog.host and posthog.apiKey into the \
         settings file"
    )]
    Missing(&'static str),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

pub fn spool_folder(settings: &Settings) -> SpoolFolder {
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

/// Reads the host's facts and the catalogues.
pub fn collector(settings: &Settings) -> Result<Collector, CatalogueError> {
    let catalogue = Catalogue::load(&settings.catalogues)?;
    Ok(Collector::new(catalogue, settings.identity.system_id, settings.watch.settle))
}

/// The instances of the settings, in their order.
pub fn targets(settings: &Settings) -> Vec<Target> {
    settings.instances.iter().map(target).collect()
}

fn target(instance: &InstanceSettings) -> Target {
    let subject = Subject {
        files: instance.config_files.clone(),
        service: instance.service.clone(),
        service_version: instance.service_version.clone(),
        node_version: instance.node_version.clone(),
    };
    Target::new(instance.name.clone(), subject)
}

/// Reads the catalogues.
pub fn look_config(settings: &Settings) -> Result<LookConfig, CatalogueError> {
    Ok(LookConfig {
        folder: spool_folder(settings),
        catalogue: Catalogue::load(&settings.catalogues)?,
        system_id: settings.identity.system_id,
        settle: settings.watch.settle,
        interval: settings.record.interval,
    })
}

pub fn watch_options(settings: &Settings) -> WatchOptions {
    WatchOptions { settle: settings.watch.settle, poll: settings.watch.poll }
}

/// Where to forward to, if an admin wrote both a host and a key, and the options of each request.
pub fn endpoint(settings: &Settings) -> Result<(Endpoint, RequestOptions), DestinationError> {
    let (endpoint, request) = destination(settings)?;
    Ok((Endpoint::new(&endpoint)?, request))
}

/// The same for another process, which opens the endpoint itself.
fn destination(settings: &Settings) -> Result<(EndpointSettings, RequestOptions), DestinationError> {
    let posthog = &settings.posthog;
    let host = posthog.host.clone().ok_or(DestinationError::Missing("posthog.host"))?;
    let api_key = posthog.api_key.clone().ok_or(DestinationError::Missing("posthog.apiKey"))?;
    let endpoint = EndpointSettings {
        host,
        proxy: posthog.proxy.clone(),
        ca_file: posthog.ca_file.clone(),
        timeout: settings.flush.timeout,
    };
    Ok((endpoint, request_options(settings, api_key)))
}

/// The options of a request with this key, or with the text that is shown in its place.
pub fn request_options(settings: &Settings, api_key: Secret) -> RequestOptions {
    RequestOptions {
        api_key,
        batch_bytes: settings.flush.batch_bytes,
        historical_after: settings.flush.historical_after,
        geoip: settings.posthog.geoip,
    }
}

/// The limits of a flush by hand. `records`: send at most this many.
pub fn flush_limits(settings: &Settings, records: Option<u64>) -> FlushLimits {
    let flush = &settings.flush;
    FlushLimits { batch_events: flush.batch_events, patience: flush.patience, records }
}

/// What the service forwards with, if it is to do so by itself. Nothing is connected, but a setting
/// that cannot be used is an error here.
pub fn forward_config(
    settings: &Settings,
    look: &LookConfig,
    targets: &[Target],
) -> Result<Option<ForwardConfig>, DestinationError> {
    if settings.flush.mode == FlushMode::Manual {
        return Ok(None);
    }
    let (endpoint, request) = destination(settings)?;
    Endpoint::new(&endpoint)?;
    // The next attempt is never far, so an attempt of the service does not wait.
    let patience = std::time::Duration::ZERO;
    Ok(Some(ForwardConfig {
        look: look.clone(),
        endpoint,
        request,
        limits: FlushLimits { patience, ..flush_limits(settings, None) },
        every: settings.flush.every,
        targets: targets.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    const ALL: &str = "
spool: {directory: spool, maxBytes: 3 MiB, maxRecords: 7, retention: 3h, wait: 4s}
watch: {settle: 50ms, poll: 6s}
record: {interval: 8h}
flush: {mode: auto, every: 9m, batchEvents: 11, batchBytes: 1 MiB, timeout: 12s, patience: 13s,
        historicalAfter: 14h}
posthog: {host: 'https://posthog.example', apiKey: phc_k, proxy: 'http://p:1', geoip: true}
instances: [{name: a, service: butler, configFile: a.yaml, serviceVersion: 1.2.3, nodeVersion: v4.5.6}]
";

    fn settings(text: &str) -> Settings {
        let file = std::path::absolute(Path::new("conf/salver.yaml")).unwrap();
        Settings::parse(text, &file).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_setting_reaches_the_options_of_its_stage() {
        let settings = settings(ALL);
        let SpoolFolder { path, limits, wait } = spool_folder(&settings);
        assert_eq!((path, wait), (settings.spool.directory.clone(), Duration::from_secs(4)));
        assert_eq!((limits.max_bytes, limits.max_records), (3 << 20, 7));
        assert_eq!(limits.retention, Duration::from_hours(3));
        let WatchOptions { settle, poll } = watch_options(&settings);
        assert_eq!((settle, poll), (Duration::from_millis(50), Duration::from_secs(6)));
        let look = look_config(&settings).unwrap();
        assert_eq!((look.settle, look.interval), (settle, Some(Duration::from_hours(8))));
        let targets = targets(&settings);
        let Subject { files, service, service_version, node_version } = &targets[0].subject;
        assert_eq!(files, &settings.instances[0].config_files);
        assert_eq!((targets[0].name.as_deref(), service.as_deref()), (Some("a"), Some("butler")));
        assert_eq!(service_version, &Some(semver::Version::new(1, 2, 3)));
        assert_eq!(node_version.as_deref(), Some("v4.5.6"));
        let forward = forward_config(&settings, &look, &targets).unwrap().unwrap();
        assert_eq!(forward.every, Duration::from_mins(9));
        let FlushLimits { batch_events, patience, records } = forward.limits;
        assert_eq!((batch_events, patience, records), (11, Duration::ZERO, None));
        assert_eq!(flush_limits(&settings, Some(2)).patience, Duration::from_secs(13));
        assert_eq!(flush_limits(&settings, Some(2)).records, Some(2));
        let EndpointSettings { host, proxy, ca_file, timeout } = forward.endpoint;
        assert_eq!((host.as_str(), timeout), ("https://posthog.example", Duration::from_secs(12)));
        assert_eq!((proxy.as_ref().map(Secret::expose), ca_file), (Some("http://p:1"), None));
        let RequestOptions { api_key, batch_bytes, historical_after, geoip } = forward.request;
        assert_eq!((api_key.expose(), batch_bytes, geoip), ("phc_k", 1 << 20, true));
        assert_eq!(historical_after, Duration::from_hours(14));
    }

    #[test]
    fn nothing_is_forwarded_without_a_host_and_a_key_and_the_missing_one_is_named() {
        for (text, missing) in [
            ("{apiKey: phc_k}", "posthog.host is not set"),
            ("{host: 'https://posthog.example'}", "posthog.apiKey is not set"),
        ] {
            let settings = settings(&format!("flush: {{mode: auto}}\nposthog: {text}"));
            let look = look_config(&settings).unwrap();
            let error = forward_config(&settings, &look, &[]).err().expect(text).to_string();
            assert!(error.contains(missing), "{error}");
        }
        let by_hand = settings("flush: {mode: manual}");
        assert!(forward_config(&by_hand, &look_config(&by_hand).unwrap(), &[]).unwrap().is_none());
    }
}

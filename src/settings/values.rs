//! The settings as the rest of salver sees them, and their defaults.
//!
//! The defaults are part of the contract (design, `salver.yaml`): they stand here once, and the tests hold the sample
//! file and the documentation to them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::place::system_spool;
use crate::record::identity::SystemIdSource;
use crate::secret::Secret;

/// Everything that can be set. Paths are absolute, numbers within the limits, names distinct.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where records wait, and for how much and how long there is room.
    pub spool: Spool,
    /// How changes are noticed.
    pub watch: Watch,
    /// When a record is written although nothing changed.
    pub record: RecordSettings,
    /// What goes into the anonymous id.
    pub identity: Identity,
    /// When and in what portions records are forwarded.
    pub flush: Flush,
    /// Where to. Without both a host and a key nothing is ever sent.
    pub posthog: PostHog,
    /// Folders with catalogues beyond those compiled in; a later one wins.
    pub catalogues: Vec<PathBuf>,
    /// The config files that are watched.
    pub instances: Vec<Instance>,
}

/// `spool`: the queue on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// The spool's folder.
    pub directory: PathBuf,
    /// Most bytes that the files of the folder may take; beyond it the oldest records are evicted.
    pub max_bytes: u64,
    /// Most records that may wait; beyond it the oldest are evicted.
    pub max_records: u64,
    /// Age at which a record that could not be delivered expires.
    pub retention: Duration,
    /// How long a command waits for another process to let go of the spool.
    pub wait: Duration,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: system_spool(),
            max_bytes: 1 << 30,
            max_records: 1_000_000,
            retention: Duration::from_hours(730 * 24),
            wait: Duration::from_secs(10),
        }
    }
}

/// `watch`: noticing changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// How long a file must have been quiet before it is read.
    pub settle: Duration,
    /// How often files are looked at even if the operating system reports nothing (it does not on network shares).
    pub poll: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self { settle: Duration::from_millis(250), poll: Duration::from_mins(1) }
    }
}

/// `record`: records beyond those that a change gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordSettings {
    /// Age of an instance's last record at which one is written although nothing changed; `None` is `off`.
    pub interval: Option<Duration>,
}

/// `identity`: the ingredients of the anonymous id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Where the system id comes from.
    pub system_id: SystemIdSource,
}

/// `flush`: forwarding.
#[derive(Clone, Debug, PartialEq)]
pub struct Flush {
    /// Who starts a flush.
    pub mode: FlushMode,
    /// How often the service looks whether there is something to forward.
    pub every: Duration,
    /// Most events in one request.
    pub batch_events: usize,
    /// Most bytes of JSON in one request, before gzip.
    pub batch_bytes: u64,
    /// Longest time that one request may take.
    pub timeout: Duration,
    /// Longest time that a flush by hand waits in all.
    pub patience: Duration,
    /// Age from which records are sent as historical.
    pub historical_after: Duration,
}

impl Default for Flush {
    fn default() -> Self {
        Self {
            mode: FlushMode::Manual,
            every: Duration::from_mins(15),
            batch_events: 2000,
            batch_bytes: 8 << 20,
            timeout: Duration::from_secs(30),
            patience: Duration::from_secs(10),
            historical_after: Duration::from_hours(48),
        }
    }
}

/// `flush.mode`; prints and parses as the word in the settings file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushMode {
    /// Only `salver flush` forwards.
    #[default]
    Manual,
    /// The service forwards by itself.
    Auto,
}

impl FlushMode {
    /// The words of the settings file and the command line.
    pub(super) const WORDS: [(&'static str, Self); 2] = [("manual", Self::Manual), ("auto", Self::Auto)];
}

impl fmt::Display for FlushMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
        })
    }
}

impl FromStr for FlushMode {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::WORDS.into_iter().find(|(known, _)| *known == word);
        found.map(|(_, mode)| mode).ok_or(UnknownWord("manual or auto"))
    }
}

/// A word on the command line that is none of those known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write {0}")]
pub struct UnknownWord(&'static str);

/// `posthog`: where records go. Debug prints of it hold no secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostHog {
    /// Scheme, name and port, such as `https://eu.posthog.com`, without a slash at the end.
    pub host: Option<String>,
    /// The project key.
    pub api_key: Option<Secret>,
    /// The proxy's URL with its credentials; `None` leaves it to the environment.
    pub proxy: Option<Secret>,
    /// PEM file with certificates that are trusted beside the operating system's own.
    pub ca_file: Option<PathBuf>,
    /// Whether a host other than this machine may be spoken to without TLS.
    pub allow_plain_http: bool,
    /// Whether PostHog may look up a place by the address of the sender.
    pub geoip: bool,
}

/// One watched installation of Butler or Butler SOS. `None` stands for `auto`.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The instance's key; without one it is [`super::default_name`], once the service is known.
    pub name: Option<String>,
    /// The service's name in the catalogue; by default the top-level key of the file tells.
    pub service: Option<String>,
    /// The config files, at least one, the later laid over the earlier.
    pub config_files: Vec<PathBuf>,
    /// The tool's version, a full semantic version; by default its package.json tells.
    pub service_version: Option<String>,
    /// The version of Node that runs the tool, such as `v20.20.2`.
    pub node_version: Option<String>,
}

impl Instance {
    /// An instance of which only the file is known, as `--watch FILE` gives it.
    pub fn of_file(file: PathBuf) -> Self {
        Self {
            name: None,
            service: None,
            config_files: vec![file],
            service_version: None,
            node_version: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::shape::{INSTANCE_KEYS, SECTIONS};
    use super::*;

    const SAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/salver.sample.yaml"));
    const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md"));

    fn parse(text: &str) -> Settings {
        Settings::parse(text, Path::new("/etc/salver/salver.yaml")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The sample with everything switched on: a setting follows its `#` at once or, within an entry of the list, after
    /// two spaces; prose follows after one.
    fn sample_in_full() -> String {
        let switch_on = |line: &str| match line.split_once('#') {
            Some((indent, rest)) if indent.trim().is_empty() => match rest.len() - rest.trim_start().len() {
                0 | 2 => format!("{indent}{rest}\n"),
                _ => format!("{line}\n"),
            },
            _ => format!("{line}\n"),
        };
        SAMPLE.lines().map(switch_on).collect()
    }

    #[test]
    fn the_sample_as_it_stands_is_the_defaults() {
        assert_eq!(parse(SAMPLE), Settings::default());
        assert_eq!(parse(&SAMPLE.replace('\n', "\r\n")), Settings::default());
    }

    #[test]
    fn every_setting_is_in_the_sample_and_in_the_documentation() {
        let sample = sample_in_full();
        let keys = SECTIONS.iter().flat_map(|(_, keys)| *keys).chain(INSTANCE_KEYS);
        for key in keys.chain(&["catalogues"]) {
            assert!(
                sample
                    .lines()
                    .any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{key}:"))),
                "{key}"
            );
            assert!(DOCS.contains(&format!("\n| `{key}` | ")), "{key}");
        }
    }

    #[test]
    fn what_the_sample_switches_off_works_when_it_is_switched_on() {
        let settings = parse(&sample_in_full());
        assert_eq!(settings.posthog.host.as_deref(), Some("https://eu.posthog.com"));
        assert!(settings.posthog.api_key.is_some() && settings.posthog.proxy.is_some());
        assert!(settings.posthog.ca_file.is_some());
        assert_ne!(settings.spool.directory, system_spool());
        let names: Vec<_> =
            settings.instances.iter().map(|instance| instance.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["butler", "butler-sos"]);
        assert_eq!(
            settings.instances[0],
            Instance {
                name: Some("butler".into()),
                ..Instance::of_file(settings.instances[0].config_files[0].clone())
            }
        );
        assert_eq!(settings.instances[1].service_version.as_deref(), Some("15.0.0"));
    }

    #[test]
    fn a_flush_mode_is_its_word() {
        for (word, mode) in FlushMode::WORDS {
            assert_eq!(word.parse(), Ok(mode));
            assert_eq!(mode.to_string(), word);
        }
        assert_eq!("Auto".parse::<FlushMode>().unwrap_err().to_string(), "write manual or auto");
    }
}

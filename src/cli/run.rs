//! `salver run`: the service in the foreground.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use anyhow::{Context as _, Result};

use super::context::Context;
use super::exit::{Ended, Usage};
use super::record::assumption;
use crate::collect::{Collector, Looked};
use crate::forward::plan::Limits;
use crate::forwarder::{Forwarder, Forwarding};
use crate::record::observe::State;
use crate::record::{Reason, message};
use crate::service::{Screen, Service, Wake};
use crate::settings::{FlushMode, Settings};
use crate::spool::{Spool, SpoolError, SpoolFolder};
use crate::stop::Stop;
use crate::target::Target;

/// What to watch, and how to forward.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Watch this config file; needs no settings file
    #[arg(long, value_name = "FILE")]
    watch: Vec<PathBuf>,

    /// Forward by hand only, or by itself; overrides the settings
    #[arg(long, value_name = "manual|auto")]
    flush: Option<FlushMode>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Ended> {
    let resolved = context.resolve(arguments.watch, arguments.flush)?;
    let settings = &resolved.settings;
    if settings.instances.is_empty() {
        return Err(Usage(
            "the settings name no instance to watch; add one under `instances`, or use --watch FILE".into(),
        )
        .into());
    }
    let targets = Target::of(settings)?;
    let folder = Context::folder(settings);
    let collector = Arc::new(Context::collector(settings)?);
    let forwarding = match settings.flush.mode {
        FlushMode::Manual => None,
        FlushMode::Auto => {
            let (endpoint, shape) = Context::endpoint(settings)?;
            Some(Forwarding {
                folder: folder.clone(),
                endpoint: Arc::new(endpoint),
                shape,
                limits: limits(settings),
                every: settings.flush.every,
                collector: Arc::clone(&collector),
                targets: targets.clone(),
            })
        }
    };
    // Fails here rather than at the first record if the folder cannot be used. A full disk may have room again later.
    match folder.open(crate::clock::now_ms()).and_then(Spool::close) {
        Err(error) if error.is_full() => {}
        opened => opened?,
    }

    let stop = Stop::default();
    let (sender, receiver) = mpsc::channel();
    let (asked, wake) = (stop.clone(), sender.clone());
    ctrlc::set_handler(move || {
        asked.set();
        // The loop is gone only when it has stopped already.
        _ = wake.send(Wake::Stop);
    })
    .context("cannot listen for the signal to stop")?;

    let mut screen = Terminal {
        try_out: resolved.try_out,
        quiet: context.quiet,
        folder: folder.clone(),
        said_next: false,
        said: HashMap::new(),
        introduced: HashSet::new(),
    };
    context.name_try_out(&resolved);
    for target in &targets {
        screen.introduced.extend(introduce(&collector, &folder, target)?);
    }
    let forwarder = forwarding.map(|forwarding| Forwarder::start(forwarding, stop.clone())).transpose()?;
    let service = Service { collector: &collector, folder: &folder, settings, targets };
    service.run(sender, &receiver, &mut screen);
    if let Some(forwarder) = forwarder {
        forwarder.stop();
    }
    tracing::info!("stopped");
    Ok(Ended::Done)
}

fn limits(settings: &Settings) -> Limits {
    Limits { batch_events: settings.flush.batch_events, patience: std::time::Duration::ZERO, records: None }
}

/// Prints the id of an instance, as the tools do at their start; tells its name, if it can be read now.
fn introduce(collector: &Collector, folder: &SpoolFolder, target: &Target) -> Result<Option<String>> {
    let Ok(observation) = collector.observe(target) else {
        return Ok(None);
    };
    let State::Reports(report) = &observation.state else {
        return Ok(None);
    };
    let name = target.key(&observation.service);
    let id = match collector.ids.next(folder, &name, report) {
        // Then it is printed with the first record.
        Err(error) if error.is_full() => return Ok(None),
        next => next?.id,
    };
    show_id(&id, &name, &observation.service, &observation.version.version.to_string());
    Ok(Some(name))
}

fn show_id(id: &str, name: &str, service: &str, version: &str) {
    show(&format!("Instance ID : {id}  ({name}: {service} {version})"));
}

/// Writes a line to stdout. That nobody reads there any more is no reason to stop recording.
fn show(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// Shows what the service does: as log lines, and in a try-out the records as well.
struct Terminal {
    try_out: bool,
    quiet: bool,
    folder: SpoolFolder,
    said_next: bool,
    /// What was last said of each instance: it is said again only when it has changed.
    said: HashMap<String, String>,
    /// The instances whose id was shown.
    introduced: HashSet<String>,
}

impl Screen for Terminal {
    fn looked(&mut self, looked: &Looked) {
        match looked {
            Looked::Recorded { name, record, assumed } => {
                self.said.remove(name);
                if self.introduced.insert(name.clone()) {
                    let draft = &record.draft;
                    show_id(&draft.id, name, &draft.layout.service, &draft.service_version);
                }
                tracing::info!(instance = %name, uuid = %record.uuid, reason = record.reason.as_str(), "recorded");
                if *assumed && record.reason == Reason::Started {
                    tracing::info!(instance = %name, "{}", assumption(&record.draft.service_version));
                }
                if self.try_out {
                    show(&message::line(&message::message(record)));
                    self.say_next();
                }
            }
            Looked::Unchanged { name } => {
                self.said.remove(name);
                tracing::debug!(instance = %name, "nothing that is reported changed");
            }
            Looked::Off { name, why, erased } => {
                if self.is_news(name, why) {
                    tracing::info!(instance = %name, "not collected: {why}");
                }
                if *erased > 0 {
                    tracing::warn!(instance = %name, records = erased, "unsent records were erased");
                }
            }
            Looked::Held { name, error } => {
                if self.is_news(name, &error.to_string()) {
                    tracing::warn!(instance = %name, "held: {error}");
                }
            }
        }
    }

    fn spool_failed(&mut self, error: &SpoolError) {
        if self.is_news("", &error.to_string()) {
            tracing::error!("{error}");
        }
    }
}

impl Terminal {
    /// Whether this is not what was last said of the instance.
    fn is_news(&mut self, name: &str, text: &str) -> bool {
        self.said.insert(name.to_owned(), text.to_owned()).as_deref() != Some(text)
    }

    /// What to do next, once.
    fn say_next(&mut self) {
        if std::mem::replace(&mut self.said_next, true) || self.quiet {
            return;
        }
        let salver = std::env::args().next().unwrap_or_else(|| "salver".into());
        let spool = self.folder.path.display();
        eprintln!(
            "\nThat is the whole record. It waits in {spool}; nothing is sent before you say where to.\n\
             Edit the config file and watch another record appear. In a second terminal:\n\n  \
             {salver} --spool {spool} dump\n  \
             {salver} --spool {spool} status\n\n\
             and, once a settings file names posthog.host and posthog.apiKey, to deliver it:\n\n  \
             {salver} --config FILE --spool {spool} flush\n\n\
             Ctrl-C stops.\n"
        );
    }
}

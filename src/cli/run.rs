//! `salver run`: the service in the foreground.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};

use anyhow::{Context as _, Result};

use super::context::Context;
use super::exit::{Ended, Usage};
use super::output::say;
use super::record::assumption;
use super::signals;
use crate::collect::{Introduction, LookOutcome, Recorded, UnreadableFiles};
use crate::record::Reason;
use crate::service::forwarder::{ForwardConfig, Forwarder};
use crate::service::look::{Fault, FaultKind};
use crate::service::worker::Program;
use crate::service::{ExitReason, Reporter, ServiceLoop, Wake};
use crate::settings::{FlushMode, Resolved};
use crate::wiring;

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

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let (sender, receiver) = mpsc::channel();
    let mut job = Job::load(context, arguments, &sender)?;
    signals::listen(sender.clone()).context("cannot listen for the signal to stop")?;
    let mut terminal = Terminal::new(context, &job.resolved);
    context.name_try_out(&job.resolved);
    job.start()?;
    loop {
        let asked = match job.service.run(&receiver, &mut terminal) {
            ExitReason::Stopped => break,
            ExitReason::SpoolUnusable(fault) => return Err(fault.into()),
            ExitReason::Reload { asked } => asked,
        };
        match Job::load(context, arguments, &sender).and_then(Job::with_its_spool_tried) {
            Ok(next) if !asked && job.means_the_same_as(&next) => {
                tracing::debug!("the settings file changed, and means the same as before");
                job.service.settings_unchanged(next.in_force);
            }
            Ok(next) => {
                job.stop(&mut terminal);
                job = next;
                terminal.serve(&job.resolved);
                job.start()?;
                tracing::info!("the settings were read anew and are applied");
            }
            Err(error) => {
                let say = job.service.settings_refused(&format!("{error:#}"));
                if say || asked {
                    tracing::error!(
                        "the settings cannot be applied, those from before stay in force: {error:#}"
                    );
                }
            }
        }
    }
    job.stop(&mut terminal);
    tracing::info!("stopped");
    Ok(Ended::Done)
}

/// All that follows from the settings at one moment, checked as a whole.
struct Job {
    resolved: Resolved,
    /// Digest of the bytes that the settings were read from.
    in_force: [u8; 32],
    program: Program,
    service: ServiceLoop,
    /// Taken out when the forwarder is started.
    forward_config: Option<ForwardConfig>,
    forwarder: Option<Forwarder>,
}

impl Job {
    fn load(context: &Context, arguments: &Arguments, sender: &Sender<Wake>) -> Result<Job> {
        let resolved = context.resolve(arguments.watch.clone(), arguments.flush)?;
        let in_force = resolved.inputs.digest_in_force();
        let settings = &resolved.settings;
        if settings.instances.is_empty() {
            return Err(Usage(
                "the settings name no instance to watch; add one under `instances`, or use --watch FILE"
                    .into(),
            )
            .into());
        }
        let targets = wiring::targets(settings);
        let config = wiring::look_config(settings)?;
        let forward_config = wiring::forward_config(settings, &config, &targets)?;
        let program = Program::this(context.logging.clone()).context("cannot find the program that runs")?;
        let watch = wiring::watch_options(settings);
        let inputs = (resolved.inputs.clone(), in_force);
        let service = ServiceLoop::new(program.clone(), config, watch, inputs, targets, sender.clone());
        Ok(Job { resolved, in_force, program, service, forward_config, forwarder: None })
    }

    /// Settings whose spool cannot be used are refused.
    fn with_its_spool_tried(mut self) -> Result<Job> {
        self.service.try_spool()?;
        Ok(self)
    }

    /// Whether the other job would do the same. Catalogues cannot be compared.
    fn means_the_same_as(&self, other: &Job) -> bool {
        self.resolved.says_the_same_as(&other.resolved) && self.resolved.settings.catalogues.is_empty()
    }

    fn start(&mut self) -> Result<()> {
        let start = |config| Forwarder::start(self.program.clone(), config);
        self.forwarder = self.forward_config.take().map(start).transpose()?;
        Ok(())
    }

    fn stop(self, reporter: &mut dyn Reporter) {
        self.service.stop(reporter);
        if let Some(forwarder) = self.forwarder {
            forwarder.stop();
        }
    }
}

/// Prints the id of an instance, as the tools do at their start.
fn show_id(id: &str, name: &str, service: &str, version: &str) {
    show(&format!("Instance ID : {id}  ({name}: {service} {version})"));
}

/// Writes a line to stdout. A reader that is gone is no reason to stop recording.
fn show(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// Reports as log lines, and shows the records as well in a try-out.
struct Terminal {
    quiet: bool,
    try_out: bool,
    spool: PathBuf,
    next_steps_shown: bool,
    /// Why each instance is not collected, as it was logged last. A new reason is logged again.
    reported: HashMap<String, String>,
    /// Why looks fail, as it was logged last.
    reported_fault: Option<Fault>,
    /// The instances whose id was shown.
    introduced: HashSet<String>,
}

impl Reporter for Terminal {
    fn outcome(&mut self, outcome: &LookOutcome) {
        match outcome {
            LookOutcome::Recorded(recorded) => {
                let Recorded { name, uuid, reason, version_assumed, introduction, message } = &**recorded;
                self.reported.remove(name);
                self.introduce(name, introduction);
                tracing::info!(instance = %name, uuid = %uuid, reason = reason.as_str(), "recorded");
                if *version_assumed && *reason == Reason::Started {
                    tracing::info!(instance = %name, "{}", assumption(&introduction.version));
                }
                if self.try_out {
                    show(message);
                    self.show_next_steps();
                }
            }
            LookOutcome::Unchanged { name, introduction } => {
                self.reported.remove(name);
                if let Some(introduction) = introduction {
                    self.introduce(name, introduction);
                }
                tracing::debug!(instance = %name, "nothing that is reported changed");
            }
            LookOutcome::NotCollecting { name, why, erased } => {
                if self.reported.insert(name.clone(), why.clone()).as_ref() != Some(why) {
                    tracing::info!(instance = %name, "not collected: {why}");
                }
                if *erased > 0 {
                    tracing::warn!(instance = %name, records = erased, "unsent records were erased");
                }
            }
            LookOutcome::Unmodified | LookOutcome::AwaitingConfirmation(_) | LookOutcome::Unreadable(_) => {}
        }
    }

    fn unreadable(&mut self, files: &UnreadableFiles) {
        tracing::warn!(instance = files.name, "held: {}", files.why);
    }

    fn readable_again(&mut self, name: &str) {
        tracing::info!(instance = name, "no longer held: it can be read again");
    }

    fn looks_fail(&mut self, fault: &Fault) {
        if self.reported_fault.as_ref() != Some(fault) {
            tracing::error!("{fault}");
        }
        self.reported_fault = Some(fault.clone());
    }

    fn looks_succeed(&mut self) {
        match self.reported_fault.take().map(|fault| fault.kind) {
            Some(FaultKind::Worker) => tracing::info!("instances are looked at again"),
            Some(_) => tracing::info!("the spool can be used again"),
            None => {}
        }
    }
}

impl Terminal {
    fn new(context: &Context, resolved: &Resolved) -> Terminal {
        Terminal {
            quiet: context.quiet,
            try_out: resolved.try_out,
            spool: resolved.settings.spool.directory.clone(),
            next_steps_shown: false,
            reported: HashMap::new(),
            reported_fault: None,
            introduced: HashSet::new(),
        }
    }

    /// Reports on a service of these settings from now on.
    fn serve(&mut self, resolved: &Resolved) {
        self.try_out = resolved.try_out;
        self.spool = resolved.settings.spool.directory.clone();
    }

    fn introduce(&mut self, name: &str, it: &Introduction) {
        if self.introduced.insert(name.to_owned()) {
            show_id(&it.id, name, &it.service, &it.version);
        }
    }

    /// Shows what to do next, once.
    fn show_next_steps(&mut self) {
        if std::mem::replace(&mut self.next_steps_shown, true) || self.quiet {
            return;
        }
        let salver = std::env::args().next().unwrap_or_else(|| "salver".into());
        let spool = self.spool.display();
        say(&format!(
            "\nThat is the whole record. It waits in {spool}; nothing is sent before you say where to.\n\
             Edit the config file and watch another record appear. In a second terminal:\n\n  \
             {salver} --spool {spool} dump\n  \
             {salver} --spool {spool} status\n\n\
             and, once a settings file names posthog.host and posthog.apiKey, to deliver it:\n\n  \
             {salver} --config FILE --spool {spool} flush\n\n\
             Ctrl-C stops.\n"
        ));
    }
}

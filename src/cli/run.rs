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
use crate::collect::Introduction;
use crate::forwarder::{Forwarder, Forwarding};
use crate::look::{Came, Fault, FaultKind, Held};
use crate::record::Reason;
use crate::service::{Left, Screen, Service, Wake};
use crate::settings::{FlushMode, Resolved};
use crate::wiring;
use crate::worker::Program;

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
    let mut screen = Terminal::new(context, &job.resolved);
    context.name_try_out(&job.resolved);
    job.start()?;
    loop {
        let asked = match job.service.run(&receiver, &mut screen) {
            Left::Stop => break,
            Left::Unusable(fault) => return Err(fault.into()),
            Left::Reload { asked } => asked,
        };
        match Job::load(context, arguments, &sender).and_then(Job::with_its_spool_tried) {
            Ok(next) if !asked && job.says_the_same_as(&next) => {
                tracing::debug!("the settings file changed, and says what it said before");
                job.service.keep(next.in_force);
            }
            Ok(next) => {
                job.stop(&mut screen);
                job = next;
                screen.serve(&job.resolved);
                job.start()?;
                tracing::info!("the settings were read anew and are applied");
            }
            Err(error) => {
                let say = job.service.refuse(&format!("{error:#}"));
                if say || asked {
                    tracing::error!(
                        "the settings cannot be applied, those from before stay in force: {error:#}"
                    );
                }
            }
        }
    }
    job.stop(&mut screen);
    tracing::info!("stopped");
    Ok(Ended::Done)
}

/// All that follows from the settings as they were at one moment. It was checked as a whole when it was loaded.
struct Job {
    resolved: Resolved,
    /// The bytes that the settings were read from.
    in_force: [u8; 32],
    program: Program,
    service: Service,
    /// Until it is started.
    forwarding: Option<Forwarding>,
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
        let means = wiring::means(settings, resolved.try_out)?;
        let forwarding = wiring::forwarding(settings, &means, &targets)?;
        let program = Program::this(context.logging.clone()).context("cannot find the program that runs")?;
        let watch = wiring::watch_options(settings);
        let inputs = (resolved.inputs.clone(), in_force);
        let service = Service::new(program.clone(), means, watch, inputs, targets, sender.clone());
        Ok(Job { resolved, in_force, program, service, forwarding, forwarder: None })
    }

    /// Settings with a spool that cannot be used are no good.
    fn with_its_spool_tried(mut self) -> Result<Job> {
        self.service.try_spool()?;
        Ok(self)
    }

    /// Whether it would change nothing to put the other one in its place. Catalogues cannot be compared.
    fn says_the_same_as(&self, other: &Job) -> bool {
        self.resolved.says_the_same_as(&other.resolved) && self.resolved.settings.catalogues.is_empty()
    }

    fn start(&mut self) -> Result<()> {
        let start = |forwarding| Forwarder::start(self.program.clone(), forwarding);
        self.forwarder = self.forwarding.take().map(start).transpose()?;
        Ok(())
    }

    fn stop(self, screen: &mut dyn Screen) {
        self.service.stop(screen);
        if let Some(forwarder) = self.forwarder {
            forwarder.stop();
        }
    }
}

/// Prints the id of an instance, as the tools do at their start.
fn show_id(id: &str, name: &str, service: &str, version: &str) {
    show(&format!("Instance ID : {id}  ({name}: {service} {version})"));
}

/// Writes a line to stdout. That nobody reads there any more is no reason to stop recording.
fn show(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// Shows what the service does: as log lines, and in a try-out the records as well.
struct Terminal {
    quiet: bool,
    spool: PathBuf,
    said_next: bool,
    /// Why each instance is not collected, as it was last said: it is said again only when that has changed.
    said: HashMap<String, String>,
    /// Why looks cannot be made, as it was last said.
    fault_said: Option<Fault>,
    /// The instances whose id was shown.
    introduced: HashSet<String>,
}

impl Screen for Terminal {
    fn came(&mut self, came: &Came) {
        match came {
            Came::Recorded { name, uuid, reason, assumed, introduction, line } => {
                self.said.remove(name);
                self.introduce(name, introduction);
                tracing::info!(instance = %name, uuid = %uuid, reason = reason.as_str(), "recorded");
                if *assumed && *reason == Reason::Started {
                    tracing::info!(instance = %name, "{}", assumption(&introduction.version));
                }
                if let Some(line) = line {
                    show(line);
                    self.say_next();
                }
            }
            Came::Unchanged { name, introduction } => {
                self.said.remove(name);
                if let Some(introduction) = introduction {
                    self.introduce(name, introduction);
                }
                tracing::debug!(instance = %name, "nothing that is reported changed");
            }
            Came::Off { name, why, erased } => {
                if self.said.insert(name.clone(), why.clone()).as_ref() != Some(why) {
                    tracing::info!(instance = %name, "not collected: {why}");
                }
                if *erased > 0 {
                    tracing::warn!(instance = %name, records = erased, "unsent records were erased");
                }
            }
            // The service looks again, and says when something comes of it.
            Came::AsBefore | Came::Doubted(_) | Came::Held(_) => {}
        }
    }

    fn held(&mut self, held: &Held) {
        tracing::warn!(instance = held.name, "held: {}", held.why);
    }

    fn healed(&mut self, name: &str) {
        tracing::info!(instance = name, "no longer held: it can be read again");
    }

    fn failed(&mut self, fault: &Fault) {
        if self.fault_said.as_ref() != Some(fault) {
            tracing::error!("{fault}");
        }
        self.fault_said = Some(fault.clone());
    }

    fn works(&mut self) {
        match self.fault_said.take().map(|fault| fault.kind) {
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
            spool: resolved.settings.spool.directory.clone(),
            said_next: false,
            said: HashMap::new(),
            fault_said: None,
            introduced: HashSet::new(),
        }
    }

    /// From now on it is about these settings.
    fn serve(&mut self, resolved: &Resolved) {
        self.spool = resolved.settings.spool.directory.clone();
    }

    fn introduce(&mut self, name: &str, it: &Introduction) {
        if self.introduced.insert(name.to_owned()) {
            show_id(&it.id, name, &it.service, &it.version);
        }
    }

    /// What to do next, once.
    fn say_next(&mut self) {
        if std::mem::replace(&mut self.said_next, true) || self.quiet {
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

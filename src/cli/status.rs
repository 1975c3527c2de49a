//! `salver status`: what waits, who collects and why, how forwarding goes, and what an admin should know of.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::context::{self, Context};
use super::exit::Ended;
use super::output::{self, Format};
use super::times::shown;
use crate::clock;
use crate::collect::PAUSED;
use crate::record::message::rfc3339;
use crate::settings::{FlushMode, Settings};
use crate::spool::{Counts, FlushMemory, Instance, Problem, SpoolError, SpoolFolder, SpoolView};

/// How to show it, and what to do about problems.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// text or json
    #[arg(long, default_value = "text")]
    format: Format,

    /// Exit with 1 if there is a problem
    #[arg(long)]
    check: bool,

    /// Mark the problems shown as seen
    #[arg(long)]
    acknowledge: bool,
}

/// All that is shown.
struct Status {
    folder: SpoolFolder,
    counts: Counts,
    instances: Vec<(String, Instance)>,
    memory: FlushMemory,
    problems: Vec<Problem>,
    /// The spool cannot be written to, so only its witness was asked.
    read_only: bool,
}

const NOT_LOOKED_AT: &str = "not looked at yet; `salver record` or `salver run` does";
const NOT_KNOWN: &str = "not known while the spool is read-only";

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let status = read(context, &settings, arguments.acknowledge)?;
    match arguments.format {
        Format::Json => output::print_json(&status.json(&settings))?,
        Format::Text => status.print(&settings)?,
    }
    Ok(if arguments.check && !status.problems.is_empty() { Ended::Failed } else { Ended::Done })
}

fn read(context: &Context, settings: &Settings, acknowledge: bool) -> Result<Status> {
    let folder = Context::folder(settings);
    let mut status = Status {
        counts: Counts::default(),
        instances: Vec::new(),
        memory: FlushMemory::default(),
        problems: Vec::new(),
        read_only: false,
        folder,
    };
    match status.ask_spool(acknowledge) {
        // Nothing was recorded yet, which is no reason not to say what the settings say.
        Ok(()) | Err(SpoolError::Absent { .. }) => {}
        Err(error) if acknowledge => return Err(error.into()),
        Err(error) => {
            let mut view = SpoolView::instead_of(&status.folder, error)?;
            context.say_read_only(settings, &view);
            status.ask_view(&mut view);
        }
    }
    status.add_from(settings);
    Ok(status)
}

impl Status {
    fn ask_spool(&mut self, acknowledge: bool) -> Result<(), SpoolError> {
        let mut spool = self.folder.open_existing(clock::now_ms())?;
        self.counts = spool.counts()?;
        self.instances = spool.instances()?;
        self.memory = spool.flush_memory().clone();
        self.problems = spool.problems().to_vec();
        if acknowledge {
            spool.acknowledge_problems();
        }
        spool.close()
    }

    fn ask_view(&mut self, view: &mut SpoolView) {
        self.read_only = true;
        self.counts = view.counts();
        self.instances = view.instances();
        for (_, instance) in &mut self.instances {
            instance.why = NOT_KNOWN.into();
        }
        // A spool that takes no record is a problem by itself, whatever else it may know of.
        let problem = |text| Problem { at_ms: clock::now_ms(), text };
        self.problems = vec![problem(context::read_only(view))];
        self.problems.extend(view.doubts().iter().cloned().map(problem));
    }

    /// Adds what the settings say: instances that were never looked at, and that others are no longer in them.
    fn add_from(&mut self, settings: &Settings) {
        let names: Vec<&str> = settings.instances.iter().filter_map(|it| it.name.as_deref()).collect();
        for (name, instance) in &mut self.instances {
            let listed = names.contains(&name.as_str())
                || settings.instances.iter().any(|it| it.config_files == instance.config_files);
            if !listed && !self.read_only && !settings.instances.is_empty() {
                instance.collecting = false;
                instance.why = "no longer in the settings; its records stay and are delivered".into();
            }
        }
        for instance in &settings.instances {
            let Some(name) = &instance.name else { continue };
            if !self.instances.iter().any(|(known, _)| known == name) {
                let why = if self.read_only { NOT_KNOWN } else { NOT_LOOKED_AT }.to_owned();
                let config_files = instance.config_files.clone();
                self.instances.push((name.clone(), Instance { why, config_files, ..Instance::default() }));
            }
        }
    }

    /// Nothing where it is not known.
    fn collecting(&self, instance: &Instance) -> Option<bool> {
        let known = !self.read_only || instance.paused;
        known.then_some(instance.collecting && !instance.paused)
    }

    fn json(&self, settings: &Settings) -> Json {
        let counts = &self.counts;
        let memory = &self.memory;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "spool": {
                "path": self.folder.path,
                "records": counts.queued,
                "dead": Some(counts.dead).filter(|_| !self.read_only),
                "bytes": counts.bytes,
                "oldest": counts.oldest_ms.map(rfc3339),
                "newest": counts.newest_ms.map(rfc3339),
            },
            "instances": self.instances.iter().map(|(name, it)| json!({
                "name": name,
                "service": known(&it.service),
                "serviceVersion": known(&it.service_version),
                "configFile": config_file(it),
                "collecting": self.collecting(it),
                "why": why(it),
                "id": it.pin.as_ref().map(|pin| &pin.id),
                "lastRecord": it.last_record_ms.map(rfc3339),
            })).collect::<Vec<_>>(),
            "flush": {
                "mode": mode(settings),
                "host": settings.posthog.host,
                "lastAttempt": memory.last_attempt_ms.map(rfc3339),
                "lastSuccess": memory.last_success_ms.map(rfc3339),
                "lastOutcome": memory.last_outcome,
                "nextAttempt": memory.next_attempt_ms.filter(|_| settings.flush.mode == FlushMode::Auto).map(rfc3339),
            },
            "problems": self.problems.iter().map(|it| json!({ "at": rfc3339(it.at_ms), "text": it.text })).collect::<Vec<_>>(),
        })
    }

    fn print(&self, settings: &Settings) -> Result<()> {
        let mut out = output::stdout();
        let counts = &self.counts;
        writeln!(out, "spool      {}", self.folder.path.display())?;
        let dead = match self.read_only {
            true => "dead letters not told apart".to_owned(),
            false => format!("{} dead letters", counts.dead),
        };
        writeln!(out, "waiting    {} records, {dead}, {} bytes on disk", counts.queued, counts.bytes)?;
        writeln!(out, "from, to   {}  {}", shown(counts.oldest_ms), shown(counts.newest_ms))?;
        let host = settings.posthog.host.as_deref().unwrap_or("no host set, nothing is sent");
        writeln!(out, "flush      {}, {host}", mode(settings))?;
        let memory = &self.memory;
        let untold = if self.read_only { "not known" } else { "never tried" };
        let outcome = memory.last_outcome.as_deref().unwrap_or(untold);
        writeln!(
            out,
            "last       {outcome} at {}, last delivery {}",
            shown(memory.last_attempt_ms),
            shown(memory.last_success_ms)
        )?;
        writeln!(out)?;
        let mut table =
            output::table(&["instance", "service", "version", "collecting", "last record", "why"]);
        for (name, it) in &self.instances {
            let collecting = match self.collecting(it) {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            };
            table.add_row([
                name,
                &it.service,
                &it.service_version,
                collecting,
                &shown(it.last_record_ms),
                &why(it),
            ]);
        }
        writeln!(out, "{table}")?;
        for problem in &self.problems {
            writeln!(out, "\nproblem ({}): {}", rfc3339(problem.at_ms), problem.text)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// Nothing where the file was never read.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn why(instance: &Instance) -> String {
    match instance.paused {
        true => PAUSED.into(),
        false => instance.why.clone(),
    }
}

fn config_file(instance: &Instance) -> Json {
    match instance.config_files.as_slice() {
        [one] => json!(one),
        several => json!(several),
    }
}

fn mode(settings: &Settings) -> &'static str {
    match settings.flush.mode {
        FlushMode::Manual => "manual",
        FlushMode::Auto => "auto",
    }
}

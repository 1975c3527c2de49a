//! `salver status`: what waits, who collects and why, how forwarding goes, and what an admin should know of.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::context::Context;
use super::exit::Ended;
use super::output::{self, Format};
use super::times::shown;
use crate::clock;
use crate::collect::PAUSED;
use crate::record::message::rfc3339;
use crate::settings::{FlushMode, Settings};
use crate::spool::{Counts, FlushMemory, Instance, Problem, SpoolError, SpoolFolder};

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
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let status = read(&settings, arguments.acknowledge)?;
    match arguments.format {
        Format::Json => output::print_json(&status.json(&settings))?,
        Format::Text => status.print(&settings)?,
    }
    Ok(if arguments.check && !status.problems.is_empty() { Ended::Failed } else { Ended::Done })
}

fn read(settings: &Settings, acknowledge: bool) -> Result<Status> {
    let folder = Context::folder(settings);
    let mut status = Status {
        counts: Counts::default(),
        instances: Vec::new(),
        memory: FlushMemory::default(),
        problems: Vec::new(),
        folder,
    };
    match status.folder.open_existing(clock::now_ms()) {
        // Nothing was recorded yet, which is no reason not to say what the settings say.
        Err(SpoolError::Absent { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(mut spool) => {
            status.counts = spool.counts()?;
            status.instances = spool.instances()?;
            status.memory = spool.flush_memory().clone();
            status.problems = spool.problems().to_vec();
            if acknowledge {
                spool.acknowledge_problems();
            }
            spool.close()?;
        }
    }
    status.add_from(settings);
    Ok(status)
}

impl Status {
    /// Adds what the settings say: instances that were never looked at, and that others are no longer in them.
    fn add_from(&mut self, settings: &Settings) {
        let names: Vec<&str> = settings.instances.iter().filter_map(|it| it.name.as_deref()).collect();
        for (name, instance) in &mut self.instances {
            let listed = names.contains(&name.as_str())
                || settings.instances.iter().any(|it| it.config_files == instance.config_files);
            if !listed && !settings.instances.is_empty() {
                instance.collecting = false;
                instance.why = "no longer in the settings; its records stay and are delivered".into();
            }
        }
        for instance in &settings.instances {
            let Some(name) = &instance.name else { continue };
            if !self.instances.iter().any(|(known, _)| known == name) {
                let why = "not looked at yet; `salver record` or `salver run` does".to_owned();
                let config_files = instance.config_files.clone();
                self.instances.push((name.clone(), Instance { why, config_files, ..Instance::default() }));
            }
        }
    }

    fn json(&self, settings: &Settings) -> Json {
        let counts = &self.counts;
        let memory = &self.memory;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "spool": {
                "path": self.folder.path,
                "records": counts.queued,
                "dead": counts.dead,
                "bytes": counts.bytes,
                "oldest": counts.oldest_ms.map(rfc3339),
                "newest": counts.newest_ms.map(rfc3339),
            },
            "instances": self.instances.iter().map(|(name, it)| json!({
                "name": name,
                "service": known(&it.service),
                "serviceVersion": known(&it.service_version),
                "configFile": config_file(it),
                "collecting": it.collecting && !it.paused,
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
        writeln!(
            out,
            "waiting    {} records, {} dead letters, {} bytes on disk",
            counts.queued, counts.dead, counts.bytes
        )?;
        writeln!(out, "from, to   {}  {}", shown(counts.oldest_ms), shown(counts.newest_ms))?;
        let host = settings.posthog.host.as_deref().unwrap_or("no host set, nothing is sent");
        writeln!(out, "flush      {}, {host}", mode(settings))?;
        let memory = &self.memory;
        let outcome = memory.last_outcome.as_deref().unwrap_or("never tried");
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
            let collecting = if it.collecting && !it.paused { "yes" } else { "no" };
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

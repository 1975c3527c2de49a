//! `salver status`: what waits, who collects and why, how forwarding goes, and what an admin should know of.

use std::path::PathBuf;

use anyhow::Result;

use super::context::{self, Context};
use super::exit::Ended;
use super::output::{self, Format};
use crate::clock;
use crate::settings::{FlushMode, Settings};
use crate::spool::{
    Counts, FlushMemory, Instance, LedgerEntry, LinkState, Problem, RetentionStep, SpoolError, SpoolFolder,
};
use crate::wiring;

mod show;

/// So many of the last entries of the ledger are shown.
const LEFT_SHOWN: usize = 10;

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
    line: LinkState,
    /// How many records are on the wire, or were when their flush died.
    on_the_wire: usize,
    problems: Vec<Problem>,
    /// How many records were stamped too far in the future to be sent now, and when the first of them may be.
    ahead: (u64, Option<i64>),
    /// What the limits will take with the next record.
    plan: Vec<RetentionStep>,
    /// Why records left the queue lately, oldest first.
    left: Vec<LedgerEntry>,
}

const NOT_LOOKED_AT: &str = "not looked at yet; `salver record` or `salver run` does";

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
    let folder = wiring::spool_folder(settings);
    let mut status = Status {
        counts: Counts::default(),
        instances: Vec::new(),
        memory: FlushMemory::default(),
        line: LinkState::default(),
        on_the_wire: 0,
        problems: Vec::new(),
        ahead: (0, None),
        plan: Vec::new(),
        left: Vec::new(),
        folder,
    };
    match status.ask_spool(acknowledge) {
        // Nothing was recorded yet, which is no reason not to say what the settings say.
        Ok(()) | Err(SpoolError::Absent { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if status.folder.short_of_room().is_some() {
        status.add_problem(context::disk_full(&status.folder));
    }
    if let Some(cause) = status.folder.cannot_be_written() {
        status.add_problem(format!(
            "the spool cannot be written to ({cause}), so nothing can be recorded, delivered or erased; what is spooled already \
             is safe"
        ));
    }
    status.add_from(settings);
    Ok(status)
}

impl Status {
    fn ask_spool(&mut self, acknowledge: bool) -> Result<(), SpoolError> {
        let mut spool = self.folder.read(clock::now_ms())?;
        spool.survey()?;
        self.counts = spool.counts()?;
        self.instances = spool.instances().clone().into_iter().collect();
        self.memory = spool.flush_memory().clone();
        self.line = spool.link_state().clone();
        self.on_the_wire = spool.on_the_wire().len();
        self.problems = spool.problems().to_vec();
        self.ahead = spool.ahead()?;
        self.plan = spool.plan();
        self.left = spool.ledger();
        self.left.drain(..self.left.len().saturating_sub(LEFT_SHOWN));
        let doubts = spool.doubts().to_vec();
        doubts.into_iter().for_each(|doubt| self.add_problem(doubt));
        if spool.has_pending_purge() {
            self.add_problem(
                "a purge was interrupted; the next `salver purge`, `salver record` or `salver flush` completes it".into(),
            );
        }
        if acknowledge {
            let mut spool = self.folder.open_existing(clock::now_ms())?;
            spool.acknowledge_problems();
            spool.close()?;
        }
        Ok(())
    }

    fn add_problem(&mut self, text: String) {
        self.problems.push(Problem { at_ms: clock::now_ms(), text });
    }

    /// Adds what the settings say: instances that were never looked at, and that others are no longer in them.
    fn add_from(&mut self, settings: &Settings) {
        let names: Vec<&str> = settings.instances.iter().filter_map(|it| it.name.as_deref()).collect();
        for (name, instance) in &mut self.instances {
            let listed = names.contains(&name.as_str())
                || settings.instances.iter().any(|it| paths(&it.config_files) == instance.config_files);
            if !listed && !settings.instances.is_empty() {
                instance.collecting = false;
                instance.why = "no longer in the settings; its records stay and are delivered".into();
            }
        }
        for instance in &settings.instances {
            let Some(name) = &instance.name else { continue };
            if !self.instances.iter().any(|(known, _)| known == name) {
                let why = NOT_LOOKED_AT.to_owned();
                let config_files = paths(&instance.config_files);
                self.instances.push((name.clone(), Instance { why, config_files, ..Instance::default() }));
            }
        }
    }

    /// When the oldest record expires.
    fn next_expiry_ms(&self, settings: &Settings) -> Option<i64> {
        let retention_ms = i64::try_from(settings.spool.retention.as_millis()).unwrap_or(i64::MAX);
        self.counts.oldest_ms.map(|oldest_ms| oldest_ms.saturating_add(retention_ms))
    }

    /// When the service tries again, if it forwards and something keeps it waiting.
    fn next_attempt_ms(&self, settings: &Settings) -> Option<i64> {
        self.memory.next_attempt_ms.filter(|_| settings.flush.mode == FlushMode::Auto)
    }
}

/// Paths as the spool keeps them.
fn paths(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|file| file.to_string_lossy().into_owned()).collect()
}

//! `salver status`: what waits, who collects and why, how forwarding goes, and what an admin should know of.

use anyhow::Result;

use super::context::{self, Context};
use super::exit::Ended;
use super::output::{self, Format};
use crate::clock;
use crate::settings::{FlushMode, Settings};
use crate::spool::{
    Counts, FlushMemory, Instance, LedgerEntry, LinkState, Problem, RetentionStep, SpoolError, SpoolFolder,
    SpoolView,
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
    /// The spool cannot be written to, so only its witness was asked.
    read_only: bool,
    /// Dead letters are told from the others: they are, unless even the witness is missing.
    dead_known: bool,
}

const NOT_LOOKED_AT: &str = "not looked at yet; `salver record` or `salver run` does";
const NOT_KNOWN: &str = "not known while the spool cannot be written to";

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
        read_only: false,
        dead_known: true,
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
    if !status.read_only && status.folder.short_of_room().is_some() {
        let text = context::disk_full(&status.folder);
        status.problems.push(Problem { at_ms: clock::now_ms(), text });
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
        self.line = spool.link_state()?;
        self.on_the_wire = spool.on_the_wire().len();
        self.problems = spool.problems().to_vec();
        self.ahead = spool.ahead()?;
        self.plan = spool.plan()?;
        self.left = spool.ledger()?;
        self.left.drain(..self.left.len().saturating_sub(LEFT_SHOWN));
        if acknowledge {
            spool.acknowledge_problems();
        }
        match spool.close() {
            // Only what was read counts.
            Err(error) if error.is_full() && !acknowledge => Ok(()),
            closed => closed,
        }
    }

    fn ask_view(&mut self, view: &mut SpoolView) {
        self.read_only = true;
        self.dead_known = view.knows_dead();
        self.counts = view.counts();
        self.instances = view.instances();
        for (_, instance) in &mut self.instances {
            instance.why = NOT_KNOWN.into();
        }
        // A spool that takes no record is a problem by itself, whatever else it may know of.
        let problem = |text| Problem { at_ms: clock::now_ms(), text };
        self.problems = vec![problem(context::read_only(&self.folder, view))];
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

    /// When the oldest record expires.
    fn next_expiry_ms(&self, settings: &Settings) -> Option<i64> {
        let retention_ms = i64::try_from(settings.spool.retention.as_millis()).unwrap_or(i64::MAX);
        self.counts.oldest_ms.map(|oldest_ms| oldest_ms.saturating_add(retention_ms))
    }

    /// When the service tries again, if it forwards and something keeps it waiting.
    fn next_attempt_ms(&self, settings: &Settings) -> Option<i64> {
        self.memory.next_attempt_ms.filter(|_| settings.flush.mode == FlushMode::Auto)
    }

    /// Nothing where it is not known.
    fn collecting(&self, instance: &Instance) -> Option<bool> {
        let known = !self.read_only || instance.paused;
        known.then_some(instance.collecting && !instance.paused)
    }
}

//! `salver id`: the anonymous ids, which a deletion request must quote.
//!
//! The ids go to stdout, in the words in which the tools print theirs. What an admin may want to
//! know of one (from what it was worked out, what it would be now, what the tool itself would
//! print) goes to stderr.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;

use super::context::Context;
use super::exit::{Ended, Usage};
use super::output;
use super::times::shown;
use crate::clock;
use crate::collect::Target;
use crate::collect::{Collector, Ids};
use crate::record::identity::{Readable, SystemIdOrigin, SystemIdSource};
use crate::record::observe::{Reportable, State};
use crate::settings::{Settings, default_name};
use crate::spool::{Pin, SpoolFolder};
use crate::wiring;

/// Whose ids, and what to do with them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An instance, or a config file; all instances by default
    #[arg(value_name = "NAME|FILE")]
    name: Option<String>,

    /// Every id that was ever used here, or by that instance
    #[arg(long)]
    history: bool,

    /// Take this id, as the tool printed it in its log
    #[arg(long, value_name = "HEX", requires = "name", conflicts_with = "history")]
    adopt: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let names: Vec<String> = arguments.name.clone().into_iter().collect();
    if arguments.history {
        let (settings, targets) = match names.as_slice() {
            [] => (context.settings()?, None),
            names => context.targets(names).map(|(resolved, targets)| (resolved.settings, Some(targets)))?,
        };
        return history(&settings, targets.as_deref());
    }
    let (resolved, targets) = context.targets(&names)?;
    let settings = &resolved.settings;
    let folder = wiring::spool_folder(settings);
    let collector = wiring::collector(settings)?;
    if let (Some(id), Some(target)) = (&arguments.adopt, targets.first()) {
        adopt(&collector, &folder, target, id)?;
    }
    show(context, &collector, &folder, &targets)
}

/// Prints the id of each target, working it out and pinning it where that was not done yet.
fn show(context: &Context, collector: &Collector, folder: &SpoolFolder, targets: &[Target]) -> Result<Ended> {
    let mut out = output::stdout();
    let mut ended = Ended::Done;
    for target in targets {
        let observation = match collector.observe(target) {
            Ok(observation) => observation,
            Err(error) => {
                output::remark(error);
                ended = Ended::Failed;
                continue;
            }
        };
        let name = target.key(&observation.service);
        let State::Reportable(report) = &observation.state else {
            match collector.ids.pinned(folder, &name)? {
                Some(pin) => writeln!(out, "Instance ID : {}  ({name}, not collected now)", pin.id)?,
                None => output::remark(format_args!("{name}: nothing is collected, so it has no id")),
            }
            continue;
        };
        let pin = collector.ids.pin(folder, &name, report)?;
        writeln!(out, "Instance ID : {}  ({name})", pin.id)?;
        if !context.quiet {
            notes(collector.ids, report, &pin)
                .iter()
                .for_each(|note| output::say(&format!("{name}: {note}")));
        }
    }
    out.flush()?;
    Ok(ended)
}

/// What an admin may want to know of an id.
fn notes(ids: Ids, report: &Reportable, pin: &Pin) -> Vec<String> {
    let now = ids.computed(report);
    let from = pin.readable.map(|readable| format!("worked out from {}", inputs(&readable)));
    let stays = match (&from, pin.fixed) {
        (None, _) => "adopted, or found in records, so it stays",
        (Some(_), true) => "delivered with records, so it stays",
        (Some(_), false) => "gives way to a better one until it is delivered with a record",
    };
    let mut notes = vec![from.into_iter().chain([stays.to_owned()]).collect::<Vec<_>>().join("; ")];
    if now.id != pin.id {
        let from = inputs(&now.readable);
        notes.push(format!("worked out anew, from {from}, it would be {}; the pinned one is kept", now.id));
    }
    // The tools know of no machine id; where they cannot read the firmware's UUID they hash nothing
    // in its place.
    let tools = Ids { source: SystemIdSource::None }.computed(report).id;
    if now.readable.system == SystemIdOrigin::Machine && tools != pin.id {
        notes.push(format!(
            "a tool that cannot read the firmware's UUID prints {tools}; `--adopt` takes the id from the tool's log"
        ));
    }
    notes
}

/// What could be read for an id; no values.
fn inputs(readable: &Readable) -> String {
    let network = match (readable.network, readable.ipv4) {
        (true, true) => "a network interface with an IPv4 address",
        (true, false) => "a network interface without an IPv4 address",
        (false, _) => "no network interface",
    };
    let system = match readable.system {
        SystemIdOrigin::Dmi => "the firmware's UUID",
        SystemIdOrigin::Machine => "the operating system's machine id",
        SystemIdOrigin::Empty => "no system id",
    };
    format!("{network} and {system}")
}

fn adopt(collector: &Collector, folder: &SpoolFolder, target: &Target, id: &str) -> Result<()> {
    let id = id.to_lowercase();
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(
            Usage("--adopt takes the 64 hex digits that the tool printed as its Instance ID".into()).into()
        );
    }
    let name = target.key(&collector.observe(target)?.service);
    Ok(collector.ids.adopt(folder, &name, id)?)
}

/// Prints every id that records carried, and those that are pinned and were not used yet; of these
/// targets, or of all.
fn history(settings: &Settings, targets: Option<&[Target]>) -> Result<Ended> {
    let spool = wiring::spool_folder(settings).read(clock::now_ms())?;
    let mut ids = spool.ids().clone();
    let mut wanted = BTreeSet::new();
    for (name, instance) in spool.instances().clone() {
        let is = |target: &Target| match (&target.name, instance.config_files.as_slice()) {
            (Some(given), _) if *given == name => true,
            // After a loss of the manifest the files are not known, but the instance's default name
            // tells them.
            (None, []) => name.ends_with(&default_name("", &target.first_file())),
            (_, files) => target
                .subject
                .files
                .iter()
                .map(|file| file.to_string_lossy().into_owned())
                .eq(files.iter().cloned()),
        };
        if targets.is_none_or(|targets| targets.iter().any(is)) {
            wanted.insert(name.clone());
        }
        if let Some(pin) = instance.pin {
            ids.entry(pin.id).or_default().instances.insert(name);
        }
    }
    ids.retain(|_, used| targets.is_none() || !used.instances.is_disjoint(&wanted));
    let mut table = output::table(&["id", "instances", "first record", "last record", "last delivered"]);
    for (id, used) in ids {
        let instances = used.instances.iter().cloned().collect::<Vec<_>>().join(", ");
        // Pinned or adopted, and in no record yet.
        let recorded = |time_ms| shown(Some(time_ms).filter(|time_ms| *time_ms > 0));
        table.add_row([
            id,
            instances,
            recorded(used.first_ms),
            recorded(used.last_ms),
            shown(used.delivered_ms),
        ]);
    }
    let mut out = output::stdout();
    writeln!(out, "{table}")?;
    out.flush()?;
    Ok(Ended::Done)
}

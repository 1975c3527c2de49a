//! `salver record`: one look at each instance, now.

use anyhow::Result;

use super::context::Context;
use super::exit::Ended;
use super::output;
use crate::collect::{Ask, Looked};
use crate::record::message;
use crate::wiring;

/// Which instances, and whether to record in any case.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names from the settings, or config files; all instances of the settings by default
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,

    /// Record even if nothing differs from the last record
    #[arg(long)]
    force: bool,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Ended> {
    let (resolved, mut targets) = context.targets(&arguments.names)?;
    let folder = wiring::spool_folder(&resolved.settings);
    context.name_try_out(&resolved);
    let collector = wiring::collector(&resolved.settings)?;
    let ask = if arguments.force { Ask::Force } else { Ask::Difference };
    let mut off = 0;
    let mut failed = 0;
    for target in &mut targets {
        match collector.look(&folder, target, ask)? {
            Looked::Recorded { name, record, assumed } => {
                say(context, &format!("{name}: recorded {} ({})", record.uuid, record.reason.as_str()));
                if assumed {
                    say(context, &format!("{name}: {}", assumption(&record.draft.service_version)));
                }
                output::print_json(&message::message(&record))?;
            }
            // Whoever looks for the first time, and has time, comes to something.
            Looked::AsBefore | Looked::Doubted(_) => {}
            Looked::Unchanged { name, .. } => say(context, &format!("{name}: nothing changed")),
            Looked::Off { name, why, erased } => {
                off += 1;
                say(context, &format!("{name}: not collected: {why}"));
                if erased > 0 {
                    say(context, &format!("{name}: {erased} unsent records were erased"));
                }
            }
            Looked::Held { name, error, .. } => {
                failed += 1;
                // An instance without a name goes by its file, which the error names already.
                let text = error.to_string();
                let who = if text.starts_with(&name) { String::new() } else { format!("{name}: ") };
                eprintln!("salver: {who}{text}");
            }
        }
    }
    Ok(match (failed, targets.len()) {
        (1.., _) => Ended::Failed,
        (0, all) if all > 0 && off == all => Ended::NothingCollected,
        _ => Ended::Done,
    })
}

/// What is said where a version was not found.
pub fn assumption(version: &str) -> String {
    format!(
        "no package.json of the service was found beside or above the config file, so its version is taken to be \
         {version}, the newest known; set `serviceVersion` if it is another"
    )
}

fn say(context: &Context, line: &str) {
    if !context.quiet {
        eprintln!("{line}");
    }
}

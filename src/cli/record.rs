//! `salver record`: one look at each instance, now.

use anyhow::Result;

use super::context::Context;
use super::exit::Ended;
use super::output;
use crate::collect::{Ask, LookOutcome};
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
            LookOutcome::Recorded(recorded) => {
                let name = &recorded.name;
                say(context, &format!("{name}: recorded {} ({})", recorded.uuid, recorded.reason.as_str()));
                if recorded.version_assumed {
                    say(context, &format!("{name}: {}", assumption(&recorded.introduction.version)));
                }
                output::print_json(&serde_json::from_str::<serde_json::Value>(&recorded.message)?)?;
            }
            // A first look that waits for confirmations has another outcome.
            LookOutcome::Unmodified | LookOutcome::AwaitingConfirmation(_) => {}
            LookOutcome::Unchanged { name, .. } => say(context, &format!("{name}: nothing changed")),
            LookOutcome::NotCollecting { name, why, erased } => {
                off += 1;
                say(context, &format!("{name}: not collected: {why}"));
                if erased > 0 {
                    say(context, &format!("{name}: {erased} unsent records were erased"));
                }
            }
            LookOutcome::Unreadable(files) => {
                failed += 1;
                // An instance without a name goes by its file, which the text begins with already.
                let named = files.why.starts_with(&files.name);
                let name = if named { String::new() } else { format!("{}: ", files.name) };
                output::remark(format_args!("{name}{}", files.why));
            }
        }
    }
    Ok(match (failed, targets.len()) {
        (1.., _) => Ended::Failed,
        (0, all) if all > 0 && off == all => Ended::NothingCollected,
        _ => Ended::Done,
    })
}

/// The hint where a version was not found.
pub fn assumption(version: &str) -> String {
    format!(
        "no package.json of the service was found beside or above the config file, so its version is taken to be \
         {version}, the newest known; set `serviceVersion` if it is another"
    )
}

fn say(context: &Context, line: &str) {
    if !context.quiet {
        output::say(line);
    }
}

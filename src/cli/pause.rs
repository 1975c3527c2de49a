//! `salver pause` and `salver resume`: stop and restart collecting by hand, whatever the config
//! file says.

use anyhow::Result;

use super::context::Context;
use super::exit::{Ended, Usage};
use super::output;
use crate::clock;
use crate::wiring;

/// Whose collecting.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An instance
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    name: Option<String>,

    /// Every instance that is known
    #[arg(long)]
    all: bool,
}

pub fn run(context: &Context, arguments: &Arguments, pause: bool) -> Result<Ended> {
    let settings = context.settings()?;
    let mut spool = wiring::spool_folder(&settings).open(clock::now_ms())?;
    let listed = settings.instances.iter().filter_map(|instance| instance.name.clone());
    let mut known: Vec<String> = spool.instances().keys().cloned().chain(listed).collect();
    known.sort();
    known.dedup();
    if let Some(name) = &arguments.name {
        if !known.contains(name) {
            let text = format!("there is no instance `{name}`; known are {}", known.join(", "));
            spool.close()?;
            return Err(Usage(text).into());
        }
        known = vec![name.clone()];
    }
    for name in &known {
        let mut instance = spool.instance(name).unwrap_or_default();
        instance.paused = pause;
        if !pause && !instance.collecting {
            instance.why = "resumed; the next look decides".into();
        }
        spool.put_instance(name, instance);
        let what = if pause {
            "paused; what waits stays and is delivered"
        } else {
            "collects again, if consent is given"
        };
        if !context.quiet {
            output::say(&format!("{name}: {what}"));
        }
    }
    spool.close()?;
    Ok(Ended::Done)
}

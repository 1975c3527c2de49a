//! `salver id`: the anonymous ids, which a deletion request must quote.

use std::io::Write;

use anyhow::Result;

use super::context::Context;
use super::exit::{Ended, Usage};
use super::output;
use super::times::shown;
use crate::clock;
use crate::collect::Collector;
use crate::record::observe::State;
use crate::spool::{Pin, SpoolFolder};
use crate::target::Target;

/// Whose ids, and what to do with them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An instance, or a config file; all instances by default
    #[arg(value_name = "NAME|FILE")]
    name: Option<String>,

    /// Every id that was ever used here
    #[arg(long)]
    history: bool,

    /// Take this id, as the tool printed it in its log
    #[arg(long, value_name = "HEX", requires = "name")]
    adopt: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let names: Vec<String> = arguments.name.clone().into_iter().collect();
    if arguments.history {
        let settings =
            if names.is_empty() { context.settings()? } else { context.targets(&names)?.0.settings };
        return history(&Context::folder(&settings));
    }
    let (resolved, targets) = context.targets(&names)?;
    let settings = &resolved.settings;
    let folder = Context::folder(settings);
    let collector = Context::collector(settings)?;
    if let (Some(id), Some(target)) = (&arguments.adopt, targets.first()) {
        adopt(&collector, &folder, target, id)?;
    }
    show(&collector, &folder, &targets)
}

/// Prints the id of each target, working it out and pinning it where that was not done yet.
fn show(collector: &Collector, folder: &SpoolFolder, targets: &[Target]) -> Result<Ended> {
    let mut out = output::stdout();
    let mut ended = Ended::Done;
    for target in targets {
        match collector.observe(target) {
            Ok(observation) => {
                let name = target.key(&observation.service);
                let State::Reports(report) = &observation.state else {
                    match collector.pinned(folder, &name)? {
                        Some(pin) => writeln!(out, "Instance ID : {}  ({name}, not collected now)", pin.id)?,
                        None => eprintln!("salver: {name}: nothing is collected, so it has no id"),
                    }
                    continue;
                };
                let id = collector.pin_now(folder, &name, report)?;
                writeln!(out, "Instance ID : {id}  ({name})")?;
                let now = collector.identify(report).id;
                if now != id {
                    eprintln!("{name}: worked out anew it would be {now}; the pinned one is kept");
                }
            }
            Err(error) => {
                eprintln!("salver: {error}");
                ended = Ended::Failed;
            }
        }
    }
    out.flush()?;
    Ok(ended)
}

fn adopt(collector: &Collector, folder: &SpoolFolder, target: &Target, id: &str) -> Result<()> {
    let id = id.to_lowercase();
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(
            Usage("--adopt takes the 64 hex digits that the tool printed as its Instance ID".into()).into()
        );
    }
    let name = target.key(&collector.observe(target)?.service);
    let mut spool = folder.open(clock::now_ms())?;
    let mut instance = spool.instance(&name)?.unwrap_or_default();
    instance.pin = Some(Pin { id, readable: None, fixed: true });
    spool.put_instance(&name, &instance);
    spool.close()?;
    Ok(())
}

fn history(folder: &SpoolFolder) -> Result<Ended> {
    let spool = folder.open_existing(clock::now_ms())?;
    let ids = spool.ids()?;
    spool.close()?;
    let mut table = output::table(&["id", "instances", "first record", "last record", "last delivered"]);
    for (id, it) in ids {
        let instances = it.instances.into_iter().collect::<Vec<_>>().join(", ");
        let times = [Some(it.first_ms), Some(it.last_ms), it.delivered_ms].map(shown);
        let [first, last, delivered] = times;
        table.add_row([id, instances, first, last, delivered]);
    }
    let mut out = output::stdout();
    writeln!(out, "{table}")?;
    out.flush()?;
    Ok(Ended::Done)
}

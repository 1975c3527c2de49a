//! `salver purge`: erases records, and prints a receipt.

use std::io::{IsTerminal, Write, stdin};
use std::time::Duration;

use anyhow::Result;

use super::context::Context;
use super::exit::{Ended, Usage};
use super::output;
use super::times::{self, Time, shown};
use crate::clock;
use crate::spool::{Receipt, Search, Selector, Spool, SpoolFolder};
use crate::wiring;

/// What to erase: what meets all the conditions given.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct Arguments {
    /// Everything
    #[arg(long, group = "what")]
    all: bool,

    /// Records with this anonymous id
    #[arg(long, value_name = "HEX", group = "what")]
    id: Option<String>,

    /// Records of this instance
    #[arg(long, value_name = "NAME", group = "what")]
    instance: Option<String>,

    /// Records of this service
    #[arg(long, value_name = "SERVICE", group = "what")]
    service: Option<String>,

    /// Records before this time: RFC 3339, or an age such as 30d
    #[arg(long, value_name = "TIME", group = "what", value_parser = times::argument)]
    before: Option<Time>,

    /// Dead letters
    #[arg(long, group = "what")]
    dead: bool,

    /// Print what would be erased, and erase nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Pause the instances concerned as well, and forget their ids
    #[arg(long)]
    stop_collecting: bool,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Ended> {
    let settings = context.settings()?;
    let folder = wiring::spool_folder(&settings);
    let selector = Selector {
        all: arguments.all,
        id: arguments.id.as_ref().map(|id| id.to_lowercase()),
        instance: arguments.instance.clone(),
        service: arguments.service.clone(),
        before_ms: arguments.before.map(|time| time.0),
        dead: arguments.dead,
    };
    // With --yes nothing is read first: a spool that cannot be read can still be erased.
    if arguments.dry_run || !arguments.yes {
        let planned = folder.read(clock::now_ms())?.would_purge(&selector)?;
        if arguments.dry_run {
            print(&planned, None)?;
            return Ok(Ended::Done);
        }
        if !confirmed(&planned)? {
            output::say("Nothing was erased.");
            return Ok(Ended::Failed);
        }
    }
    let (receipt, search) = erase(&folder, &selector, &arguments)?;
    print(&receipt, Some(&search))?;
    Ok(if search.left.is_empty() { Ended::Done } else { Ended::Failed })
}

/// Waits for the human with the spool closed.
fn confirmed(planned: &Receipt) -> Result<bool> {
    if !stdin().is_terminal() {
        return Err(Usage("purge asks before it erases; without a terminal say --yes".into()).into());
    }
    print(planned, None)?;
    Ok(output::ask("Erase them?")?)
}

fn erase(folder: &SpoolFolder, selector: &Selector, arguments: &Arguments) -> Result<(Receipt, Search)> {
    // With the flusher's turn nothing is on the wire meanwhile. Where a request takes longer than
    // the wait allows, the receipt says what was under way.
    let _turn = folder.flush_turn(Duration::ZERO).ok();
    let mut spool = folder.open_to_release(clock::now_ms())?;
    let mut purged = spool.purge(selector)?;
    if arguments.stop_collecting {
        for name in concerned(&spool, arguments, &purged.receipt) {
            spool.stop_collecting(&name, &mut purged);
        }
    }
    Ok(spool.close_and_search(purged)?)
}

/// The instances that stop collecting: those selected by name or service, all for `--all`, and
/// those whose records were erased.
fn concerned(spool: &Spool, arguments: &Arguments, receipt: &Receipt) -> Vec<String> {
    let selected = spool.instances().iter().filter(|(name, instance)| {
        let by_id = |id: &String| instance.pin.as_ref().is_some_and(|pin| pin.id == id.to_lowercase());
        arguments.all
            || arguments.instance.as_ref() == Some(*name)
            || arguments.service.as_ref() == Some(&instance.service)
            || arguments.id.as_ref().is_some_and(by_id)
            || receipt.instances.contains_key(*name)
    });
    selected.map(|(name, _)| name.clone()).collect()
}

/// Copies that no purge can reach.
const OUT_OF_REACH: &str = "Out of reach of a purge: copies in snapshots and backups, blocks that a disk keeps for wear levelling, ids in old logs.";

/// Prints what was erased and what a search of the folder found, or what would be erased.
fn print(receipt: &Receipt, search: Option<&Search>) -> Result<()> {
    let mut out = output::stdout();
    let verb = if search.is_some() { "erased" } else { "would be erased" };
    writeln!(out, "{} records {verb}, {} of them dead letters", receipt.records, receipt.dead)?;
    if let Some((oldest, newest)) = receipt.span_ms {
        writeln!(out, "from {} to {}", shown(Some(oldest)), shown(Some(newest)))?;
    }
    for (name, records) in &receipt.instances {
        writeln!(out, "instance {name}: {records} records")?;
    }
    for (id, delivered) in &receipt.ids {
        let sent = match delivered.last_ms {
            Some(_) => format!("records with it were delivered before, last at {}", shown(delivered.last_ms)),
            None => "no record with it was ever delivered from here".to_owned(),
        };
        writeln!(out, "id {id}: {} records, {sent}", delivered.erased)?;
    }
    if receipt.may_be_delivered > 0 {
        writeln!(
            out,
            "{} of them were under way to PostHog, without an answer that says what became of them, and may have arrived",
            receipt.may_be_delivered
        )?;
    }
    for name in &receipt.stopped {
        writeln!(out, "instance {name} no longer collects; `salver resume {name}` starts it again")?;
    }
    if receipt.quarantined > 0 {
        let verb = if search.is_some() { "were" } else { "would be" };
        writeln!(
            out,
            "{} damaged folders that were kept for inspection {verb} removed",
            receipt.quarantined
        )?;
    }
    if let Some(search) = search {
        let found = match search.left.as_slice() {
            [] => "and hold nothing of them".to_owned(),
            left => format!("and {} of them still hold or may hold something", left.len()),
        };
        writeln!(out, "{} files of the spool were searched afterwards, {found}", search.files)?;
        for (path, why) in &search.left {
            writeln!(out, "NOT ERASED: {}: {why}; remove it by hand, or purge again", path.display())?;
        }
        writeln!(out, "{OUT_OF_REACH}")?;
    }
    let at_vendor = receipt.ids.iter().filter(|(_, it)| it.last_ms.is_some() || receipt.may_be_delivered > 0);
    let at_vendor: Vec<&str> = at_vendor.map(|(id, _)| id.as_str()).collect();
    if !at_vendor.is_empty() {
        writeln!(
            out,
            "\nWhat PostHog has already, only its operator can erase. Send these lines to the vendor:\n"
        )?;
        writeln!(out, "    Please delete the persons with these distinct ids, and all their events:")?;
        at_vendor.iter().try_for_each(|id| writeln!(out, "    {id}"))?;
    }
    out.flush()?;
    Ok(())
}

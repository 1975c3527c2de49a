//! How a status is shown: as JSON for scripts, as text for eyes.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::Status;
use crate::cli::output;
use crate::cli::times::shown;
use crate::clock::rfc3339;
use crate::collect::PAUSED;
use crate::settings::{FlushMode, Settings, show_duration, show_size};
use crate::spool::{Instance, LedgerEntry};

impl Status {
    pub(super) fn json(&self, settings: &Settings) -> Json {
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
                "ahead": self.ahead.0,
            },
            "instances": self.instances.iter().map(|(name, it)| json!({
                "name": name,
                "service": known(&it.service),
                "serviceVersion": known(&it.service_version),
                "configFile": config_file(it),
                "collecting": is_collecting(it),
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
                "nextAttempt": self.next_attempt_ms(settings).map(rfc3339),
                "why": self.link.why,
                "onTheWire": self.on_the_wire,
            },
            "problems": self.problems.iter().map(|it| json!({ "at": rfc3339(it.at_ms), "text": it.text })).collect::<Vec<_>>(),
            "limits": {
                "maxBytes": settings.spool.max_bytes,
                "maxRecords": settings.spool.max_records,
                "retention": show_duration(settings.spool.retention),
                "nextExpiry": self.next_expiry_ms(settings).map(rfc3339),
                "plan": self.plan.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "left": self.left.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    pub(super) fn print(&self, settings: &Settings) -> Result<()> {
        let mut out = output::stdout();
        let counts = &self.counts;
        writeln!(out, "spool      {}", self.folder.path.display())?;
        writeln!(
            out,
            "waiting    {} records, {} dead letters, {} bytes on disk",
            counts.queued, counts.dead, counts.bytes
        )?;
        writeln!(out, "from, to   {}  {}", shown(counts.oldest_ms), shown(counts.newest_ms))?;
        if let (ahead, Some(first_ms)) = self.ahead
            && ahead > 0
        {
            writeln!(
                out,
                "ahead      {ahead} of them were stamped in the future and wait until {}",
                rfc3339(first_ms)
            )?;
        }
        let limits = &settings.spool;
        let (bytes, retention) = (show_size(limits.max_bytes), show_duration(limits.retention));
        let expiry = shown(self.next_expiry_ms(settings));
        writeln!(
            out,
            "limits     {bytes}, {} records, {retention}; next to expire {expiry}",
            limits.max_records
        )?;
        for step in &self.plan {
            writeln!(out, "           {step}")?;
        }
        let host = settings.posthog.host.as_deref().unwrap_or("no host set, nothing is sent");
        writeln!(out, "flush      {}, {host}", mode(settings))?;
        let memory = &self.memory;
        let outcome = memory.last_outcome.as_deref().unwrap_or("never tried");
        let (tried, delivered) = (shown(memory.last_attempt_ms), shown(memory.last_success_ms));
        match self.on_the_wire {
            0 => writeln!(out, "last       {outcome} at {tried}, last delivery {delivered}")?,
            // While a request is under way the time is its own, and not that of the outcome before
            // it.
            records => writeln!(
                out,
                "last       {outcome}; last try at {tried}, last delivery {delivered}\n\
                 sent       {records} records without an answer, or none yet: they may have arrived, and go out first"
            )?,
        }
        if let Some(why) = &self.link.why {
            writeln!(out, "why        {why}")?;
        }
        if let Some(events) = self.link.batch_events {
            writeln!(out, "line       too weak for full batches; the next one has {events} records at most")?;
        }
        if counts.queued > 0 {
            writeln!(out, "next       {}", self.next_attempt(settings))?;
        }
        writeln!(out)?;
        let mut table =
            output::table(&["instance", "service", "version", "collecting", "last record", "why"]);
        for (name, it) in &self.instances {
            let collecting = if is_collecting(it) { "yes" } else { "no" };
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
        if !self.left.is_empty() {
            let mut table = output::table(&["left the queue", "records", "why", "oldest", "newest"]);
            for it in &self.left {
                let times = [it.at_ms, it.oldest_ms, it.newest_ms].map(rfc3339);
                let [at, oldest, newest] = &times;
                table.add_row([at.as_str(), &it.records.to_string(), it.reason.as_str(), oldest, newest]);
            }
            writeln!(out, "\n{table}")?;
        }
        for problem in &self.problems {
            writeln!(out, "\nproblem ({}): {}", rfc3339(problem.at_ms), problem.text)?;
        }
        out.flush()?;
        Ok(())
    }
}

impl Status {
    /// When what waits is tried, in words.
    fn next_attempt(&self, settings: &Settings) -> String {
        let posthog = &settings.posthog;
        if posthog.host.is_none() || posthog.api_key.is_none() {
            return "never, before both posthog.host and posthog.apiKey are set".into();
        }
        let every = show_duration(settings.flush.every);
        match (settings.flush.mode, self.next_attempt_ms(settings)) {
            (FlushMode::Manual, _) => "by hand: `salver flush`".into(),
            (FlushMode::Auto, Some(next_ms)) => format!("at {} by the service", rfc3339(next_ms)),
            (FlushMode::Auto, None) => format!("within {every} by the service"),
        }
    }
}

fn entry(it: &LedgerEntry) -> Json {
    json!({
        "at": rfc3339(it.at_ms),
        "records": it.records,
        "fate": it.reason.as_str(),
        "oldest": rfc3339(it.oldest_ms),
        "newest": rfc3339(it.newest_ms),
    })
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

fn is_collecting(instance: &Instance) -> bool {
    instance.collecting && !instance.paused
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

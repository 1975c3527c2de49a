//! `salver doctor`: checks each step from the config file to PostHog, and names the next step where
//! one fails.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::context::Context;
use super::exit::Ended;
use super::output::{self, Format};
use crate::clock::now_ms;
use crate::doctor::{self, Finding, Level};
use crate::settings::{Resolved, Settings};
use crate::wiring;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// text or json
    #[arg(long, default_value = "text")]
    format: Format,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let findings = match context.resolve(Vec::new(), None) {
        Ok(resolved) => examine(&resolved),
        // Without settings there is nothing to look at.
        Err(error) => vec![Finding::error("settings", &error)],
    };
    match arguments.format {
        Format::Json => output::print_json(&json!({ "findings": findings }))?,
        Format::Text => print(&findings)?,
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Failure);
    Ok(if failed { Ended::Failed } else { Ended::Done })
}

fn examine(resolved: &Resolved) -> Vec<Finding> {
    let settings = &resolved.settings;
    let mut findings = vec![match &resolved.file {
        Some(file) => Finding::ok("settings", format!("{}", file.display())),
        None => Finding::ok("settings", "no file, all defaults"),
    }];
    let folder = wiring::spool_folder(settings);
    findings.extend(doctor::spool(&folder));
    findings.push(doctor::space(&folder.path, settings.spool.max_bytes));
    findings.extend(instances(settings));
    let (connection, remote_ms) = connection(settings);
    findings.push(doctor::clock(now_ms(), remote_ms));
    findings.extend(connection);
    findings
}

fn instances(settings: &Settings) -> Vec<Finding> {
    if settings.instances.is_empty() {
        let next = "name the config files of Butler and Butler SOS under `instances`";
        return vec![Finding::warning("file", "no instance is named, so nothing is collected", next)];
    }
    let found = wiring::collector(settings).map(|collector| {
        let targets = wiring::targets(settings);
        targets.iter().flat_map(|target| doctor::instance(&collector, target)).collect()
    });
    found.unwrap_or_else(|error| vec![Finding::error("settings", &error)])
}

/// The checks of the connection, if a host and a key are set, and the clock of the server that
/// answered.
fn connection(settings: &Settings) -> (Vec<Finding>, Option<i64>) {
    let (Some(_), Some(api_key)) = (&settings.posthog.host, &settings.posthog.api_key) else {
        let text = "posthog.host and posthog.apiKey are not both set, so nothing is sent";
        let next = "write both into the settings file, unless this server is to stay silent";
        return (vec![Finding::warning("posthog", text, next)], None);
    };
    match wiring::endpoint(settings) {
        Ok((endpoint, shape)) => {
            let mut findings = vec![doctor::key(api_key.expose())];
            findings.extend(doctor::proxy(endpoint.route()));
            let (connection, remote_ms) = doctor::connection(&endpoint, &shape);
            findings.extend(connection);
            (findings, remote_ms)
        }
        Err(error) => (vec![Finding::error("settings", &error)], None),
    }
}

fn print(findings: &[Finding]) -> Result<()> {
    let mut out = output::stdout();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failure => "FAILURE",
        };
        writeln!(out, "{level:<8} {:<9} {}", finding.check, finding.text)?;
        if let Some(next) = &finding.next {
            writeln!(out, "{:<18} -> {next}", "")?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (failures, warnings) = (count(Level::Failure), count(Level::Warning));
    writeln!(out, "\n{} checks, {failures} failures, {warnings} warnings", findings.len())?;
    out.flush()?;
    Ok(())
}

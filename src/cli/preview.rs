//! `salver preview`: prints the record, event or request that would follow. Writes nothing.

use std::io::Write;

use anyhow::Result;
use clap::ValueEnum;
use semver::Version;
use serde_json::json;

use super::context::{self, Context};
use super::exit::{Ended, Usage};
use super::explain;
use super::output;
use super::record::assumption;
use crate::clock;
use crate::collect::DO_NOT_TRACK;
use crate::collect::Target;
use crate::forward::wire;
use crate::record::observe::State;
use crate::record::version::VersionOrigin;
use crate::record::{Reason, Record, message};
use crate::wiring;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A config file, or a name from the settings
    #[arg(value_name = "FILE|NAME")]
    name: String,

    /// The service, where the file's top-level key should not decide
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,

    /// The service's version, where its package.json should not decide
    #[arg(long, value_name = "VERSION")]
    service_version: Option<Version>,

    /// The version of Node.js that runs the service, such as v20.20.2
    #[arg(long, value_name = "VERSION")]
    node_version: Option<String>,

    /// The record as it is stored, the event as it is sent, or the exact body of a request
    #[arg(long = "as", value_name = "FORM", default_value = "record")]
    form: PreviewForm,

    /// For each key that would be sent, the config path that decided it, or its source
    #[arg(long)]
    explain: bool,

    /// Show the project key in a request
    #[arg(long)]
    reveal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreviewForm {
    Record,
    Event,
    Request,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Ended> {
    let (resolved, targets) = context.targets(std::slice::from_ref(&arguments.name))?;
    let settings = resolved.settings;
    let mut target = targets.into_iter().next().ok_or_else(|| Usage("nothing to preview".into()))?;
    override_subject(&mut target, arguments);
    let collector = wiring::collector(&settings)?;
    let folder = wiring::spool_folder(&settings);
    let observation = collector.observe(&target)?;
    let name = target.key(&observation.service);
    let report = match &observation.state {
        State::Reportable(report) if !collector.do_not_track() => report,
        State::Reportable(_) => return Ok(nothing(&name, DO_NOT_TRACK)),
        State::Withdrawn(why) | State::Unclear(why) | State::TooOld(why) => return Ok(nothing(&name, why)),
    };
    if observation.version.origin == VersionOrigin::Assumed && !context.quiet {
        output::say(&format!("{name}: {}", assumption(&observation.version.version.to_string())));
    }
    let id = collector.ids.next(&folder, &name, report)?.id;
    let record = Record {
        uuid: uuid::Uuid::now_v7().hyphenated().to_string(),
        timestamp_ms: clock::now_ms(),
        instance: name,
        reason: Reason::Manual,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        draft: collector.draft(&observation, report, id),
    };
    if arguments.explain {
        let event = json!(wire::event(&record, settings.posthog.geoip));
        output::print_json(&explain::keys(&event, &record, &report.derived, observation.version.origin))?;
        return Ok(Ended::Done);
    }
    match arguments.form {
        PreviewForm::Record => output::print_json(&message::message(&record))?,
        PreviewForm::Event => output::print_json(&wire::event(&record, settings.posthog.geoip))?,
        PreviewForm::Request => {
            let key = context::shown_key(&settings, arguments.reveal);
            // The bytes that would be sent.
            let mut out = output::stdout();
            wire::write([&record], &wiring::request_options(&settings, key), clock::now_ms(), &mut out)?;
            writeln!(out)?;
            out.flush()?;
        }
    }
    Ok(Ended::Done)
}

fn nothing(name: &str, why: &str) -> Ended {
    output::remark(format_args!("{name}: nothing would be collected: {why}"));
    Ended::NothingCollected
}

fn override_subject(target: &mut Target, arguments: &Arguments) {
    let subject = &mut target.subject;
    subject.service = arguments.service.clone().or_else(|| subject.service.take());
    subject.service_version = arguments.service_version.clone().or_else(|| subject.service_version.take());
    subject.node_version = arguments.node_version.clone().or_else(|| subject.node_version.take());
}

//! Looks made by a worker: the request of the service, the worker's side, and its messages.
//!
//! Why the request carries all that is needed, the catalogue included: the settings in force are
//! those of the service. The files on disk may be half written, or wrong, and a service whose
//! settings file is wrong goes on with the settings from before. So a worker reads no settings, and
//! cannot find others.
//!
//! Invariant: when the result of a look is sent, it is durable, and it holds all that the service
//! has to know: a service keeps nothing else of an instance than the [`Target`] that came back.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::worker::{self, Program, Task, Worker};
use crate::clock;
use crate::collect::{Ask, Collector, LookOptions, LookOutcome, Snapshot, Target};
use crate::record::catalogue::Catalogue;
use crate::record::identity::SystemIdSource;
use crate::spool::{SpoolError, SpoolFolder, SpoolStamp};

pub const TASK: Task = Task { command: "look", does: "looks" };

/// Time limit for opening a spool, beyond the wait for its lock: a damaged one is recovered first.
const OPEN_TIMEOUT: Duration = Duration::from_mins(5);

/// What looking needs of the settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookConfig {
    pub folder: SpoolFolder,
    pub catalogue: Catalogue,
    pub system_id: SystemIdSource,
    /// How long a withdrawn consent awaits its confirmation.
    pub settle: Duration,
    /// When to record although nothing changed.
    pub interval: Option<Duration>,
}

/// The work of one worker: looks at some instances or, if there are none, a check that the spool
/// can be used.
#[derive(Debug, Serialize, Deserialize)]
pub struct LookRequest<'a> {
    pub config: Cow<'a, LookConfig>,
    pub looks: Cow<'a, [Look]>,
}

/// One look that a worker has to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Look {
    /// The index of the instance in the service.
    pub index: usize,
    pub target: Target,
    /// The files could not be read for so long that `status` should say so.
    pub note_unreadable: bool,
}

/// A message of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum LookMessage {
    /// Whether the spool can be used. If not, no look is made.
    Spool(Result<(), Fault>),
    /// A look was made.
    Look {
        /// See [`Look::index`].
        index: usize,
        target: Box<Target>,
        outcome: Result<LookOutcome, Fault>,
    },
    /// All looks were made: the spool before the first and after the last of them. Not sent if one
    /// of the stamps could not be read.
    Stamps { before: Option<SpoolStamp>, after: Option<SpoolStamp> },
}

/// The reason a look failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// The thing, the cause and the next step.
    pub text: String,
    pub kind: FaultKind,
}

/// The kinds of faults that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// Another process holds the spool for too long.
    Busy,
    /// The folder is no spool that this version can use.
    Unusable,
    /// The disk has no room.
    Full,
    /// Any other fault of the spool.
    Spool,
    /// The worker could not be started, or ended before it had sent all messages.
    Worker,
}

impl From<&SpoolError> for Fault {
    fn from(error: &SpoolError) -> Fault {
        let kind = match error {
            SpoolError::Busy { .. } | SpoolError::Flushing { .. } => FaultKind::Busy,
            SpoolError::Foreign { .. }
            | SpoolError::Newer { .. }
            | SpoolError::Older { .. }
            | SpoolError::Damaged { .. } => FaultKind::Unusable,
            error if error.is_full() => FaultKind::Full,
            _ => FaultKind::Spool,
        };
        Fault { text: error.to_string(), kind }
    }
}

impl Fault {
    pub fn of_worker(text: String) -> Fault {
        Fault { text, kind: FaultKind::Worker }
    }
}

impl LookConfig {
    /// When a look records.
    pub fn ask(&self) -> Ask {
        self.interval.map_or(Ask::Difference, Ask::Interval)
    }
}

/// Has a worker check that the spool can be used, and waits for it. A worker that cannot be
/// started, or sends nothing, is no verdict.
pub fn try_spool(program: &Program, config: &LookConfig) -> Result<(), Fault> {
    let request = LookRequest { config: Cow::Borrowed(config), looks: Cow::Borrowed(&[]) };
    let Ok(worker) = Worker::start(program, TASK, &request, || ()) else { return Ok(()) };
    let messages = worker.end(config.folder.wait + OPEN_TIMEOUT).into_iter();
    let mut verdicts = messages.filter_map(|message| match message {
        LookMessage::Spool(verdict) => Some(verdict),
        LookMessage::Look { .. } | LookMessage::Stamps { .. } => None,
    });
    verdicts.next_back().unwrap_or(Ok(()))
}

/// The worker's side: does what the service requested. An error means that the service is gone.
pub fn work() -> io::Result<()> {
    let LookRequest { config, looks } = worker::request::<LookRequest<'static>>()?;
    let (config, looks) = (config.into_owned(), looks.into_owned());
    let folder = &config.folder;
    if looks.is_empty() {
        let usable = folder.open(clock::now_ms()).and_then(|spool| spool.close());
        return worker::send(&LookMessage::Spool(usable.map_err(|error| Fault::from(&error))));
    }
    let before = folder.stamp();
    let collector = Collector::new(config.catalogue.clone(), config.system_id, config.settle);
    let snapshot = match snapshot(folder, &looks) {
        Ok(snapshot) => snapshot,
        Err(error) => return worker::send(&LookMessage::Spool(Err(Fault::from(&error)))),
    };
    let options = LookOptions { folder, ask: config.ask(), snapshot: snapshot.as_ref() };
    for Look { index, mut target, note_unreadable } in looks {
        let outcome = look(&collector, &options, &mut target, note_unreadable);
        let outcome = outcome.map_err(|error| Fault::from(&error));
        worker::send(&LookMessage::Look { index, target: Box::new(target), outcome })?;
    }
    if let (Ok(before), Ok(after)) = (before, folder.stamp()) {
        worker::send(&LookMessage::Stamps { before, after })?;
    }
    Ok(())
}

/// Reads the spool once if the service does not know what it holds of an instance: in most cases
/// nothing has changed. A full disk may have room again later, so it is no error here.
fn snapshot(folder: &SpoolFolder, looks: &[Look]) -> Result<Option<Snapshot>, SpoolError> {
    if !looks.iter().any(|look| look.target.is_new()) {
        return Ok(None);
    }
    match Snapshot::read(folder) {
        Err(error) if error.is_full() => Ok(None),
        snapshot => snapshot.map(Some),
    }
}

fn look(
    collector: &Collector,
    options: &LookOptions<'_>,
    target: &mut Target,
    note_unreadable: bool,
) -> Result<LookOutcome, SpoolError> {
    let mut outcome = collector.look_once(options, target)?;
    if let LookOutcome::Unreadable(files) = &mut outcome
        && note_unreadable
        && let Err(error) = collector.note_unreadable(options, target, files)
    {
        tracing::debug!(instance = files.name, "cannot be noted for `status`: {error}");
    }
    Ok(outcome)
}

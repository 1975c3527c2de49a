//! Looking by a worker: what the service asks for, and what it is told.
//!
//! Why the order carries all that is needed, the catalogue included: the settings in force are those of the service. What lies on the disk
//! may be half written, or no good, and a service whose settings are no good goes on with those from before. So a worker reads no settings
//! at all, and cannot find others.
//!
//! Invariant: what is told of a look is durable when it is told, and holds all that the service has to know: a service keeps nothing else of a
//! target than the [`Target`] that came back.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::collect::{Ask, Collector, Introduction, Looked, Remembered};
use crate::record::catalogue::Catalogue;
use crate::record::identity::SystemIdSource;
use crate::record::{Reason, message};
use crate::settings::Settings;
use crate::spool::{SpoolError, SpoolFolder};
use crate::target::Target;
use crate::worker::{self, Program, Worker};

/// The hidden command.
pub const COMMAND: &str = "look";

/// How long a spool may take to open once it is its turn.
const PATIENCE: Duration = Duration::from_mins(5);

/// What looking takes, as far as the settings say it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Means {
    /// The spool.
    pub folder: SpoolFolder,
    /// The services that are known.
    pub catalogue: Catalogue,
    /// Where the system id comes from.
    pub system_id: SystemIdSource,
    /// How long a withdrawn consent is doubted.
    pub settle: Duration,
    /// When to record although nothing changed.
    pub interval: Option<Duration>,
    /// Somebody wants to see each record.
    pub shows: bool,
}

/// What a worker is to do: look at some targets, or, if there are none, see whether the spool can be used.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order<'a> {
    /// With what.
    pub means: Cow<'a, Means>,
    /// At what.
    pub looks: Cow<'a, [Look]>,
}

/// One target that is to be looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Look {
    /// Its number among those of the service.
    pub number: usize,
    /// The target, with what is known of it.
    pub target: Target,
    /// It could not be read for so long that `status` should say so.
    pub lasts: bool,
}

/// What a worker tells, one by one.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    /// Whether the spool can be used. If it cannot, no look is made.
    Spool(Result<(), Fault>),
    /// A look was made.
    Look {
        /// Of this target.
        number: usize,
        /// As it is known now.
        target: Box<Target>,
        /// What came of it.
        came: Result<Came, Fault>,
    },
}

/// What came of a look.
#[derive(Debug, Serialize, Deserialize)]
pub enum Came {
    /// A record was written.
    Recorded {
        /// The instance.
        name: String,
        /// The record.
        uuid: String,
        /// Why it was written.
        reason: Reason,
        /// The service's version was not found and the newest was assumed.
        assumed: bool,
        /// Who it is.
        introduction: Introduction,
        /// The whole record, if somebody wants to see it.
        line: Option<String>,
    },
    /// What would be reported is what was last recorded.
    Unchanged {
        /// The instance.
        name: String,
        /// Who it is, where the spool was asked.
        introduction: Option<Introduction>,
    },
    /// The files hold the bytes that they held before.
    AsBefore,
    /// Consent seems to be withdrawn; that is believed if it is still so after this time.
    Doubted(Duration),
    /// Nothing is collected, by decision.
    Off {
        /// The instance.
        name: String,
        /// Whose decision.
        why: String,
        /// How many records were erased because of it.
        erased: u64,
    },
    /// The file could not be read; nothing is collected, sent or erased until it can.
    Held(Held),
}

/// A file that could not be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The instance, or its file where it has no name and never had one.
    pub name: String,
    /// Why.
    pub why: String,
    /// The bytes that cannot be read.
    pub bytes: [u8; 32],
    /// `status` says so.
    pub noted: bool,
}

/// Why a look could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// The thing, the cause and the next step.
    pub text: String,
    /// What is at fault.
    pub kind: FaultKind,
}

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// Somebody else holds the spool for too long.
    Busy,
    /// The folder is no spool that this version can use.
    Unusable,
    /// There is no room on the disk.
    Full,
    /// Something else about the spool.
    Spool,
    /// The worker could not be started, or ended before it had told all.
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
    /// A worker did not do its work.
    pub fn worker(text: String) -> Fault {
        Fault { text, kind: FaultKind::Worker }
    }
}

impl Means {
    /// As the settings say.
    pub fn of(settings: &Settings, folder: SpoolFolder, catalogue: Catalogue, shows: bool) -> Means {
        Means {
            folder,
            catalogue,
            system_id: settings.identity.system_id,
            settle: settings.watch.settle,
            interval: settings.record.interval,
            shows,
        }
    }

    /// Why a look records.
    pub fn ask(&self) -> Ask {
        self.interval.map_or(Ask::Difference, Ask::Interval)
    }
}

/// Has a worker see whether the spool can be used, and waits for it. One that cannot be started, or says nothing, is no verdict.
pub fn try_spool(program: &Program, means: &Means) -> Result<(), Fault> {
    let order = Order { means: Cow::Borrowed(means), looks: Cow::Borrowed(&[]) };
    let Ok(worker) = Worker::start(program, COMMAND, &order, || ()) else { return Ok(()) };
    let verdicts = worker.end(means.folder.wait + PATIENCE).into_iter().map(|told| match told {
        Told::Spool(verdict) => verdict,
        Told::Look { .. } => Ok(()),
    });
    verdicts.last().unwrap_or(Ok(()))
}

/// Does what the service ordered. Ends early only if nobody hears it any more.
pub fn work() -> io::Result<()> {
    let Order { means, looks } = worker::order::<Order<'static>>()?;
    let (means, looks) = (means.into_owned(), looks.into_owned());
    if looks.is_empty() {
        let usable = means.folder.open(clock::now_ms()).and_then(|spool| spool.close());
        return worker::tell(&Told::Spool(usable.map_err(|error| Fault::from(&error))));
    }
    let collector = Collector::new(means.catalogue.clone(), means.system_id, means.settle);
    let remembered = match remember(&collector, &means.folder, &looks) {
        Ok(remembered) => remembered,
        Err(error) => return worker::tell(&Told::Spool(Err(Fault::from(&error)))),
    };
    for Look { number, mut target, lasts } in looks {
        if let Some(remembered) = &remembered {
            target.remember(Arc::clone(remembered));
        }
        let came = look_at(&means, &collector, &mut target, lasts).map_err(|error| Fault::from(&error));
        worker::tell(&Told::Look { number, target: Box::new(target), came })?;
    }
    Ok(())
}

/// What the spool knows, if a target is looked at for the first time: mostly nothing has changed since somebody else did. A full disk may have room
/// again later.
fn remember(
    collector: &Collector,
    folder: &SpoolFolder,
    looks: &[Look],
) -> Result<Option<Remembered>, SpoolError> {
    if !looks.iter().any(|look| look.target.is_new()) {
        return Ok(None);
    }
    match collector.remember(folder) {
        Err(error) if error.is_full() => Ok(None),
        remembered => remembered.map(Some),
    }
}

fn look_at(
    means: &Means,
    collector: &Collector,
    target: &mut Target,
    lasts: bool,
) -> Result<Came, SpoolError> {
    Ok(match collector.glance(&means.folder, target, means.ask())? {
        Looked::Recorded { name, record, assumed } => Came::Recorded {
            name,
            uuid: record.uuid.clone(),
            reason: record.reason,
            assumed,
            introduction: Introduction::of_record(&record),
            line: means.shows.then(|| message::line(&message::message(&record))),
        },
        Looked::Unchanged { name, introduction } => Came::Unchanged { name, introduction },
        Looked::AsBefore => Came::AsBefore,
        Looked::Doubted(wait) => Came::Doubted(wait),
        Looked::Off { name, why, erased } => Came::Off { name, why, erased },
        Looked::Held { name, error, bytes } => {
            let noted = lasts.then(|| collector.hold(&means.folder, target, &error));
            if let Some(Err(error)) = &noted {
                tracing::debug!(instance = name, "cannot be noted for `status`: {error}");
            }
            let noted = matches!(noted, Some(Ok(())));
            Came::Held(Held { name, why: error.to_string(), bytes, noted })
        }
    })
}

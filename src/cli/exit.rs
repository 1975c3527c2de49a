//! Exit codes: the result of a command for scripts.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; the message says what and what to do |
//! | 2 | usage or settings |
//! | 3 | nothing collected: consent is off |
//! | 4 | upstream unreachable, throttled or refusing; every record kept |
//! | 5 | spool busy longer than the wait allows |
//! | 6 | the spool is damaged or foreign, and the command could not do its work |

use std::io::ErrorKind;
use std::process::ExitCode;

use super::output::remark;
use crate::record::catalogue::CatalogueError;
use crate::service::look::{Fault, FaultKind};
use crate::settings::SettingsError;
use crate::spool::SpoolError;
use crate::wiring::DestinationError;

/// The result of a command that reports its failures itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 0
    Done,
    /// 1; the command has printed what failed
    Failed,
    /// 3
    NothingCollected,
    /// 4
    Upstream,
}

/// A mistake in the arguments or the settings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Prints the error, if there is one, and returns the exit code.
pub fn code(done: anyhow::Result<Ended>) -> ExitCode {
    match done {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::from(1),
        Ok(Ended::NothingCollected) => ExitCode::from(3),
        Ok(Ended::Upstream) => ExitCode::from(4),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            remark(format_args!("{error:#}"));
            ExitCode::from(code_of(&error))
        }
    }
}

/// Whether the reader of our output has closed the pipe, as in `salver dump | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = match error.downcast_ref::<csv::Error>().map(csv::Error::kind) {
        // csv wraps an I/O error and leaves it out of the chain of causes.
        Some(csv::ErrorKind::Io(io)) => Some(io),
        _ => error.downcast_ref::<std::io::Error>(),
    };
    io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>()
        || error.is::<SettingsError>()
        || error.is::<DestinationError>()
        || error.is::<CatalogueError>()
    {
        return 2;
    }
    let of_spool = error.downcast_ref::<SpoolError>().map(|error| Fault::from(error).kind);
    match of_spool.or_else(|| error.downcast_ref::<Fault>().map(|fault| fault.kind)) {
        Some(FaultKind::Busy) => 5,
        Some(FaultKind::Unusable) => 6,
        _ => 1,
    }
}

//! The checks on this server: the spool, its disk, the config files, the clock.

use std::ops::ControlFlow;
use std::path::Path;

use super::Finding;
use crate::clock;
use crate::clock::rfc3339;
use crate::collect::Target;
use crate::collect::{Collector, DO_NOT_TRACK};
use crate::record::observe::State;
use crate::record::version::VersionOrigin;
use crate::settings::show_size;
use crate::spool::{SpoolError, SpoolFolder};

/// With fewer free bytes the next segment may not fit.
const LITTLE_ROOM: u64 = 64 * 1024 * 1024;

/// No release of salver is older than this, so an earlier clock is wrong: 2025-01-01.
const EARLIEST_MS: i64 = 1_735_689_600_000;

/// A larger difference from PostHog's clock is a failure, in milliseconds.
const CLOCK_MAY_DIFFER_MS: i64 = 5 * 60 * 1000;

/// Whether the spool can be read and written to, and what it has noted.
pub fn spool(folder: &SpoolFolder) -> Vec<Finding> {
    const CHECK: &str = "spool";
    let path = folder.path.display();
    match look_into(folder) {
        Ok(findings) => findings,
        Err(SpoolError::Absent { .. }) => vec![Finding::warning(
            CHECK,
            format!("{path}: there is no spool yet"),
            "`salver record` or `salver run` makes one",
        )],
        Err(error) => vec![Finding::error(CHECK, &error)],
    }
}

/// Reads every record once.
fn look_into(folder: &SpoolFolder) -> Result<Vec<Finding>, SpoolError> {
    const CHECK: &str = "spool";
    let path = folder.path.display();
    let mut spool = folder.read(clock::now_ms())?;
    let counts = spool.counts()?;
    let mut findings = Vec::new();
    match folder.cannot_be_written() {
        None => findings.push(Finding::ok(
            CHECK,
            format!("{path}: {} records wait, {} dead letters", counts.queued, counts.dead),
        )),
        Some(cause) => findings.push(Finding::failure(
            CHECK,
            format!("{path}: it can be read and not written to ({cause})"),
            "nothing is recorded or sent until it can: mount it writable, or give the account of salver the right to write",
        )),
    }
    let problems = spool.problems().len();
    if problems > 0 {
        let text = format!("it has noted {problems} problems");
        findings.push(Finding::warning(CHECK, text, "read them with `salver status`"));
    }
    let (ahead, _) = spool.ahead()?;
    if ahead > 0 {
        let text = format!("{ahead} records were stamped in the future, by a clock that was wrong");
        findings.push(Finding::warning(
            CHECK,
            text,
            "`salver status` says until when they wait; purge them if that is too long",
        ));
    }
    let _ = spool.each(0, u64::MAX, |_| ControlFlow::<()>::Continue(()))?;
    findings.extend(
        spool
            .doubts()
            .iter()
            .map(|doubt| Finding::failure(CHECK, doubt, "then read with `salver status` what was saved")),
    );
    Ok(findings)
}

/// Whether the disk has room for the limit of the spool.
pub fn space(folder: &Path, max_bytes: u64) -> Finding {
    const CHECK: &str = "space";
    // A spool that does not exist yet will be made below the nearest folder that does.
    let Some(nearest) = folder.ancestors().find(|folder| folder.is_dir()) else {
        return Finding::failure(
            CHECK,
            "there is no disk for the spool",
            "name another folder in spool.directory",
        );
    };
    match fs4::available_space(nearest) {
        Ok(bytes) if bytes < LITTLE_ROOM => Finding::failure(
            CHECK,
            format!("only {} are free for the spool", show_size(bytes)),
            "free some space",
        ),
        Ok(bytes) if bytes < max_bytes => Finding::warning(
            CHECK,
            format!(
                "{} are free, less than the {} that the spool may take",
                show_size(bytes),
                show_size(max_bytes)
            ),
            "free some space, or lower spool.maxBytes",
        ),
        Ok(bytes) => Finding::ok(CHECK, format!("{} are free for the spool", show_size(bytes))),
        Err(error) => Finding::failure(
            CHECK,
            format!("the free space is not known: {error}"),
            "check the disk of spool.directory",
        ),
    }
}

/// Whether an instance's files can be read, and whether it is collected.
pub fn instance(collector: &Collector, target: &Target) -> Vec<Finding> {
    const CHECK: &str = "file";
    let file = target.first_file();
    let file = file.display();
    let seen = match collector.observe(target) {
        Ok(seen) => seen,
        Err(error) => return vec![Finding::error(CHECK, &error)],
    };
    let name = target.key(&seen.service);
    let what = format!("{name}: {} {}, {file}", seen.service, seen.version.version);
    let off =
        |why: &str, next: &str| vec![Finding::warning(CHECK, format!("{what}: not collected: {why}"), next)];
    match &seen.state {
        State::Reportable(_) if collector.do_not_track() => {
            off(DO_NOT_TRACK, "unset it if records are wanted from this server")
        }
        State::Reportable(_) => {
            let mut findings = vec![Finding::ok(CHECK, format!("{what}: read, consent is given"))];
            if seen.version.origin == VersionOrigin::Assumed {
                findings.push(Finding::warning(
                    CHECK,
                    format!("{name}: no package.json tells its version, so the newest known is assumed"),
                    "set `serviceVersion` of the instance if it is another",
                ));
            }
            findings
        }
        State::Withdrawn(why) => off(why, "nothing to do, unless it should be reported"),
        State::Unclear(why) => off(why, "check that the file is whole"),
        State::TooOld(why) => off(why, "nothing to do; set `serviceVersion` if that version is wrong"),
    }
}

/// Whether the clock is plausible, and close to the remote clock if one is known.
pub fn clock(now_ms: i64, remote_ms: Option<i64>) -> Finding {
    const CHECK: &str = "clock";
    const NEXT: &str =
        "set the clock of this server: records are stamped by it, and PostHog moves what lies in its future";
    let now = rfc3339(now_ms);
    let differ_ms = remote_ms.map(|remote_ms| now_ms.saturating_sub(remote_ms));
    match differ_ms {
        _ if now_ms < EARLIEST_MS => {
            Finding::failure(CHECK, format!("{now} is before this program was made"), NEXT)
        }
        Some(differ_ms) if differ_ms.abs() > CLOCK_MAY_DIFFER_MS => {
            let direction = if differ_ms > 0 { "ahead of" } else { "behind" };
            let minutes = differ_ms.abs() / 60_000;
            Finding::failure(CHECK, format!("{now} is {minutes} minutes {direction} PostHog's clock"), NEXT)
        }
        Some(_) => Finding::ok(CHECK, format!("{now}, as PostHog's")),
        None => Finding::ok(CHECK, format!("{now}; there was no other clock to compare it with")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_its_own_time_and_by_the_difference() {
        const NOW: i64 = EARLIEST_MS + 1_000_000_000;
        let level = |now_ms, remote_ms| clock(now_ms, remote_ms).level;
        assert_eq!(level(NOW, None), Level::Ok);
        assert_eq!(level(NOW, Some(NOW + CLOCK_MAY_DIFFER_MS)), Level::Ok);
        assert_eq!(level(0, None), Level::Failure);
        let behind = clock(NOW, Some(NOW + 600_000));
        assert!(behind.level == Level::Failure && behind.text.contains("10 minutes behind"), "{behind:?}");
        assert!(clock(NOW, Some(NOW - 600_000)).text.contains("10 minutes ahead of"));
    }

    #[test]
    fn room_is_judged_where_the_spool_is_or_will_be() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("not/yet/there");
        assert_eq!(space(&folder, 0).level, Level::Ok);
        assert_eq!(space(&folder, u64::MAX).level, Level::Warning);
    }
}

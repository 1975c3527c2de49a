//! Dispatches looks to a worker and applies their results.
//!
//! Why retries are counted here and not by the worker: that files cannot be read, or that looks
//! fail, is reported only once it has lasted, and no worker lives that long.

use std::borrow::Cow;
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Duration;

use super::look::{self, Fault, FaultKind, Look, LookMessage, LookRequest};
use super::worker::{GRACE_PERIOD, Worker, WorkerEvent};
use super::{ExitReason, Reporter, ServiceLoop, Wake};
use crate::clock;
use crate::collect::{LookOutcome, Target, UnreadableFiles};
use crate::watch::watched::Watched;

/// A worker that makes looks.
pub(super) struct RunningWorker {
    worker: Worker<LookMessage>,
    /// The instances whose result is pending, in the order in which the worker looks.
    pending: Vec<usize>,
}

impl ServiceLoop {
    /// Ends a running worker, after a grace period. Results that it sent until then count.
    pub fn stop(mut self, reporter: &mut dyn Reporter) {
        if let Some(RunningWorker { worker, .. }) = self.worker.take() {
            for message in worker.end(GRACE_PERIOD) {
                if let LookMessage::Look { index, target, outcome } = message {
                    self.apply(index, *target, outcome, reporter);
                }
            }
        }
    }

    /// Starts a worker that makes these looks.
    pub(super) fn dispatch(&mut self, looks: Vec<Look>, reporter: &mut dyn Reporter) {
        let pending: Vec<usize> = looks.iter().map(|look| look.index).collect();
        let request = LookRequest { config: Cow::Borrowed(&self.config), looks: Cow::Owned(looks) };
        let sender = self.sender.clone();
        // The receiver is gone only when the service ends.
        let notify = move || _ = sender.send(Wake::Due);
        match Worker::start(&self.program, look::TASK, &request, notify) {
            Ok(worker) => {
                tracing::trace!(looks = pending.len(), "a worker was started");
                self.worker = Some(RunningWorker { worker, pending });
            }
            Err(error) => {
                let fault = Fault::of_worker(error);
                pending.into_iter().for_each(|index| self.look_failed(index, &fault, reporter));
            }
        }
    }

    /// Applies the messages that have come from the worker. Breaks off if the spool cannot be used
    /// when it is used first.
    pub(super) fn receive(&mut self, reporter: &mut dyn Reporter) -> ControlFlow<ExitReason> {
        while let Some(running) = &mut self.worker {
            match running.worker.next_event() {
                WorkerEvent::Quiet => break,
                WorkerEvent::Message(LookMessage::Look { index, target, outcome }) => {
                    if let Err(fault) = &outcome {
                        may_go_on(self.spool_tried, fault)?;
                    }
                    self.spool_tried = true;
                    running.pending.retain(|pending| *pending != index);
                    self.apply(index, *target, outcome, reporter);
                }
                WorkerEvent::Message(LookMessage::Stamps { before, after }) => {
                    self.spool.looked(before, after)
                }
                WorkerEvent::Message(LookMessage::Spool(Ok(()))) => {}
                WorkerEvent::Message(LookMessage::Spool(Err(fault))) => {
                    for index in std::mem::take(&mut running.pending) {
                        self.look_failed(index, &fault, reporter);
                    }
                    may_go_on(self.spool_tried, &fault)?;
                }
                WorkerEvent::Ended(how) => {
                    let pending = self.worker.take().map(|running| running.pending).unwrap_or_default();
                    self.worker_ended(pending, how, reporter);
                }
            }
        }
        Continue(())
    }

    /// Handles the end of a worker that did not send the results of these instances.
    fn worker_ended(&mut self, pending: Vec<usize>, how: String, reporter: &mut dyn Reporter) {
        let mut pending = pending.into_iter();
        // The worker ended while it looked at the first of them. The others are looked at again at
        // once, as they may not be the cause.
        if let Some(index) = pending.next() {
            self.look_failed(index, &Fault::of_worker(how), reporter);
        }
        pending.for_each(|index| self.plan(Watched::Instance(index), Duration::ZERO));
    }

    fn apply(
        &mut self,
        index: usize,
        target: Target,
        outcome: Result<LookOutcome, Fault>,
        reporter: &mut dyn Reporter,
    ) {
        self.instances[index].target = target;
        match outcome {
            Ok(outcome) => self.apply_outcome(index, outcome, reporter),
            Err(fault) => self.look_failed(index, &fault, reporter),
        }
    }

    pub(super) fn apply_outcome(&mut self, index: usize, outcome: LookOutcome, reporter: &mut dyn Reporter) {
        let instance = &mut self.instances[index];
        match outcome {
            LookOutcome::AwaitingConfirmation(wait) => {
                tracing::debug!(index, "consent seems to be withdrawn, and is read once more");
                return self.plan(Watched::Instance(index), wait);
            }
            LookOutcome::Unreadable(files) => return self.files_unreadable(index, files, reporter),
            LookOutcome::Unmodified => match &instance.unreadable {
                Some(files) => {
                    tracing::debug!(instance = files.name, "nothing that is reported changed");
                }
                None => tracing::trace!(index, "the files are as they were"),
            },
            LookOutcome::Recorded(_) | LookOutcome::Unchanged { .. } | LookOutcome::NotCollecting { .. } => {
                if instance.look_retry.succeeded() {
                    reporter.looks_succeed();
                }
            }
        }
        instance.unreadable = None;
        if instance.read_retry.succeeded() {
            reporter.readable_again(&instance.target.display_name());
        }
        reporter.outcome(&outcome);
        let due_in = |interval| instance.target.due_in(interval, clock::now_ms());
        if let Some(wait) = self.config.interval.and_then(due_in) {
            self.plan(Watched::Instance(index), wait);
        }
    }

    /// Handles files that cannot be read: plans the next look.
    pub(super) fn files_unreadable(
        &mut self,
        index: usize,
        files: UnreadableFiles,
        reporter: &mut dyn Reporter,
    ) {
        let instance = &mut self.instances[index];
        let failure = instance.read_retry.failed(&files.why, self.watch.settle, self.watch.poll);
        if failure.report {
            reporter.unreadable(&files);
        } else if !failure.lasts {
            tracing::debug!(instance = files.name, "cannot be read now, and is tried again: {}", files.why);
        }
        instance.unreadable = Some(files);
        self.plan(Watched::Instance(index), failure.wait);
    }

    /// Handles a look that failed: plans the next one.
    fn look_failed(&mut self, index: usize, fault: &Fault, reporter: &mut dyn Reporter) {
        let retry = &mut self.instances[index].look_retry;
        let failure = retry.failed(&fault.text, self.watch.settle, self.watch.poll);
        if failure.report {
            reporter.looks_fail(fault);
        }
        self.plan(Watched::Instance(index), failure.wait);
    }
}

/// Breaks off if this was the first use of the spool. A full disk may have room again later.
fn may_go_on(spool_tried: bool, fault: &Fault) -> ControlFlow<ExitReason> {
    match spool_tried || fault.kind == FaultKind::Full {
        true => Continue(()),
        false => Break(ExitReason::SpoolUnusable(fault.clone())),
    }
}

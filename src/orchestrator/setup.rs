//! Setup steps in the trees of a run: before each attempt's command, and in the checkout that gates judge.
//!
//! They run as part of the attempt, with its mark, so that whatever ends an attempt ends them; each has a log of its own beside
//! the attempt's. What they get is theirs alone: a task's variables, secrets and network are not for them.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::attempt::{self, Attempt, AttemptEnd};
use super::context::{Context, RunError};
use crate::confine::Launch;
use crate::confine::shim::Stopped;
use crate::model::record::AttemptRecord;
use crate::model::{ProcId, RunId, SetupRecord, SetupStep, TaskId, Token};
use crate::sys::{clock, random};
use crate::worktree::WorktreeError;
use crate::worktree::exported::Exported;
use crate::worktree::sealed::SealedPaths;
use crate::worktree::setup;

/// The tree of a task in which its command is about to start.
pub struct TaskTree<'a> {
    /// The task.
    pub id: &'a TaskId,
    /// Which attempt.
    pub n: u32,
    /// Its mark.
    pub token: &'a Token,
    /// Its workspace.
    pub paths: &'a SealedPaths,
    /// What that borrows from.
    pub lenders: &'a [PathBuf],
    /// What a command in it is told.
    pub exported: Exported<'a>,
}

/// Runs the steps in the tree of a task. One that fails is an error; an end that is the answer is that of the attempt: it was
/// asked to stop meanwhile.
pub async fn in_task(context: &Arc<Context>, tree: &TaskTree<'_>) -> Result<Option<AttemptEnd>, RunError> {
    let steps = &context.run.setup;
    for (number, step) in (1..).zip(steps) {
        let command = (setup::argv(step), tree.token.clone());
        let mut launch = context.launch_in(tree.paths, tree.lenders, command)?;
        launch.env.extend(told(&context.run.id, "TREEHAND_TASK", tree.id.as_str()));
        launch.env.extend(tree.exported.variables());
        setup::give(&mut launch, step)?;
        let log = context.repo.setup_log(&context.run.id, tree.id, tree.n, number);
        launch.log = Some(context.log_plan(&log));
        let record = SetupRecord {
            command: step.run.clone(),
            started_at: clock::now(),
            ended_at: None,
            exit: None,
            signal: None,
            error: None,
            log,
        };
        let started = |process: Option<&ProcId>| begun(context, tree, &record, process);
        let stop = context.stop_of(tree.id);
        let attempt = Attempt { launch: &launch, granted: context.granted, machine: &context.machine, stop };
        let end = attempt::run(attempt, started).await?;
        let failure = failure(step, &end);
        ended(context, tree, &end, failure.as_deref())?;
        match failure {
            _ if end.stopped == Some(Stopped::Asked) => return Ok(Some(end)),
            Some(message) => return Err(RunError::Setup { message }),
            None => {}
        }
    }
    Ok(None)
}

/// The variables that say which run a step is for, and what of it.
pub fn told(run: &RunId, what: &str, name: &str) -> [(String, String); 2] {
    [("TREEHAND_RUN".to_owned(), run.to_string()), (what.to_owned(), name.to_owned())]
}

fn failure(step: &SetupStep, end: &AttemptEnd) -> Option<String> {
    setup::failure(step, (end.exit, end.signal, end.stopped))
}

fn begun(
    context: &Context,
    tree: &TaskTree<'_>,
    record: &SetupRecord,
    process: Option<&ProcId>,
) -> Result<(), RunError> {
    let data = json!({"attempt": tree.n, "command": record.command, "log": record.log, "process": process});
    edit(context, tree.id, "setup.started", data, |attempt| {
        attempt.process = process.cloned();
        attempt.setup.push(record.clone());
    })
}

fn ended(context: &Context, tree: &TaskTree<'_>, end: &AttemptEnd, failure: Option<&str>) -> Result<(), RunError> {
    let data = json!({"attempt": tree.n, "exit": end.exit, "signal": end.signal, "left_behind": end.left_behind,
        "network": end.network, "error": failure});
    edit(context, tree.id, "setup.ended", data, |attempt| {
        // Its shim is gone, and the next is not there yet.
        attempt.process = None;
        if let Some(step) = attempt.setup.last_mut() {
            step.ended_at = Some(clock::now());
            (step.exit, step.signal, step.error) = (end.exit, end.signal, failure.map(str::to_owned));
        }
    })
}

fn edit(
    context: &Context,
    id: &TaskId,
    kind: &str,
    data: serde_json::Value,
    change: impl FnOnce(&mut AttemptRecord),
) -> Result<(), RunError> {
    let edited = |store: &crate::store::Store| {
        store.edit_task(&context.run.id, id, kind, data, |task| task.attempts.last_mut().map_or((), change))
    };
    context.store(edited)?;
    Ok(())
}

/// How the steps in the checkout of gates ended.
pub enum GateSetup {
    /// It is ready.
    Ready,
    /// One failed: which and how, and its log.
    Failed(String, PathBuf),
    /// The run was cancelled meanwhile.
    Cancelled,
}

/// The checkout that gates judge.
pub struct GateTree<'a> {
    /// Its parts.
    pub paths: &'a SealedPaths,
    /// The results that are in it, as its commands are told.
    pub names: &'a str,
    /// The one that logs are called after.
    pub lead: &'a str,
    /// The tasks of this run among them: it stops when one of them has to.
    pub own: &'a [TaskId],
}

/// Runs the steps in the checkout of gates.
pub async fn in_gate(context: &Arc<Context>, tree: &GateTree<'_>) -> Result<GateSetup, RunError> {
    for (number, step) in (1..).zip(&context.run.setup) {
        let token = random::token().map_err(WorktreeError::Random)?;
        let log = context.repo.setup_log_of_gate(&context.run.id, tree.lead, &token, number);
        let launch = for_gate(context, tree, step, token)?;
        let launch = Launch { log: Some(context.log_plan(&log)), ..launch };
        let stop = context.stop_of_any(tree.own);
        let attempt = Attempt { launch: &launch, granted: context.granted, machine: &context.machine, stop };
        let end = attempt::run(attempt, |_| Ok(())).await?;
        match failure(step, &end) {
            _ if end.stopped == Some(Stopped::Asked) => return Ok(GateSetup::Cancelled),
            Some(message) => return Ok(GateSetup::Failed(message, log)),
            None => {}
        }
    }
    Ok(GateSetup::Ready)
}

fn for_gate(context: &Context, tree: &GateTree<'_>, step: &SetupStep, token: Token) -> Result<Launch, RunError> {
    let mut launch = context.launch_in(tree.paths, &context.gate_lenders()?, (setup::argv(step), token))?;
    launch.env.extend(told(&context.run.id, "TREEHAND_GATE", tree.names));
    setup::give(&mut launch, step)?;
    Ok(launch)
}

//! Setup steps in the trees of a run: before each attempt's command, and in the checkout that gates judge.
//!
//! They run as part of the attempt, with its mark, so that whatever ends an attempt ends them; each has a log of its own beside
//! the attempt's. What they get is theirs alone: a task's variables, secrets and network are not for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::attempt::{self, Attempt, AttemptEnd};
use super::context::{Context, RunError, blocking};
use crate::confine::Launch;
use crate::confine::shim::Stopped;
use crate::model::record::AttemptRecord;
use crate::model::{CommitId, ProcId, RunId, SetupRecord, SetupStep, TaskId, Token};
use crate::sys::{clock, fs, random};
use crate::worktree::WorktreeError;
use crate::worktree::exported::Exported;
use crate::worktree::outputs::ages::Ages;
use crate::worktree::outputs::kept::{self, Brought, Outputs, Turn, Workspace};
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
    // A step may find what one before it has left in their home.
    let (steps, mut ages, mut secrets) = (&context.run.setup, Ages::default(), Vec::new());
    for (number, step) in (1..).zip(steps) {
        let log = context.repo.setup_log(&context.run.id, tree.id, tree.n, number);
        let at = At {
            paths: tree.paths.clone(),
            commit: tree.exported.base.clone(),
            trusted: tree.exported.base.clone(),
            store: None,
        };
        let turn = turn(context, (&at, &mut ages), step, tree.id).await?;
        if let Some((Turn::Brought(brought), _)) = &turn {
            spared(context, tree, step, &log, brought)?;
            continue;
        }
        ages.end();
        let command = (setup::argv(step), tree.token.clone());
        let mut launch = context.launch_in(tree.paths, tree.lenders, command)?;
        launch.env.extend(told(&context.run.id, "TREEHAND_TASK", tree.id.as_str()));
        launch.env.extend(tree.exported.variables());
        setup::give(&mut launch, step)?;
        launch.log = Some(context.log_plan(&log));
        let record = SetupRecord {
            command: step.run.clone(),
            started_at: clock::now(),
            ended_at: None,
            exit: None,
            signal: None,
            error: None,
            log,
            cached: false,
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
        secrets.append(&mut launch.secrets);
        // The turn lasts until others can have it.
        if let Some((_turn, key)) = turn {
            let secrets = secrets.clone();
            let kept = with(context, (&at, step, &key), move |outputs| Ok(outputs.keep_or_why(&secrets)));
            if let Some(why) = kept.await? {
                tracing::info!("what a setup step made is not kept: {why}");
            }
        }
    }
    Ok(None)
}

/// A tree in which a step is to run.
#[derive(Clone)]
struct At {
    paths: SealedPaths,
    /// Its commit.
    commit: CommitId,
    /// One of the repository that this goes on from.
    trusted: CommitId,
    /// The git dir that has the commit, where that is not the repository's.
    store: Option<PathBuf>,
}

impl At {
    /// What the result of a step follows from in this tree, where it can be known again.
    fn key(&self, context: &Context, step: &SetupStep) -> Result<Option<String>, WorktreeError> {
        let (repo, level) = (&context.repo, context.granted.level());
        let place = self.store.as_ref().unwrap_or(&repo.common_dir);
        let git = |args: &[&str]| repo.git.bare(place, args);
        let SealedPaths { tree, admin, .. } = &self.paths;
        let setup = &context.run.setup;
        let before = setup.iter().position(|one| one == step).map_or(&setup[..0], |at| &setup[..at]);
        kept::key(Workspace { tree, commit: &self.commit, git: &git, admin, level }, (before, step))
    }

    fn outputs<'a>(&'a self, context: &'a Context, step: &'a SetupStep, key: &'a str) -> Outputs<'a> {
        let At { paths, commit, trusted, .. } = self;
        Outputs { repo: &context.repo, step, key, tree: &paths.tree, commit, trusted, admin: &paths.admin, older: 0 }
    }
}

/// Works with the outputs of a step where that holds up nothing else.
async fn with<T: Send + 'static>(
    context: &Arc<Context>,
    (at, step, key): (&At, &SetupStep, &str),
    work: impl FnOnce(&Outputs<'_>) -> Result<T, WorktreeError> + Send + 'static,
) -> Result<T, RunError> {
    let (context, at, step, key) = (Arc::clone(context), at.clone(), step.clone(), key.to_owned());
    Ok(blocking(move || work(&at.outputs(&context, &step, &key))).await??)
}

async fn key_of(context: &Arc<Context>, at: &At, step: &SetupStep) -> Result<Option<String>, RunError> {
    if step.outputs.is_empty() {
        return Ok(None);
    }
    let (context, at, step) = (Arc::clone(context), at.clone(), step.clone());
    Ok(blocking(move || at.key(&context, &step)).await??)
}

/// Brings what a step makes, or waits until it is this task's turn to make it; with the key of that. `None` where there is nothing to wait
/// for, and for one that has to stop, which goes on to be stopped.
async fn turn(
    context: &Arc<Context>,
    (at, ages): (&At, &mut Ages),
    step: &SetupStep,
    id: &TaskId,
) -> Result<Option<(Turn, String)>, RunError> {
    let Some(key) = key_of(context, at, step).await? else { return Ok(None) };
    while !context.has_to_stop(id) {
        let mut so_far = ages.clone();
        let now = with(context, (at, step, &key), move |outputs| {
            let turn = outputs.turn()?;
            if let Turn::Brought(brought) = &turn {
                so_far.follow(outputs, brought)?;
            }
            Ok((turn, so_far))
        });
        let (turn, so_far) = now.await?;
        *ages = so_far;
        match turn {
            Turn::Taken => tokio::time::sleep(setup::LOOK_AGAIN).await,
            turn => return Ok(Some((turn, key))),
        }
    }
    Ok(None)
}

/// Puts on record that a step was not run.
fn spared(
    context: &Context,
    tree: &TaskTree<'_>,
    step: &SetupStep,
    log: &Path,
    brought: &Brought,
) -> Result<(), RunError> {
    let Brought { files, bytes, .. } = brought;
    log.parent().map_or(Ok(()), fs::create_dir_all).map_err(WorktreeError::from)?;
    let said = format!("not run: {files} files ({bytes} bytes) from the last time\n");
    fs::write_atomic(log, said.as_bytes()).map_err(WorktreeError::from)?;
    let now = clock::now();
    let record = SetupRecord {
        command: step.run.clone(),
        started_at: now,
        ended_at: Some(now),
        exit: Some(0),
        signal: None,
        error: None,
        log: log.to_owned(),
        cached: true,
    };
    let data = json!({"attempt": tree.n, "command": record.command, "files": files, "bytes": bytes});
    edit(context, tree.id, "setup.cached", data, |attempt| attempt.setup.push(record))
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
    /// The commit that would land.
    pub commit: &'a CommitId,
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
        // What gates judge nobody has accepted yet: nothing that it made is kept.
        if brought_to_gate(context, tree, step).await? {
            continue;
        }
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

async fn brought_to_gate(context: &Arc<Context>, tree: &GateTree<'_>, step: &SetupStep) -> Result<bool, RunError> {
    let at = At {
        paths: tree.paths.clone(),
        commit: tree.commit.clone(),
        trusted: context.run.base.commit.clone(),
        store: Some(context.run_store()?.git_dir().to_owned()),
    };
    let Some(key) = key_of(context, &at, step).await? else { return Ok(false) };
    Ok(with(context, (&at, step, &key), |outputs| outputs.bring()).await?.is_some())
}

fn for_gate(context: &Context, tree: &GateTree<'_>, step: &SetupStep, token: Token) -> Result<Launch, RunError> {
    let mut launch = context.launch_in(tree.paths, &context.gate_lenders()?, (setup::argv(step), token))?;
    launch.env.extend(told(&context.run.id, "TREEHAND_GATE", tree.names));
    setup::give(&mut launch, step)?;
    Ok(launch)
}

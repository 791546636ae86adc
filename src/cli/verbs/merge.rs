//! `merge`: lands workspaces of a person's, and results of a run that wait for a person or did not land when they could have.
//!
//! Both go through the queue and the gates, by a supervisor. What lands is what was there when it was said: of a task what was
//! captured, of a workspace what is committed.

use super::run::left;
use super::{merge_offers, merge_preview, merge_results};
use crate::cli::error::CliError;
use crate::cli::merge_args::MergeArgs;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord};
use crate::model::{BranchName, CommitId, ReasonKind, RunId, TaskId, state};
use crate::orchestrator::queue::place::LEFT;
use crate::store::Store;
use crate::worktree::WorktreeError;

use serde_json::json;

/// What is named.
pub(super) enum Named {
    /// A workspace.
    Workspace(Box<WorkspaceRecord>),
    /// A branch that no workspace has, by its full name.
    Branch(String),
    /// A run, or one of its tasks.
    Result(Box<RunRecord>, Option<TaskId>),
}

/// Lands what is named.
pub fn run(session: &Session, args: &MergeArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let (mut offers, mut results) = (Vec::new(), Vec::new());
    for text in &args.targets {
        match named(session, &store, text)? {
            Named::Result(run, task) => results.push((run, task)),
            offer => offers.push((text.as_str(), offer)),
        }
    }
    match (offers.is_empty(), results.is_empty()) {
        (false, true) => {
            let plan = merge_offers::plan(session, &store, args, &offers)?;
            if args.dry_run { merge_preview::offers(session, &plan) } else { merge_offers::land(session, &store, plan) }
        }
        (true, false) => {
            let (run, tasks) = merge_results::one_run(results)?;
            if args.dry_run {
                merge_preview::results(session, &store, args, (&run, &tasks))
            } else {
                merge_results::land(session, &store, args, (run, tasks))
            }
        }
        _ => Err(CliError::usage("workspaces, or results of a run, at a time")),
    }
}

/// A workspace by its whole name, a run or a task, a workspace by a prefix, a branch: the first that there is.
fn named(session: &Session, store: &Store, text: &str) -> Result<Named, CliError> {
    if let Some(exact) = store.workspaces()?.into_iter().find(|record| record.name.as_str() == text) {
        return Ok(Named::Workspace(Box::new(exact)));
    }
    let target = match session.target(store, text) {
        Ok((run, task)) => return Ok(Named::Result(Box::new(run), task.map(|task| task.id))),
        Err(error) => error,
    };
    let workspace = match session.workspace(store, text) {
        Ok(record) => return Ok(Named::Workspace(Box::new(record))),
        Err(error) => error,
    };
    let reader = session.repo.reader();
    for name in [format!("refs/heads/{text}"), format!("refs/remotes/{text}")] {
        if reader.ref_commit(&name).map_err(WorktreeError::from)?.is_some() {
            return Ok(Named::Branch(name));
        }
    }
    // Of what could be several more is said than that there is none.
    let error = if target.code == 3 { workspace } else { target };
    Err(if error.code == 3 {
        CliError::not_found(format!("there is no workspace, run or branch `{}`", text.escape_debug()))
            .hint("list them: treehand ls, treehand ps")
    } else {
        error
    })
}

/// The tip of a branch.
pub(super) fn tip(session: &Session, branch: &BranchName) -> Result<Option<CommitId>, CliError> {
    Ok(session.repo.reader().ref_commit(&branch.full_ref()).map_err(WorktreeError::from)?)
}

/// Says of a branch here that it did not follow what has landed on a remote.
pub(super) fn warn_of_left(session: &Session, store: &Store, run: &RunId) -> Result<(), CliError> {
    for entry in store.entries_after(0, Some(run))?.iter().filter(|entry| entry.kind == LEFT) {
        if let (Some(pushed), Some(why)) = (entry.data["pushed"].as_str(), entry.data["why"].as_str()) {
            session.out.warn(left(pushed, why));
        }
    }
    Ok(())
}

/// How it came out with these tasks of a run; `before` is where the target was, `gates` how many had run by then.
pub(super) fn report(
    session: &Session,
    store: &Store,
    (of, before): (&RunRecord, Option<CommitId>),
    wanted: impl Fn(&TaskRecord) -> bool,
) -> Result<u8, CliError> {
    let (now, after) = (store.run(&of.id)?, tip(session, &of.into)?);
    warn_of_left(session, store, &of.id)?;
    let mut tasks = store.tasks(&of.id)?;
    tasks.retain(wanted);
    let landed = || tasks.iter().filter_map(|task| Some((task, task.landed.as_ref()?)));
    let rejected = || tasks.iter().filter(|task| task.landed.is_none());
    let document = json!({
        "run": of.id,
        "target": of.into,
        "before": before,
        "after": after,
        "strategy": now.strategy, "pushed": now.push.as_ref().map(ToString::to_string),
        "landed": landed().map(|(task, landed)| json!({"task": task.label(), "commit": landed.commit})).collect::<Vec<_>>(),
        "rejected": rejected().map(|task| json!({"task": task.label(), "reason": task.reason})).collect::<Vec<_>>(),
        "gates": now.gates.iter().skip(of.gates.len()).collect::<Vec<_>>(),
    });
    session.out.answer("treehand/merge/v1", document, || {
        let mut text = String::new();
        for (task, landed) in landed() {
            text.push_str(&format!("landed {} on {} as {}\n", plain(task.label()), of.into, landed.commit.short()));
        }
        for task in rejected() {
            let why = task.reason.as_ref().map_or(task.state.word(), |reason| reason.message.as_str());
            text.push_str(&format!("not landed {}: {}\n", plain(task.label()), plain(why)));
        }
        text
    })?;
    let reasons: Vec<ReasonKind> = rejected().filter_map(|task| Some(task.reason.as_ref()?.kind)).collect();
    Ok(state::run_exit_code(&reasons))
}

//! Apply: the branch that a run made for its results goes again when its first landing is taken back.
//!
//! Only when it is provably as the run made it: the reflog begins with its making and holds nothing but landings of this run
//! and undos of ours, no run, workspace or worktree has to do with it, and nobody configured it. Else it stays.

use crate::cleanup::error::Result;
use crate::cleanup::traces;
use crate::model::operation::{OperationRecord, UndoData};
use crate::model::{BranchName, CommitId, RunId};
use crate::store::Store;
use crate::worktree::import::update_ref;
use crate::worktree::{Repository, WorktreeError, checkouts};

/// What the reflog says when a branch was made by us, and when a redo made it again.
const MADE: [&str; 2] = ["treehand: workspace created", "treehand: redo operation "];

/// Deletes the branch of a landing that was taken back, if it was made for that; true when it is gone.
pub fn drop_if_made(repo: &Repository, store: &Store, operation: &OperationRecord) -> Result<bool> {
    let UndoData::Landing { into, before, run: Some(run), .. } = &operation.undo else { return Ok(false) };
    let known = store.runs()?.into_iter().find(|known| known.id == *run);
    if known.is_none_or(|run| run.before != *before) || is_used(repo, store, into)? {
        return Ok(false);
    }
    if !only_ours(repo, into, before, run)? {
        return Ok(false);
    }
    match update_ref(repo, &into.full_ref(), None, Some(before), "treehand: it was made for what was undone") {
        Ok(()) => Ok(true),
        Err(WorktreeError::Busy { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_used(repo: &Repository, store: &Store, branch: &BranchName) -> Result<bool> {
    let checked_out = checkouts::scan(repo)?.into_iter().any(|checkout| {
        let held = checkout.held.iter().any(|(held, _)| held == branch.as_str());
        checkout.branch.as_deref() == Some(branch.as_str()) || held
    });
    let awaited = store.runs()?.iter().any(|run| run.into == *branch && run.ended_at.is_none());
    let reader = repo.reader();
    let configured = ["remote", "merge"].map(|key| reader.config(&format!("branch.{branch}.{key}")));
    for value in configured {
        if value?.is_some() {
            return Ok(true);
        }
    }
    if traces::is_configured(repo, branch.as_str())? {
        return Ok(true);
    }
    // Of a workspace that is, or of one that was: then it was not the run that made the branch.
    let made = |entry: &crate::store::Entry| {
        entry.kind == "workspace.create" && entry.data["branch"].as_str() == Some(branch.as_str())
    };
    Ok(checked_out || awaited || store.entries_after(0, None)?.iter().any(made))
}

/// True when the reflog tells of the making and of this run's landings, taken back, and of nothing else.
fn only_ours(repo: &Repository, branch: &BranchName, before: &CommitId, run: &RunId) -> Result<bool> {
    let args = ["log", "-g", "-z", "--format=%H %gs", &branch.full_ref(), "--"];
    let log = repo.bare(args).output()?;
    let entries: Vec<String> = log.records().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect();
    let mut entries: Vec<(&str, &str)> = entries.iter().filter_map(|entry| entry.split_once(' ')).collect();
    let Some((first, made)) = entries.pop() else { return Ok(false) };
    let landed = format!("treehand: land {run}/");
    let ours = [landed.as_str(), "treehand: undo operation ", "treehand: redo operation "];
    let begun = made == MADE[0] && first == before.as_str() || made.starts_with(MADE[1]);
    Ok(log.status.success()
        && begun
        && entries.iter().all(|(_, what)| ours.iter().any(|prefix| what.starts_with(prefix))))
}

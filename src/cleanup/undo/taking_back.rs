//! Apply: takes back an operation, wholly or not at all.
//!
//! Everything is checked before anything moves. A landing or an update goes back by the same move that made it, worktrees
//! included; a removal by putting back directories, refs and records. Repeating it after a crash completes it.

use serde::Serialize;
use serde_json::json;

use super::decide::{self, Verdict};
use super::shift::{LOCK_WAIT, Shifted, require_commit, sealed_update, shift, shift_sealed};
use super::{dropped, made_branch, recover, refs_back, remote_back, restore, upon};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::held;
use crate::model::cause::chain;
use crate::model::operation::{DroppedEntry, OperationRecord, PutBack, RemovedItem, UndoData};
use crate::model::{BranchName, CommitId, QueueEntry, Reason, RunId, TaskId};
use crate::store::{EntryDraft, Store, StoreError};
use crate::sys::lock::FileLock;
use crate::sys::proc;
use crate::worktree::Repository;
use crate::worktree::remote_refs::tracking;

/// An operation that was taken back.
#[derive(Clone, Debug, Serialize)]
pub struct Undone {
    /// Its number.
    pub op: i64,
    /// What it was.
    pub kind: String,
    /// What it did.
    pub summary: String,
    /// What is back: branches, directories, refs, workspaces.
    pub restored: Vec<String>,
    /// Branches that are gone again, for they were made for what was taken back.
    pub removed: Vec<String>,
    /// Runs that have to attend to results which are in a queue again.
    #[serde(skip)]
    pub queued: Vec<Requeued>,
}

/// Results of a run that are in a queue again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requeued {
    /// The run.
    pub run: RunId,
    /// Its tasks.
    pub tasks: Vec<TaskId>,
    /// The run was over, and has begun again.
    pub was_over: bool,
}

/// Takes back the named operation, or the last one that was not taken back. One whose undo died half-way is meant first.
pub fn undo(repo: &Repository, store: &Store, op: Option<i64>) -> Result<Undone> {
    let _one_at_a_time = alone(repo)?;
    let recovery = recover::recover(repo, store)?;
    if let Some(done) = recovery.undone.into_iter().find(|done| op.is_none_or(|op| op == *done)) {
        return Ok(Undone::of(store.operation(done)?));
    }
    if let (None, Some(blocked)) = (op, recovery.recovered.blocked.first()) {
        return Err(CleanupError::refused(format!("an interrupted {blocked}"), "look at it, then try again"));
    }
    let operation = &require(store, op)?;
    let (mut again, mut queued) = (Vec::new(), Vec::new());
    match (&operation.undo, operation.undo.moved()) {
        (UndoData::Removal { items }, _) => {
            again = refs_back::gone(repo, items)?;
            undo_removal(repo, store, operation, items)?;
        }
        (UndoData::Dropped { entries, reason }, _) => {
            queued = undo_drop(repo, store, operation.op, (entries, reason))?;
        }
        (_, Some((branch, before, after))) => undo_move(repo, store, operation, branch, before, after)?,
        (_, None) => store.mark_undone(operation.op, PutBack::default(), None)?,
    }
    let mut undone = Undone::of(store.operation(operation.op)?);
    undone.restored.extend(again);
    undone.queued = queued;
    Ok(undone)
}

/// Held by whoever takes back or makes again, for as long as that takes.
pub(super) fn alone(repo: &Repository) -> Result<FileLock> {
    let path = repo.lock("undo");
    let holder = format!("another undo or redo, pid {}", std::process::id());
    Ok(FileLock::acquire_within(&path, &holder, LOCK_WAIT)?)
}

/// The operation that is meant, which was not taken back yet.
pub(super) fn require(store: &Store, op: Option<i64>) -> Result<OperationRecord> {
    let operations = store.operations()?;
    let Some(operation) = decide::pick(&operations, op) else {
        return Err(match op {
            Some(op) => StoreError::NotFound { kind: "operation", id: op.to_string() }.into(),
            None => CleanupError::NothingToUndo,
        });
    };
    let op = operation.op;
    let Some(by) = operation.undone.then(|| operation.taken_back.as_ref().and_then(|how| how.by)) else {
        return match store.being_reverted(op)? {
            None => Ok(operation.clone()),
            Some(run) => Err(CleanupError::refused(
                format!("operation {op} is being undone already, by run {run}"),
                format!("wait for that: treehand wait {run}; or have it stop: treehand cancel {run}"),
            )),
        };
    };
    Err(match by {
        None => CleanupError::refused(format!("operation {op} was undone already"), "see what there is: treehand log"),
        Some(by) => CleanupError::refused(
            format!("operation {op} was undone already, by operation {by}"),
            format!("take that back: treehand undo {by}"),
        ),
    })
}

impl Undone {
    fn of(operation: OperationRecord) -> Undone {
        let gone = operation.taken_back.as_ref().is_some_and(|how| how.put_back.branch_gone);
        let OperationRecord { op, kind, summary, undo, .. } = operation;
        let (mut restored, mut removed) = (Vec::new(), Vec::new());
        match (&undo, undo.moved()) {
            (UndoData::Removal { items }, _) => {
                let stayed = |item: &&RemovedItem| matches!(item, RemovedItem::Ref { fate, .. } if !fate.is_deleted());
                restored.extend(items.iter().filter(|item| !stayed(item)).map(describe));
            }
            (_, Some((branch, ..))) if gone => removed.push(branch.to_string()),
            (_, Some((branch, before, _))) => restored.push(format!("{branch} at {}", before.short())),
            (UndoData::Dropped { entries, .. }, _) => {
                restored.extend(
                    entries.iter().map(|one| format!("{} in the queue of {}", one.entry.name(), one.entry.target)),
                );
            }
            (_, None) => {}
        }
        Undone { op, kind, summary, restored, removed, queued: Vec::new() }
    }
}

/// Takes back what moved a branch: a landing, or an update of a workspace.
fn undo_move(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    into: &BranchName,
    before: &CommitId,
    after: &CommitId,
) -> Result<()> {
    let op = operation.op;
    let tip = repo.reader().ref_commit(&into.full_ref())?;
    let on_top = tip.as_ref().map(|tip| upon::on_top(repo, after, tip, None)).transpose()?.unwrap_or_default();
    match decide::judge(into.as_str(), tip.as_ref(), before, after, &on_top) {
        Verdict::Refuse(why) => {
            let hint = if on_top.is_empty() {
                "undo what came after it first".to_owned()
            } else {
                format!("undo what came after it first, or revert it: treehand undo {op} --revert")
            };
            return Err(CleanupError::refused(format!("operation {op} is not undone: {why}"), hint));
        }
        Verdict::Already => return Ok(store.mark_undone(op, PutBack::default(), None)?),
        Verdict::Move => require_commit(repo, into, before)?,
    }
    if matches!(operation.undo, UndoData::Landing { .. })
        && let Some(why) = upon::upon(repo, store, after)?.refusal(into.as_str(), after)
    {
        let hint = format!("take it back by a commit, which others can have too: treehand undo {op} --revert");
        return Err(CleanupError::refused(format!("operation {op} is not undone: {why}"), hint));
    }
    let intent = store.intend(&EntryDraft::new("undo", json!({"op": op, "owner": proc::own()})))?;
    let message = format!("treehand: undo operation {op}");
    let moved = match sealed_update(operation) {
        Some((update, first, last)) => shift_sealed(repo, store, update, (&last, &first), &message),
        None => shift(repo, into, after, before, &message),
    };
    match moved {
        Ok(Shifted::Whole) => {
            let branch_gone = made_branch::drop_if_made(repo, store, operation)?;
            Ok(store.mark_undone(op, PutBack { branch_gone, ..PutBack::default() }, Some(&intent))?)
        }
        Ok(Shifted::Behind(error)) => Err(error),
        Err(error) => {
            store.failed(intent, json!({"why": chain(&error)}))?;
            Err(error)
        }
    }
}

fn undo_removal(repo: &Repository, store: &Store, operation: &OperationRecord, items: &[RemovedItem]) -> Result<()> {
    let obstacles = restore::obstacles(repo, store, items, false)?;
    if !obstacles.is_empty() {
        let message = format!("operation {} is not undone: {}", operation.op, obstacles.join("; "));
        let hint = if refs_back::obstacles(repo, items)?.is_empty() {
            "move away what is in the way; trash stays for clean.retention"
        } else {
            "undo what came after it, let go of the branch where it is in use, or go on from it: treehand new NAME --base BRANCH"
        };
        return Err(CleanupError::refused(message, hint));
    }
    let gone = held::gone(repo, items)?;
    if !gone.is_empty() {
        let message = format!("operation {} is not undone: {}", operation.op, gone.join("; "));
        let trash = items.iter().find_map(|item| match item {
            RemovedItem::Directory { trash, .. } => trash.parent(),
            _ => None,
        });
        let files = trash.map(|trash| format!("; its files are in {}", trash.display())).unwrap_or_default();
        return Err(CleanupError::refused(message, format!("see what was saved: treehand salvage ls{files}")));
    }
    // Before anything is said to have begun: a remote that refuses leaves everything as it is.
    remote_back::put_back(repo, items)?;
    let intent = store.intend(&EntryDraft::new("undo", json!({"op": operation.op, "owner": proc::own()})))?;
    let renamed = restore::put_back(repo, store, items)?;
    Ok(store.mark_undone(operation.op, restore::look(repo, items, &renamed)?, Some(&intent))?)
}

/// Puts what was dropped back into its queue, all of it or nothing.
fn undo_drop(
    repo: &Repository,
    store: &Store,
    op: i64,
    (entries, reason): (&[DroppedEntry], &Reason),
) -> Result<Vec<Requeued>> {
    let refused = |why: String| {
        CleanupError::refused(format!("operation {op} is not undone: {why}"), "hand in what is there: treehand merge")
    };
    let mut queued: Vec<Requeued> = Vec::new();
    for DroppedEntry { entry: QueueEntry { run, task, commit, .. }, .. } in entries {
        let (record, of) = match (store.task(run, task), store.run(run)) {
            (Ok(record), Ok(of)) => (record, of),
            (Err(StoreError::NotFound { .. }), _) | (_, Err(StoreError::NotFound { .. })) => {
                return Err(refused(format!("{run}/{task} is not on record any more")));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        let tip = repo.reader().ref_commit(&record.branch.full_ref())?;
        // Of one that landed, or was done again, the branch says nothing.
        if record.landed.is_none()
            && record.commit.as_ref() == Some(commit)
            && let Some(why) = dropped::hinders_branch(&record.branch, tip.as_ref(), commit)
        {
            return Err(refused(why));
        }
        match queued.iter_mut().find(|known| known.run == *run) {
            Some(known) => known.tasks.push(task.clone()),
            None => {
                let (run, tasks, was_over) = (run.clone(), vec![task.clone()], of.state.is_terminal());
                queued.push(Requeued { run, tasks, was_over });
            }
        }
    }
    store.put_back_in_queue(op, entries, |one, known| dropped::hinders_back(one, reason, known))?.map_err(refused)?;
    Ok(queued)
}

pub(super) fn describe(item: &RemovedItem) -> String {
    match item {
        RemovedItem::Directory { from, .. } => from.display().to_string(),
        RemovedItem::Ref { name, .. } => name.clone(),
        RemovedItem::RemoteBranch { remote, branch, .. } => tracking(remote, branch),
        RemovedItem::Workspace { record } => format!("workspace {}", record.name),
        RemovedItem::TaskWorkspace { run, task, .. } => format!("workspace of {run}/{task}"),
    }
}

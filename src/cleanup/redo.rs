//! Apply: does again what the last `undo` took back, wholly or not at all.
//!
//! A branch goes forward only from exactly where the undo left it. A workspace is removed again as `rm -f` would: whatever is
//! in it by now is saved first. Repeating it after a crash completes it.

use serde_json::json;

use super::branch_move::{LOCK_WAIT, move_branch};
use super::error::{CleanupError, Result};
use super::recover::{self, REDO};
use super::remove::{self, RemoveOptions};
use super::undo::Undone;
use super::undo_plan::{self, Redo};
use crate::model::record::{OperationRecord, RemovedItem, UndoData, WorkspaceRecord};
use crate::model::{BranchName, CommitId};
use crate::store::{EntryDraft, Store, StoreError};
use crate::sys::proc;
use crate::worktree::Repository;
use crate::worktree::advance::Advance;

/// Does the last operation again that was taken back.
pub fn redo(repo: &Repository, store: &Store, template: &str) -> Result<Undone> {
    recover::recover(repo, store)?;
    let operation = match undo_plan::pick_redo(&store.operations()?) {
        Redo::Operation(op) => store.operation(op)?,
        Redo::Nothing => return Err(StoreError::NotFound { kind: "operation", id: "that was undone".into() }.into()),
        Redo::Overtaken(newer) => {
            let message = format!("operation {newer} came after the undo, so what was undone is not done again");
            return Err(CleanupError::refused(message, "see what there is: treehand log"));
        }
    };
    match (&operation.undo, operation.undo.moved()) {
        (UndoData::Removal { items }, _) => remove_again(repo, store, &operation, items, template)?,
        (_, Some((branch, before, after))) => move_forward(repo, store, &operation, branch, before, after)?,
        (_, None) => store.mark_redone(operation.op)?,
    }
    let OperationRecord { op, kind, summary, .. } = operation;
    Ok(Undone { op, kind, summary, restored: Vec::new() })
}

fn move_forward(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    branch: &BranchName,
    before: &CommitId,
    after: &CommitId,
) -> Result<()> {
    let tip = repo.reader().ref_commit(&branch.full_ref())?;
    if tip.as_ref() == Some(after) {
        return Ok(store.mark_redone(operation.op)?);
    }
    if tip.as_ref() != Some(before) {
        let now = tip.map_or("gone".to_owned(), |tip| format!("at {}", tip.short()));
        let message = format!("`{branch}` is {now}, no longer at {} where the undo left it", before.short());
        return Err(CleanupError::Refused { message, hint: None });
    }
    if !repo.reader().has_commit(after)? {
        let message = format!("the commit {} that `{branch}` was at is gone", after.short());
        return Err(CleanupError::Refused { message, hint: None });
    }
    let intent = EntryDraft::new(REDO, json!({"op": operation.op, "owner": proc::own()}));
    let message = format!("treehand: redo operation {}", operation.op);
    let request = Advance { branch, from: before, to: after, message: &message, lock_wait: LOCK_WAIT };
    move_branch(repo, store, &intent, &request, || {
        store.mark_redone(operation.op)?;
        Ok(json!({"at": after}))
    })
}

/// Removes the workspaces of a removal again. Its other items (branches of runs, boxes of tasks) are `clean`'s to plan.
fn remove_again(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    items: &[RemovedItem],
    template: &str,
) -> Result<()> {
    let workspaces = items.iter().filter_map(|item| match item {
        RemovedItem::Workspace { record } => Some(record.as_ref()),
        _ => None,
    });
    let [record] = &workspaces.collect::<Vec<&WorkspaceRecord>>()[..] else {
        let message = format!("operation {} removed more than one workspace", operation.op);
        return Err(CleanupError::refused(message, "plan it anew: treehand clean"));
    };
    let Some(now) = store.workspace(&record.name)? else {
        return Err(StoreError::NotFound { kind: "workspace", id: record.name.to_string() }.into());
    };
    let branch = now.branch.full_ref();
    let deleted = items.iter().find_map(|item| match item {
        RemovedItem::Ref { name, commit } if *name == branch => Some(commit),
        _ => None,
    });
    let tip = repo.reader().ref_commit(&branch)?;
    if deleted.is_some() && deleted != tip.as_ref() {
        let message = format!("the branch `{}` has moved since the undo", now.branch);
        return Err(CleanupError::refused(message, format!("remove it anew: treehand rm {}", now.name)));
    }
    let options = RemoveOptions { force_dirty: true, delete_unmerged: deleted.is_some() };
    let plan = remove::plan(repo, store, &now, &options)?;
    let removed = remove::apply(repo, store, plan, template)?;
    match removed.op {
        Some(later) => Ok(store.adopt_operation(operation.op, later)?),
        None => Ok(store.mark_redone(operation.op)?),
    }
}

//! Apply: takes back a landing, or an update, on top of what was built on it: by a new commit that undoes its changes.
//!
//! Made in memory: the three-way merge of what the branch was before, against what it is now, from what the operation made
//! of it; so it is the same for every strategy. Then the branch moves as in a landing. The revert is an operation of its own.

use serde_json::json;

use super::branch_move::{LOCK_WAIT, move_branch};
use super::error::{CleanupError, Result};
use super::recover::{self, REVERT, record_revert};
use super::undo::Undone;
use super::undo_plan;
use crate::model::record::{OperationRecord, UndoData};
use crate::model::{BranchName, CommitId};
use crate::store::{EntryDraft, Store, StoreError};
use crate::sys::proc;
use crate::worktree::advance::Advance;
use crate::worktree::merge::{self, Merged, Signature, merge_trees};
use crate::worktree::quarantine::Quarantine;
use crate::worktree::replay::tree_of;
use crate::worktree::{Repository, WorktreeError};

/// Reverts the named operation, or the last that was not taken back.
pub fn revert(repo: &Repository, store: &Store, op: Option<i64>) -> Result<Undone> {
    recover::recover(repo, store)?;
    let operations = store.operations()?;
    let Some(operation) = undo_plan::pick(&operations, op) else {
        return Err(match op {
            Some(op) => StoreError::NotFound { kind: "operation", id: op.to_string() }.into(),
            None => CleanupError::NothingToUndo,
        });
    };
    let Some((branch, before, after)) = operation.undo.moved().filter(|_| !operation.undone) else {
        let message = format!("operation {} is nothing that a commit could revert", operation.op);
        return Err(CleanupError::refused(message, format!("take it back: treehand undo {}", operation.op)));
    };
    let reader = repo.reader();
    let Some(tip) = reader.ref_commit(&branch.full_ref())? else {
        return Err(WorktreeError::NotFound { kind: "branch", name: branch.to_string() }.into());
    };
    if !reader.has_commit(after)? || !reader.is_ancestor(after, &tip)? {
        let message = format!("`{branch}` does not have {}, which operation {} made", after.short(), operation.op);
        return Err(CleanupError::Refused { message, hint: None });
    }
    let quarantine = Quarantine::create(repo, &tip)?;
    let made = commit(&quarantine, operation, branch, before, after, &tip);
    let outcome = made.and_then(|commit| land(repo, store, &quarantine, operation, branch, &tip, &commit));
    quarantine.discard()?;
    outcome
}

fn commit(
    quarantine: &Quarantine,
    operation: &OperationRecord,
    branch: &BranchName,
    before: &CommitId,
    after: &CommitId,
    tip: &CommitId,
) -> Result<CommitId> {
    let tree = match merge_trees(quarantine, Some(after), tip, before)? {
        Merged::Clean(tree) => tree,
        Merged::Conflict(paths) => {
            let message = format!(
                "operation {} cannot be reverted: what came after it on `{branch}` changed the same: {}",
                operation.op,
                paths.join(", ")
            );
            return Err(WorktreeError::Conflict { message, paths }.into());
        }
    };
    if tree == tree_of(quarantine, tip)? {
        let message = format!("nothing of operation {} is left on `{branch}`", operation.op);
        return Err(CleanupError::Refused { message, hint: None });
    }
    let subject = quarantine.command(["show", "-s", "--format=%s", after.as_str(), "--"]).text()?;
    let message = words(operation, &subject, before, after);
    Ok(merge::commit_tree(quarantine, &tree, &[tip], &message, &Signature::default())?)
}

fn words(operation: &OperationRecord, subject: &str, before: &CommitId, after: &CommitId) -> String {
    let mut text = format!("Revert \"{subject}\"\n\nThis takes back {before}..{after}: {}.\n", operation.summary);
    if let UndoData::Landing { run: Some(run), task: Some(task), .. } = &operation.undo {
        text.push_str(&format!("\nTreehand-Reverts: {run}/{task}\n"));
    }
    text
}

fn land(
    repo: &Repository,
    store: &Store,
    quarantine: &Quarantine,
    operation: &OperationRecord,
    branch: &BranchName,
    tip: &CommitId,
    commit: &CommitId,
) -> Result<Undone> {
    let kept = quarantine.migrate(std::slice::from_ref(commit), std::slice::from_ref(tip))?;
    let summary = format!("reverted operation {} on {branch}: {}", operation.op, operation.summary);
    let data = json!({"into": branch, "before": tip, "after": commit, "summary": summary, "owner": proc::own()});
    let intent = EntryDraft::new(REVERT, data.clone());
    let message = format!("treehand: revert operation {}", operation.op);
    let request = Advance { branch, from: tip, to: commit, message: &message, lock_wait: LOCK_WAIT };
    let moved = move_branch(repo, store, &intent, &request, || Ok(json!({"op": record_revert(store, &data)?})));
    kept.release()?;
    moved?;
    let restored = vec![format!("{branch} at {}", commit.short())];
    Ok(Undone { op: operation.op, kind: operation.kind.clone(), summary, restored })
}

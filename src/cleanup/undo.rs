//! Apply: takes an operation back, after everything that could stand in the way was looked at.
//!
//! A landing goes back by compare-and-swap, checked-out trees with it; a removal comes back from the trash and the
//! record. What others built on is refused, with their names.

use std::time::Duration;

use serde_json::json;

use super::error::{CleanupError, Result};
use crate::model::record::{OperationRecord, RemovedItem, UndoData};
use crate::model::{BranchName, CommitId};
use crate::store::{EntryDraft, Store};
use crate::sys::fs;
use crate::worktree::Repository;
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::import::update_ref;

/// How long a lock of git's is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The operation.
    pub op: i64,
    /// Its kind.
    pub kind: String,
    /// Its line.
    pub summary: String,
}

/// Takes back the last operation that is not undone, or the named one.
pub fn undo(repo: &Repository, store: &Store, op: Option<i64>) -> Result<Undone> {
    let operation = match op {
        Some(op) => store.operation(op)?,
        None => {
            store.operations()?.into_iter().find(|operation| !operation.undone).ok_or(CleanupError::NothingToUndo)?
        }
    };
    if operation.undone {
        return Err(CleanupError::refused(
            format!("operation {} is undone already", operation.op),
            "see `treehand log`",
        ));
    }
    let draft = EntryDraft::new("undo", json!({"op": operation.op, "kind": operation.kind}));
    let intent = store.intend(&draft)?;
    match apply(repo, store, &operation) {
        Ok(()) => {
            store.mark_undone(operation.op)?;
            store.done(intent, json!({}))?;
            Ok(Undone { op: operation.op, kind: operation.kind, summary: operation.summary })
        }
        Err(error) => {
            store.failed(intent, json!({"why": error.to_string()}))?;
            Err(error)
        }
    }
}

fn apply(repo: &Repository, store: &Store, operation: &OperationRecord) -> Result<()> {
    match &operation.undo {
        UndoData::Landing { into, before, after, .. } => unland(repo, into, before, after),
        UndoData::Removal { items } => restore(repo, store, items),
    }
}

fn unland(repo: &Repository, into: &BranchName, before: &CommitId, after: &CommitId) -> Result<()> {
    let tip = repo.reader().ref_commit(&into.full_ref())?;
    if tip.as_ref() == Some(before) {
        return Ok(());
    }
    if tip.as_ref() != Some(after) {
        return Err(built_upon(repo, into, after, tip.as_ref())?);
    }
    let message = "treehand: undo a landing";
    let moved = advance(repo, &Advance { branch: into, from: after, to: before, message, lock_wait: LOCK_WAIT })?;
    match moved {
        Advanced::Done => Ok(()),
        Advanced::Raced => Err(CleanupError::refused(format!("`{into}` moved just now"), "try again")),
        Advanced::InTheWay { message, paths } => {
            let message = if paths.is_empty() { message } else { format!("{message}: {}", paths.join(", ")) };
            Err(CleanupError::refused(message, "commit or stash them first"))
        }
        Advanced::Busy { lock } => {
            let message = format!("{} is held by another git process", lock.display());
            Err(CleanupError::refused(message, "try again when it is done"))
        }
    }
}

/// Says who built on a landing.
fn built_upon(repo: &Repository, into: &BranchName, after: &CommitId, tip: Option<&CommitId>) -> Result<CleanupError> {
    let Some(tip) = tip else {
        return Ok(CleanupError::refused(format!("the branch `{into}` is gone"), "nothing is left to take back"));
    };
    if !repo.reader().is_ancestor(after, tip)? {
        let message = format!("`{into}` does not have that landing any more");
        return Ok(CleanupError::refused(message, "see `git reflog` of the branch"));
    }
    let above = repo.reader().commits_between(after, tip, 10)?;
    let names: Vec<String> =
        above.iter().map(|(id, subject)| format!("{} {}", id.short(), subject.escape_debug())).collect();
    let message = format!("others built on it: {}", names.join("; "));
    Ok(CleanupError::refused(message, "take those back first, or use `git revert`"))
}

fn restore(repo: &Repository, store: &Store, items: &[RemovedItem]) -> Result<()> {
    for item in items {
        check(repo, store, item)?;
    }
    for item in items.iter().rev() {
        match item {
            RemovedItem::Directory { from, trash } => {
                if let Some(parent) = from.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::move_path(trash, from)?;
            }
            RemovedItem::Ref { name, commit } => {
                update_ref(repo, name, Some(commit), None, "treehand: undo a removal")?
            }
            RemovedItem::Workspace { record } => store.put_workspace("workspace.restored", record)?,
        }
    }
    Ok(())
}

/// Everything is looked at before anything is touched.
fn check(repo: &Repository, store: &Store, item: &RemovedItem) -> Result<()> {
    match item {
        RemovedItem::Directory { from, trash } => {
            if fs::exists(from)? {
                return Err(CleanupError::refused(format!("{} is there again", from.display()), "move it away first"));
            }
            if !fs::exists(trash)? {
                let message = format!("{} is gone from the trash", from.display());
                return Err(CleanupError::refused(message, "its retention has ended; see refs/treehand/salvage"));
            }
        }
        RemovedItem::Ref { name, commit } => {
            if repo.reader().ref_commit(name)?.is_some() {
                return Err(CleanupError::refused(format!("{name} is there again"), "rename that branch first"));
            }
            if !repo.reader().has_commit(commit)? {
                return Err(CleanupError::refused(format!("commit {commit} is gone"), "see refs/treehand/salvage"));
            }
        }
        RemovedItem::Workspace { record } => {
            if store.workspace(&record.name)?.is_some() {
                let message = format!("there is a workspace `{}` again", record.name);
                return Err(CleanupError::refused(message, format!("remove it first: treehand rm {}", record.name)));
            }
        }
    }
    Ok(())
}

//! Apply: takes back what moved a branch by a new commit on it, for what others have built upon or have already.
//!
//! Merged in memory and written through a quarantine. On a branch here it moves that as a landing does, so that checkouts come
//! along and local changes are never touched; what has landed on a branch of a remote is made on top of what that has now, and
//! handed in to the queue by the caller. A conflict leaves every tree and ref as it was. It is an operation itself.

use serde::Serialize;
use serde_json::json;

use super::recover::{self, REVERT};
use super::revert_message::{self, Original};
use super::shift::{Shifted, forward, require_commit, sealed_update};
use super::taking_back::{alone, require};
use crate::cleanup::error::{CleanupError, Result};
use crate::model::cause::chain;
use crate::model::operation::{OperationRecord, UndoData};
use crate::model::{BranchName, CommitId, PushTarget};
use crate::store::{EntryDraft, Store, StoreError};
use crate::sys::lock::FileLock;
use crate::sys::proc;
use crate::worktree::merge::{Merged, Signature, commit_tree, merge_trees};
use crate::worktree::quarantine::{Kept, Quarantine};
use crate::worktree::sealed::Identity;
use crate::worktree::{Repository, WorktreeError, remote_landing};

/// Most commits of the operation that are looked up for the message.
const COMMITS_MAX: usize = 1000;

/// An operation that a commit took back.
#[derive(Clone, Debug, Serialize)]
pub struct Reverted {
    /// What was taken back.
    #[serde(skip)]
    pub original: OperationRecord,
    /// The number of the revert, which is an operation too.
    pub op: i64,
    /// The branch.
    pub branch: BranchName,
    /// The new commit on it.
    pub commit: CommitId,
}

/// How far taking back came.
#[derive(Debug)]
pub enum Begun {
    /// It is done.
    Whole(Reverted),
    /// The commit is made, and has to land.
    ToLand(ToLand),
}

/// A commit that takes back what has landed on a branch of a remote. No other undo begins before it is let go.
#[derive(Debug)]
#[must_use = "release it when a ref holds the commit, or none will"]
pub struct ToLand {
    /// What is taken back.
    pub original: OperationRecord,
    /// The branch here.
    pub into: BranchName,
    /// Its tip.
    pub here: CommitId,
    /// The branch of the remote.
    pub target: PushTarget,
    /// Its tip, on top of which the commit is.
    pub base: CommitId,
    /// The commit.
    pub commit: CommitId,
    kept: Kept,
    one_at_a_time: FileLock,
}

impl ToLand {
    /// Lets the commit, and the next undo, go.
    pub fn release(self) -> Result<()> {
        self.kept.release()?;
        drop(self.one_at_a_time);
        Ok(())
    }
}

/// Takes back the named operation, or the last one that was not taken back, by a commit.
pub fn revert(repo: &Repository, store: &Store, op: Option<i64>) -> Result<Begun> {
    let one_at_a_time = alone(repo)?;
    let recovery = recover::recover(repo, store)?;
    if let Some((_, by)) = recovery.reverted.into_iter().find(|(done, _)| op.is_none_or(|op| op == *done)) {
        return reverted(store, by).map(Begun::Whole);
    }
    let operation = require(store, op)?;
    let Some((branch, before, after)) = operation.undo.moved() else {
        let message =
            format!("operation {} ({}) moved no branch that a commit could be put on", operation.op, operation.summary);
        return Err(CleanupError::refused(message, format!("bring back what it took: treehand undo {}", operation.op)));
    };
    Identity::of_user(repo)?;
    if let Some((target, base)) = there(repo, store, &operation, after)? {
        let here = repo.reader().ref_commit(&branch.full_ref())?;
        let here = here.ok_or_else(|| not_reverted(&operation, &format!("the branch `{branch}` is gone")))?;
        require_commit(repo, branch, before)?;
        let (commit, kept) = aside(repo, &base, |quarantine| {
            let commit = make(repo, store, quarantine, &operation, branch, &base)?;
            let kept = quarantine.migrate(std::slice::from_ref(&commit), std::slice::from_ref(&base))?;
            Ok((commit, kept))
        })?;
        let (original, into) = (operation.clone(), branch.clone());
        return Ok(Begun::ToLand(ToLand { original, into, here, target, base, commit, kept, one_at_a_time }));
    }
    let tip = tip(repo, &operation, branch, after)?;
    require_commit(repo, branch, before)?;
    let op = aside(repo, &tip, |quarantine| {
        let commit = make(repo, store, quarantine, &operation, branch, &tip)?;
        advance(repo, store, quarantine, &operation, branch, &tip, commit)
    })?;
    reverted(store, op).map(Begun::Whole)
}

/// Does something with a quarantine, which is gone afterwards whatever comes of it.
fn aside<T>(repo: &Repository, like: &CommitId, work: impl FnOnce(&Quarantine) -> Result<T>) -> Result<T> {
    let quarantine = Quarantine::create(repo, like)?;
    let done = work(&quarantine);
    let discarded = quarantine.discard();
    let done = done?;
    discarded?;
    Ok(done)
}

/// The branch of a remote that an operation landed on, and its tip, where that has the operation in its history: the remote is
/// asked, for nothing here knows what it has now.
fn there(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    after: &CommitId,
) -> Result<Option<(PushTarget, CommitId)>> {
    let UndoData::Landing { run: Some(run), .. } = &operation.undo else { return Ok(None) };
    let target = match store.run(run) {
        Ok(run) => run.push,
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(target) = target else { return Ok(None) };
    let tip = remote_landing::look(repo, &target, &[])?.tip;
    let reader = repo.reader();
    match tip {
        Some(tip) if reader.has_commit(after)? && reader.is_ancestor(after, &tip)? => Ok(Some((target, tip))),
        _ => Ok(None),
    }
}

fn not_reverted(operation: &OperationRecord, why: &str) -> CleanupError {
    CleanupError::refused(format!("operation {} is not reverted: {why}", operation.op), "look at the branch: git log")
}

fn reverted(store: &Store, op: i64) -> Result<Reverted> {
    let record = store.operation(op)?;
    let missing = || StoreError::NotFound { kind: "operation", id: op.to_string() };
    let original = store.operation(record.reverts.ok_or_else(missing)?)?;
    let (branch, _, commit) = record.undo.moved().ok_or_else(missing)?;
    Ok(Reverted { original, op, branch: branch.clone(), commit: commit.clone() })
}

/// The tip of the branch, which must have the operation in its history.
fn tip(repo: &Repository, operation: &OperationRecord, branch: &BranchName, after: &CommitId) -> Result<CommitId> {
    let reader = repo.reader();
    let refused = |why: String| not_reverted(operation, &why);
    if sealed_update(operation).is_some() {
        return Err(refused("only the workspace's own processes commit in it; `treehand undo` takes it back".into()));
    }
    let Some(tip) = reader.ref_commit(&branch.full_ref())? else {
        return Err(refused(format!("the branch `{branch}` is gone")));
    };
    if reader.has_commit(after)? && reader.is_ancestor(after, &tip)? {
        return Ok(tip);
    }
    Err(refused(format!("`{branch}` is at {}, which is not on top of {}", tip.short(), after.short())))
}

/// The commit, in quarantine: the tip without what lies between the two ends of the operation.
fn make(
    repo: &Repository,
    store: &Store,
    quarantine: &Quarantine,
    operation: &OperationRecord,
    branch: &BranchName,
    tip: &CommitId,
) -> Result<CommitId> {
    let (before, after) = ends(repo, store, operation)?;
    let tree = match merge_trees(quarantine, Some(&after), tip, &before)? {
        Merged::Clean(tree) => tree,
        Merged::Conflict(paths) => {
            let message = format!("operation {} conflicts with what came after it: {}", operation.op, paths.join(", "));
            return Err(WorktreeError::Conflict { message, paths }.into());
        }
    };
    if tree == repo.reader().tree_of(tip)? {
        let message = format!("operation {} is not reverted: nothing of it is left on `{branch}`", operation.op);
        return Err(CleanupError::Refused { message, hint: None });
    }
    let commits = repo.reader().commits_between(&before, &after, COMMITS_MAX)?;
    let subject = commits.first().map(|(_, subject)| subject.as_str());
    let task = match &operation.undo {
        UndoData::Landing { run: Some(run), task: Some(task), .. } => Some(format!("{run}/{task}")),
        _ => None,
    };
    let original = Original {
        op: operation.op,
        summary: &operation.summary,
        // The newest commit of an update is the person's own, not the update.
        subject: subject.filter(|_| matches!(operation.undo, UndoData::Landing { .. })),
        commits: &commits,
        task: task.as_deref(),
    };
    let message = revert_message::message(&original);
    Ok(commit_tree(quarantine, &tree, &[tip], &message, &Signature::default())?)
}

/// What the operation itself lies between: a landing on a branch that was behind its base brought that up to the base too,
/// and others' commits are not the landing's to revert.
fn ends(repo: &Repository, store: &Store, operation: &OperationRecord) -> Result<(CommitId, CommitId)> {
    let missing = || StoreError::NotFound { kind: "operation", id: operation.op.to_string() };
    let (_, before, after) = operation.undo.moved().ok_or_else(missing)?;
    let base = match &operation.undo {
        UndoData::Landing { run: Some(run), .. } => match store.run(run) {
            Ok(run) => Some(run.base.commit),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        },
        _ => None,
    };
    let reader = repo.reader();
    let between = |base: &CommitId| -> Result<bool> {
        Ok(reader.has_commit(base)? && reader.is_ancestor(before, base)? && reader.is_ancestor(base, after)?)
    };
    Ok(match base {
        Some(base) if base != *after && between(&base)? => (base, after.clone()),
        _ => (before.clone(), after.clone()),
    })
}

/// Moves the branch to the commit and records it; the number of that operation is the answer.
fn advance(
    repo: &Repository,
    store: &Store,
    quarantine: &Quarantine,
    operation: &OperationRecord,
    branch: &BranchName,
    tip: &CommitId,
    commit: CommitId,
) -> Result<i64> {
    let op = operation.op;
    let kept = quarantine.migrate(std::slice::from_ref(&commit), std::slice::from_ref(tip))?;
    let summary = operation.taken_back_on(branch);
    let (into, before) = (branch.clone(), tip.clone());
    let undo = UndoData::Landing { into, before, after: commit.clone(), run: None, task: None };
    let data = json!({"op": op, "owner": proc::own(), "undo": undo, "summary": summary});
    let intent = store.intend(&EntryDraft::new(REVERT, data))?;
    let moved = forward(repo, branch, tip, &commit, &format!("treehand: revert operation {op}"));
    kept.release()?;
    match moved {
        Ok(Shifted::Whole) => Ok(store.record_revert(op, undo, &summary, Some(&intent))?),
        Ok(Shifted::Behind(error)) => Err(error),
        Err(error) => {
            store.failed(intent, json!({"why": chain(&error)}))?;
            Err(error)
        }
    }
}

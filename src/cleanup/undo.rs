//! Apply: takes back an operation, wholly or not at all.
//!
//! Everything is checked before anything moves. A landing or an update goes back by the same move that made it, worktrees
//! included; a removal by putting back directories, refs and records. Repeating it after a crash completes it.

use serde::Serialize;
use serde_json::json;

use super::batch::UNDO_PREFIX;
use super::branch_move::{LOCK_WAIT, move_branch};
use super::error::{CleanupError, Result};
use super::recover::{self, UNDO};
use super::undo_plan::{self, OnTop, Verdict};
use super::{restore, trash};
use crate::model::record::{OperationRecord, RemovedItem, UndoData};
use crate::model::{BranchName, CommitId};
use crate::store::{EntryDraft, Store, StoreError};
use crate::sys::proc;
use crate::worktree::Repository;
use crate::worktree::advance::Advance;
use crate::worktree::import::update_ref;

/// Most commits on top that a refusal names.
const ON_TOP_MAX: usize = 10;

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
}

/// Takes back the named operation, or the last one that was not taken back. One whose undo died half-way is meant first.
pub fn undo(repo: &Repository, store: &Store, op: Option<i64>) -> Result<Undone> {
    let recovery = recover::recover(repo, store)?;
    if let Some(done) = recovery.undone.into_iter().find(|done| op.is_none_or(|op| op == *done)) {
        return Ok(Undone::of(store.operation(done)?));
    }
    if let (None, Some(blocked)) = (op, recovery.recovered.blocked.first()) {
        return Err(CleanupError::refused(format!("an interrupted {blocked}"), "look at it, then try again"));
    }
    let operations = store.operations()?;
    let Some(operation) = undo_plan::pick(&operations, op) else {
        return Err(match op {
            Some(op) => StoreError::NotFound { kind: "operation", id: op.to_string() }.into(),
            None => CleanupError::NothingToUndo,
        });
    };
    if operation.undone {
        let message = format!("operation {} was undone already", operation.op);
        return Err(CleanupError::refused(message, "see what there is: treehand log"));
    }
    match (&operation.undo, operation.undo.moved()) {
        (UndoData::Removal { items }, _) => undo_removal(repo, store, operation, items)?,
        (_, Some((branch, before, after))) => undo_move(repo, store, operation, branch, before, after)?,
        (_, None) => store.mark_undone(operation.op)?,
    }
    Ok(Undone::of(operation.clone()))
}

impl Undone {
    fn of(operation: OperationRecord) -> Undone {
        let OperationRecord { op, kind, summary, undo, .. } = operation;
        let restored = match (&undo, undo.moved()) {
            (UndoData::Removal { items }, _) => items.iter().map(describe).collect(),
            (_, moved) => moved.iter().map(|(branch, before, _)| format!("{branch} at {}", before.short())).collect(),
        };
        Undone { op, kind, summary, restored }
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
    let tip = repo.reader().ref_commit(&into.full_ref())?;
    let on_top = tip.as_ref().map(|tip| on_top(repo, after, tip)).transpose()?.unwrap_or_default();
    match undo_plan::judge(into.as_str(), tip.as_ref(), before, after, &on_top) {
        Verdict::Refuse(why) => {
            let message = format!("operation {} is not undone: {why}", operation.op);
            return Err(CleanupError::refused(
                message,
                "undo what came after it first, or take it back by a commit: treehand undo --revert",
            ));
        }
        Verdict::AlreadyBack => {}
        Verdict::MoveBack => {
            if !repo.reader().has_commit(before)? {
                let message = format!("the commit {} that `{into}` was at is gone", before.short());
                return Err(CleanupError::Refused { message, hint: None });
            }
            return move_back(repo, store, operation.op, into, before, after);
        }
    }
    Ok(store.mark_undone(operation.op)?)
}

fn move_back(
    repo: &Repository,
    store: &Store,
    op: i64,
    branch: &BranchName,
    before: &CommitId,
    after: &CommitId,
) -> Result<()> {
    // What it was moved to stays within reach until the retention ends.
    let name = format!("{UNDO_PREFIX}{}/heads/{branch}", trash::stamp()?);
    update_ref(repo, &name, Some(after), None, "treehand: undone")?;
    let intent = EntryDraft::new(UNDO, json!({"op": op, "owner": proc::own()}));
    let message = format!("treehand: undo operation {op}");
    let request = Advance { branch, from: after, to: before, message: &message, lock_wait: LOCK_WAIT };
    let moved = move_branch(repo, store, &intent, &request, || {
        store.mark_undone(op)?;
        Ok(json!({"at": before}))
    });
    if moved.is_err() && repo.reader().ref_commit(&branch.full_ref())?.as_ref() == Some(after) {
        update_ref(repo, &name, None, Some(after), "treehand: not undone")?;
    }
    moved
}

/// The commits that `tip` has on top of `after`, newest first; none when it is not on top of it.
fn on_top(repo: &Repository, after: &CommitId, tip: &CommitId) -> Result<Vec<OnTop>> {
    let reader = repo.reader();
    if tip == after || !reader.has_commit(after)? || !reader.is_ancestor(after, tip)? {
        return Ok(Vec::new());
    }
    let format = "--format=%H%x1f%s%x1f%(trailers:key=Treehand-Task,valueonly,separator=%x2C)";
    let (count, range) = (format!("-{ON_TOP_MAX}"), format!("{after}..{tip}"));
    let output = repo.bare(["log", "-z", format, &count, &range, "--"]).run()?;
    let commit = |record: &[u8]| {
        let text = String::from_utf8_lossy(record).into_owned();
        let mut fields = text.split('\u{1f}').map(str::trim);
        let (id, subject, task) = (fields.next()?, fields.next()?, fields.next()?);
        let task = Some(task.to_owned()).filter(|task| !task.is_empty());
        Some(OnTop { commit: CommitId::parse(id).ok()?, subject: subject.to_owned(), task })
    };
    Ok(output.records().filter_map(commit).collect())
}

fn undo_removal(repo: &Repository, store: &Store, operation: &OperationRecord, items: &[RemovedItem]) -> Result<()> {
    let obstacles = restore::obstacles(repo, store, items, false)?;
    if !obstacles.is_empty() {
        let message = format!("operation {} is not undone: {}", operation.op, obstacles.join("; "));
        return Err(CleanupError::refused(message, "move away what is in the way; trash stays for clean.retention"));
    }
    let intent = store.intend(&EntryDraft::new(UNDO, json!({"op": operation.op, "owner": proc::own()})))?;
    restore::put_back(repo, store, items)?;
    store.mark_undone(operation.op)?;
    Ok(store.done(intent, json!({"items": items.len()}))?)
}

fn describe(item: &RemovedItem) -> String {
    match item {
        RemovedItem::Directory { from, .. } => from.display().to_string(),
        RemovedItem::Ref { name, .. } => name.clone(),
        RemovedItem::Workspace { record } => format!("workspace {}", record.name),
        RemovedItem::TaskWorkspace { run, task, .. } => format!("workspace of {run}/{task}"),
    }
}

//! Apply: makes again what the last undo took back, wholly or not at all.
//!
//! Everything is checked before anything moves: a branch goes forward only from where the undo left it, and what was put back
//! is removed again only if it is still what it was. What was saved before the removal is kept anew with it. Recovery
//! completes a redo whose process died.

use serde::Serialize;
use serde_json::json;

use super::decide::{self, Next, Verdict};
use super::redo_scan::{self, Again};
use super::removal_again::{KIND, Removal};
use super::shift::{Shifted, require_commit, sealed_update, shift, shift_sealed};
use super::taking_back::alone;
use super::{dropped, recover};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::{traces, trash};
use crate::model::cause::chain;
use crate::model::operation::{DroppedEntry, OperationRecord, RefFate, RemovedItem, UndoData};
use crate::model::{BaseReport, BranchName, CommitId, QueueEntry, Reason};
use crate::store::{EntryDraft, Store};
use crate::sys::proc;
use crate::worktree::Repository;
use crate::worktree::import::update_ref;

/// An operation that is in effect again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redone {
    /// Its number.
    pub op: i64,
    /// What it is.
    pub kind: String,
    /// What it does.
    pub summary: String,
}

/// Makes again what was taken back last.
pub fn redo(repo: &Repository, store: &Store) -> Result<Redone> {
    let _one_at_a_time = alone(repo)?;
    let recovery = recover::recover(repo, store)?;
    if let Some(done) = recovery.redone.first() {
        return Ok(Redone::of(&store.operation(*done)?));
    }
    if let Some(blocked) = recovery.recovered.blocked.first() {
        return Err(CleanupError::refused(format!("an interrupted {blocked}"), "look at it, then try again"));
    }
    let operations = store.operations()?;
    let operation = match decide::next(&operations) {
        Next::Nothing => return Err(CleanupError::NothingToRedo),
        Next::Redo(operation) => operation,
        Next::Superseded(undone, newer) => {
            let message = format!(
                "operation {} ({}) cannot be made again: operation {} ({}) came after it was undone",
                undone.op, undone.summary, newer.op, newer.summary
            );
            return Err(CleanupError::refused(message, "see what there is: treehand log"));
        }
    };
    match (&operation.undo, operation.undo.moved()) {
        (UndoData::Removal { items }, _) => redo_removal(repo, store, operation, items)?,
        (UndoData::Dropped { entries, reason }, _) => redo_drop(store, operation.op, (entries, reason))?,
        (_, Some((branch, before, after))) => redo_move(repo, store, operation, branch, before, after)?,
        (_, None) => store.mark_redone(operation.op, None, None)?,
    }
    Ok(Redone::of(operation))
}

impl Redone {
    fn of(operation: &OperationRecord) -> Redone {
        Redone { op: operation.op, kind: operation.kind.clone(), summary: operation.summary.clone() }
    }
}

/// Moves a branch to where the operation had put it.
fn redo_move(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    branch: &BranchName,
    before: &CommitId,
    after: &CommitId,
) -> Result<()> {
    let op = operation.op;
    let gone = operation.taken_back.as_ref().is_some_and(|how| how.put_back.branch_gone);
    let tip = repo.reader().ref_commit(&branch.full_ref())?;
    let verdict = match rebased(store, operation)? {
        Some(why) => Verdict::Refuse(why),
        None => decide::judge_again(branch.as_str(), tip.as_ref(), before, after, gone),
    };
    match verdict {
        Verdict::Refuse(why) => {
            let message = format!("operation {op} is not made again: {why}");
            return Err(CleanupError::refused(message, "see what there is: treehand log"));
        }
        Verdict::Already => return Ok(store.mark_redone(op, None, None)?),
        Verdict::Move => require_commit(repo, branch, after)?,
    }
    let intent = store.intend(&EntryDraft::new(KIND, json!({"op": op, "owner": proc::own()})))?;
    let message = format!("treehand: redo operation {op}");
    let moved = match tip {
        Some(_) if let Some((update, first, last)) = sealed_update(operation) => {
            shift_sealed(repo, store, update, (&first, &last), &message)
        }
        Some(_) => shift(repo, branch, before, after, &message),
        None => update_ref(repo, &branch.full_ref(), Some(after), None, &message)
            .map(|()| Shifted::Whole)
            .map_err(CleanupError::from),
    };
    match moved {
        Ok(Shifted::Whole) => Ok(store.mark_redone(op, None, Some(&intent))?),
        Ok(Shifted::Behind(error)) => Err(error),
        Err(error) => {
            store.failed(intent, json!({"why": chain(&error)}))?;
            Err(error)
        }
    }
}

/// A workspace that has another base on record than the undo of its update put there.
fn rebased(store: &Store, operation: &OperationRecord) -> Result<Option<String>> {
    let UndoData::Update(update) = &operation.undo else { return Ok(None) };
    let now = store.workspace(&update.workspace)?.map(|record| record.base);
    let same = |base: &BaseReport| {
        (&base.reference, &base.commit) == (&update.base_before.reference, &update.base_before.commit)
    };
    Ok(match now {
        Some(base) if same(&base) => None,
        Some(_) => Some(format!("the workspace `{}` has another base by now", update.workspace)),
        None => Some(format!("the workspace `{}` is gone", update.workspace)),
    })
}

/// Takes what came back into a queue out of it again, all of it or nothing.
fn redo_drop(store: &Store, op: i64, (entries, reason): (&[DroppedEntry], &Reason)) -> Result<()> {
    let is_attended = |entry: &QueueEntry| entry.owner.as_ref().is_some_and(proc::is_alive);
    let dropped = store.drop_again(op, (entries, reason), is_attended, dropped::hinders_again)?;
    dropped.map_err(|why| {
        CleanupError::refused(format!("operation {op} is not made again: {why}"), "see what waits: treehand queue ls")
    })
}

/// Removes again what is still what was put back.
fn redo_removal(repo: &Repository, store: &Store, operation: &OperationRecord, items: &[RemovedItem]) -> Result<()> {
    let op = operation.op;
    let stamp = trash::stamp()?;
    let again = redo_scan::look(repo, store, operation, items, items, &stamp)?;
    if !again.obstacles.is_empty() {
        let message = format!("operation {op} is not made again: {}", again.obstacles.join("; "));
        return Err(CleanupError::refused(message, "remove it anew: treehand rm, treehand clean"));
    }
    let items = moved_to(repo, &again, items, &stamp)?;
    let data = json!({"op": op, "owner": proc::own(), "items": items, "stamp": stamp});
    let intent = store.intend(&EntryDraft::new(KIND, data))?;
    let removal = Removal { repo, store, operation, items, stamp };
    match removal.claim().and_then(|()| removal.take()) {
        Ok(()) => removal.record(&intent),
        Err(error) => {
            // What cannot be put back now stays under the open intent, for recovery.
            removal.give_up(intent, &chain(&error))?;
            Err(error)
        }
    }
}

/// The items with where each is now and where it will go.
fn moved_to(repo: &Repository, again: &Again, items: &[RemovedItem], stamp: &str) -> Result<Vec<RemovedItem>> {
    let mut moved = Vec::new();
    let refs: Vec<_> = items.iter().filter_map(ref_item).collect();
    let mut refs = traces::items(repo, stamp, &refs)?.into_iter();
    for (n, item) in items.iter().enumerate() {
        moved.push(match item {
            RemovedItem::Directory { from, .. } => {
                let from = again.places.get(from).unwrap_or(from).clone();
                let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let trash = trash::place(repo, &from, stamp)?.join(format!("{}-{name}", n + 1));
                RemovedItem::Directory { from, trash }
            }
            // With what there is of a branch by now.
            RemovedItem::Ref { fate: RefFate::Deleted, .. } => refs.next().unwrap_or_else(|| item.clone()),
            other => other.clone(),
        });
    }
    Ok(moved)
}

fn ref_item(item: &RemovedItem) -> Option<(String, CommitId)> {
    match item {
        RemovedItem::Ref { name, commit, fate: RefFate::Deleted, .. } => Some((name.clone(), commit.clone())),
        _ => None,
    }
}

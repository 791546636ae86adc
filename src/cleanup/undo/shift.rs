//! Apply: moves a branch between where an operation found it and where it put it, worktrees included.
//!
//! Where it comes from stays within reach until the retention ends. What keeps it from moving is a refusal with its remedy,
//! and then nothing moved; files that could not follow their branch are told apart from that.

use std::time::Duration;

use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::ref_names::UNDO_PREFIX;
use crate::cleanup::trash;
use crate::model::cause::chain;
use crate::model::operation::{OperationRecord, UndoData, UpdateRecord};
use crate::model::{BranchName, CommitId};
use crate::store::Store;
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::import::update_ref;
use crate::worktree::index_lock::Obstacle;
use crate::worktree::sealed_move::{State, Still};
use crate::worktree::{Repository, WorktreeError, update_sealed};

/// How long a lock of git's, or another undo, is waited for.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How a branch moved.
#[must_use = "files may be behind their branch"]
pub enum Shifted {
    /// With every checkout.
    Whole,
    /// And the files of a checkout did not: the intent stays open, for recovery completes the files from it.
    Behind(CleanupError),
}

/// Moves the branch, keeping what it was at.
pub fn shift(repo: &Repository, branch: &BranchName, from: &CommitId, to: &CommitId, message: &str) -> Result<Shifted> {
    let name = format!("{UNDO_PREFIX}{}/heads/{branch}", trash::stamp()?);
    update_ref(repo, &name, Some(from), None, "treehand: where it was")?;
    let moved = forward(repo, branch, from, to, message);
    if moved.is_err() {
        update_ref(repo, &name, None, Some(from), "treehand: it did not move")?;
    }
    moved
}

/// The update of a sealed workspace, and the states that it lies between.
pub(super) fn sealed_update(operation: &OperationRecord) -> Option<(&UpdateRecord, State, State)> {
    let UndoData::Update(update) = &operation.undo else { return None };
    let (before, after) = update_sealed::states(update)?;
    Some((update, before, after))
}

/// Moves the branch of a sealed workspace, and what the workspace holds with it, between the two states of an update. It goes only
/// from the state where the update put it, or its undo.
pub fn shift_sealed(
    repo: &Repository,
    store: &Store,
    update: &UpdateRecord,
    (from, to): (&State, &State),
    message: &str,
) -> Result<Shifted> {
    let name = &update.workspace;
    let Some(record) = store.workspace(name)? else {
        return Err(CleanupError::refused(
            format!("the workspace `{name}` is gone"),
            "see what there is: treehand log",
        ));
    };
    let still = Still::capture(repo, &record)?;
    if !still.is(from)? {
        let message = format!("`{name}` was worked on since");
        return Err(CleanupError::refused(message, format!("bring its work onto its branch: treehand diff {name}")));
    }
    if let Some(obstacle) = still.obstacle(to)? {
        return Err(CleanupError::refused(obstacle.message, "move away what is in the way, then try again"));
    }
    let kept = format!("{UNDO_PREFIX}{}/heads/{}", trash::stamp()?, update.branch);
    update_ref(repo, &kept, Some(&from.work), None, "treehand: where it was")?;
    if let Err(error) = update_sealed::swap(repo, store, update, (&from.work, &to.work), message) {
        update_ref(repo, &kept, None, Some(&from.work), "treehand: it did not move")?;
        return Err(error.into());
    }
    match still.move_to(to) {
        Ok(()) => Ok(Shifted::Whole),
        Err(error) => {
            let message = format!("the files of {name} are behind `{}`: {}", update.branch, chain(&error));
            Ok(Shifted::Behind(CleanupError::refused(message, "make room, then: treehand doctor --repair")))
        }
    }
}

/// Moves the branch to a commit that holds what it was at.
pub fn forward(
    repo: &Repository,
    branch: &BranchName,
    from: &CommitId,
    to: &CommitId,
    message: &str,
) -> Result<Shifted> {
    match advance(repo, &Advance { branch, from, to, message, lock_wait: repo.patience.limit })? {
        Advanced::Done => Ok(Shifted::Whole),
        Advanced::Behind { message } => {
            let hint = "make room, or let its directories be written to, then: treehand doctor --repair";
            Ok(Shifted::Behind(CleanupError::refused(message, hint)))
        }
        Advanced::Raced => Err(CleanupError::refused(format!("`{branch}` has just moved"), "try again")),
        Advanced::InTheWay(Obstacle { message, paths }) => {
            let list = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
            Err(CleanupError::refused(format!("{message}{list}"), "commit, stash or remove them, then try again"))
        }
        Advanced::Busy { lock } => Err(WorktreeError::Locked { lock }.into()),
    }
}

/// Refuses when a commit that a branch is to move to is gone.
pub fn require_commit(repo: &Repository, branch: &BranchName, commit: &CommitId) -> Result<()> {
    if repo.reader().has_commit(commit)? {
        return Ok(());
    }
    let message = format!("the commit {} that `{branch}` was at is gone", commit.short());
    Err(CleanupError::Refused { message, hint: None })
}

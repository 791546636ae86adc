//! Apply: moves a branch between where an operation found it and where it put it, worktrees included.
//!
//! Where it comes from stays within reach until the retention ends. What keeps it from moving is a refusal with its remedy,
//! and then nothing moved; files that could not follow their branch are told apart from that.

use std::time::Duration;

use super::batch::UNDO_PREFIX;
use super::error::{CleanupError, Result};
use super::trash;
use crate::model::{BranchName, CommitId};
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::import::update_ref;
use crate::worktree::index_lock::Obstacle;
use crate::worktree::{Repository, WorktreeError};

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

/// Moves the branch to a commit that holds what it was at.
pub fn forward(
    repo: &Repository,
    branch: &BranchName,
    from: &CommitId,
    to: &CommitId,
    message: &str,
) -> Result<Shifted> {
    match advance(repo, &Advance { branch, from, to, message, lock_wait: LOCK_WAIT })? {
        Advanced::Done => Ok(Shifted::Whole),
        Advanced::Behind { message } => {
            Ok(Shifted::Behind(CleanupError::refused(message, "make room, then: treehand doctor --repair")))
        }
        Advanced::Raced => Err(CleanupError::refused(format!("`{branch}` has just moved"), "try again")),
        Advanced::InTheWay(Obstacle { message, paths }) => {
            let list = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
            Err(CleanupError::refused(format!("{message}{list}"), "commit, stash or remove them, then try again"))
        }
        Advanced::Busy { lock } => {
            let holder = "a git process holds its lock".to_owned();
            Err(WorktreeError::Busy { what: lock.display().to_string(), holder }.into())
        }
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

//! Apply: moves a branch and its checkouts under an open intent, for what takes operations back or does them again.
//!
//! The intent is closed when everything is recorded, and as failed when nothing moved. When the branch moved and files did
//! not, it stays open: it is what recovery completes them from.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::{CleanupError, Result};
use crate::model::BranchName;
use crate::model::cause::chain;
use crate::store::{EntryDraft, Store};
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::index_lock::Obstacle;
use crate::worktree::{Repository, WorktreeError};

/// How long a lock of git's is waited for.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Moves the branch; `record` writes down that it has, and gives what the end of the intent says.
pub fn move_branch(
    repo: &Repository,
    store: &Store,
    intent: &EntryDraft<'_>,
    request: &Advance<'_>,
    record: impl FnOnce() -> Result<Value>,
) -> Result<()> {
    let intent = store.intend(intent)?;
    let error = match advance(repo, request) {
        Ok(Advanced::Done) => {
            let data = record()?;
            return Ok(store.done(intent, data)?);
        }
        Ok(Advanced::Behind { message }) => {
            return Err(CleanupError::refused(message, "make room, then: treehand doctor --repair"));
        }
        Ok(Advanced::Raced) => CleanupError::refused(format!("`{}` has just moved", request.branch), "try again"),
        Ok(Advanced::InTheWay(obstacle)) => in_the_way(request.branch, &obstacle),
        Ok(Advanced::Busy { lock }) => {
            let holder = "a git process holds its lock".to_owned();
            WorktreeError::Busy { what: lock.display().to_string(), holder }.into()
        }
        Err(error) => error.into(),
    };
    store.failed(intent, json!({"why": chain(&error)}))?;
    Err(error)
}

fn in_the_way(branch: &BranchName, Obstacle { message, paths }: &Obstacle) -> CleanupError {
    let list = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
    let hint = "commit, stash or remove them, then try again";
    CleanupError::refused(format!("`{branch}` does not move: {message}{list}"), hint)
}

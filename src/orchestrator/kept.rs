//! What landed stays reachable as it was captured, until the retention ends.
//! One ref for each task; making it again changes nothing.

use crate::model::{CommitId, RunId, TaskId};
use crate::worktree::Repository;
use crate::worktree::error::Result;
use crate::worktree::import::update_ref;

/// Keeps the captured commit reachable after its branch is gone: `diff RUN/TASK` works from it.
pub fn keep(repo: &Repository, run: &RunId, id: &TaskId, commit: &CommitId) -> Result<()> {
    let name = format!("refs/treehand/merged/{run}/{id}");
    let now = repo.reader().ref_commit(&name)?;
    if now.as_ref() == Some(commit) {
        return Ok(());
    }
    update_ref(repo, &name, Some(commit), now.as_ref(), "treehand: landed")
}

//! What landed stays reachable as it was captured, until the retention ends.
//! One ref for each task; making it again changes nothing.

use crate::model::{CommitId, RunId, TaskId};
use crate::worktree::Repository;
use crate::worktree::error::Result;
use crate::worktree::import::{RefChange, update_refs};

/// A task, and what was captured of it.
pub type Captured = ((RunId, TaskId), CommitId);

/// Keeps captured commits reachable after their branches are gone: `diff RUN/TASK` works from them.
pub fn keep(repo: &Repository, captured: &[Captured]) -> Result<()> {
    update_refs(repo, &missing(repo, captured)?, "treehand: landed")
}

/// True while all of these refs are where they have to be.
pub fn stand(repo: &Repository, refs: &[RefChange]) -> Result<bool> {
    let reader = repo.reader();
    for RefChange { reference, expected, .. } in refs {
        if reader.ref_commit(reference)? != *expected {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is still to be kept of these.
pub fn missing(repo: &Repository, captured: &[Captured]) -> Result<Vec<RefChange>> {
    let (reader, mut changes) = (repo.reader(), Vec::new());
    for ((run, id), commit) in captured {
        let reference = format!("refs/treehand/merged/{run}/{id}");
        let expected = reader.ref_commit(&reference)?;
        if expected.as_ref() != Some(commit) {
            changes.push(RefChange { reference, new: Some(commit.clone()), expected });
        }
    }
    Ok(changes)
}

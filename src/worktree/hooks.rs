//! Hooks of the repository that treehand's own git operations fire: never, unless the user's own configuration says otherwise.
//!
//! As git does means: `post-checkout` in a new plain workspace, `post-merge` in a checkout that a landing, an update or an undo
//! brought along, `reference-transaction` for branches that treehand moves. Commits are made in memory, where `pre-commit`
//! and `commit-msg` have nothing to look at: gates are their place.

use std::path::Path;

use super::error::{Result, WorktreeError};
use super::repository::Repository;
use crate::model::{CommitId, Hooks};

/// Runs `post-checkout` for a new worktree; one that fails is an error, as it is with `git worktree add`.
pub fn post_checkout(repo: &Repository, tree: &Path, commit: &CommitId) -> Result<()> {
    if repo.hooks != Hooks::Unconfined {
        return Ok(());
    }
    let zero = commit.zero_like();
    let args = ["hook", "run", "--ignore-missing", "post-checkout", "--", &zero, commit.as_str(), "1"];
    let output = repo.git.within(tree, args).with_hooks().output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(WorktreeError::refused(
        format!("the hook `post-checkout` failed: {said}"),
        "mend it, or: --set worktree.hooks=never",
    ))
}

/// Runs `post-merge` in a checkout whose files have moved. Its outcome changes nothing, as with `git merge`.
pub fn post_merge(repo: &Repository, tree: &Path) -> Result<()> {
    if repo.hooks == Hooks::Unconfined {
        let args = ["hook", "run", "--ignore-missing", "post-merge", "--", "0"];
        let output = repo.git.within(tree, args).with_hooks().output()?;
        tracing::debug!(tree = %tree.display(), status = %output.status, "post-merge ran");
    }
    Ok(())
}

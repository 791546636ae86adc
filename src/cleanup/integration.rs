//! Scan: whether the work of a branch is provably in a target, by the cheapest proof that holds.
//!
//! "In the target" means that merging it would add nothing. A conflict, or no common history, is no proof.

use super::error::Result;
use crate::model::CommitId;
use crate::worktree::Repository;
use crate::worktree::merge::{Merged, merge_trees};
use crate::worktree::quarantine::Quarantine;

/// How it is known that nothing is lost with a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its tip is in the target's history.
    Ancestor,
    /// Its tree is the target's tree.
    SameTree,
    /// Merging it gives the target's tree.
    MergeAddsNothing,
}

impl Proof {
    /// The word for people and scripts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ancestor => "ancestor",
            Self::SameTree => "same-tree",
            Self::MergeAddsNothing => "merge-adds-nothing",
        }
    }
}

/// The first proof that holds.
pub fn proof(repo: &Repository, tip: &CommitId, target: &CommitId) -> Result<Option<Proof>> {
    let reader = repo.reader();
    if reader.is_ancestor(tip, target)? {
        return Ok(Some(Proof::Ancestor));
    }
    let target_tree = reader.tree_of(target)?;
    if reader.tree_of(tip)? == target_tree {
        return Ok(Some(Proof::SameTree));
    }
    let quarantine = Quarantine::create(repo, target)?;
    let merged = merge_trees(&quarantine, None, target, tip);
    quarantine.discard()?;
    Ok(match merged? {
        Merged::Clean(tree) if tree == target_tree => Some(Proof::MergeAddsNothing),
        _ => None,
    })
}

/// The first proof against any of these refs; those that are not there do not count.
pub fn proof_in_any(repo: &Repository, tip: &CommitId, targets: &[String]) -> Result<Option<Proof>> {
    for target in targets {
        if let Some(commit) = repo.reader().ref_commit(target)?
            && let Some(found) = proof(repo, tip, &commit)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The refs in which a workspace's work may have landed: the branch it came from, here and where it is tracked.
pub fn targets_of(repo: &Repository, reference: &str) -> Result<Vec<String>> {
    let mut targets = vec![format!("refs/heads/{reference}"), format!("refs/remotes/{reference}")];
    for remote in repo.bare(["remote"]).text()?.lines() {
        targets.push(format!("refs/remotes/{remote}/{reference}"));
    }
    Ok(targets)
}

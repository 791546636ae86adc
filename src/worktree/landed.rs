//! Scan: whether work is provably in a target, by rungs from cheap to dear.
//!
//! A rung that does not hold, a conflict or unrelated histories prove nothing. What cannot be read is an error: no caller
//! may take it for a proof. Reads only; a merge that is tried lives in a quarantine.

use serde::Serialize;

use super::error::Result;
use super::merge::{Merged, merge_trees, stand_in};
use super::quarantine::Quarantine;
use super::repository::Repository;
use crate::model::CommitId;

/// How it is known that a target holds the work of a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The tip is in the target's history.
    Ancestor,
    /// Both have the same tree.
    SameTree,
    /// The branch changes nothing since it forked.
    NoDiff,
    /// Merging it would change nothing in the target.
    MergeAddsNothing,
    /// All it has beyond the targets are merges of what they have, just as git makes them.
    OnlyMerges,
}

impl Proof {
    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ancestor => "ancestor",
            Self::SameTree => "same-tree",
            Self::NoDiff => "no-diff",
            Self::MergeAddsNothing => "merge-adds-nothing",
            Self::OnlyMerges => "only-merges",
        }
    }
}

/// Proves that the work of `branch_tip` is in `target_tip`, or says that no rung holds.
pub fn proof(repo: &Repository, branch_tip: &CommitId, target_tip: &CommitId) -> Result<Option<Proof>> {
    let reader = repo.reader();
    if reader.is_ancestor(branch_tip, target_tip)? {
        return Ok(Some(Proof::Ancestor));
    }
    let Some(fork) = repo.reader().merge_base(branch_tip, target_tip)? else { return Ok(None) };
    let (ours, theirs) = (reader.tree_of(branch_tip)?, reader.tree_of(target_tip)?);
    if ours == theirs {
        return Ok(Some(Proof::SameTree));
    }
    if reader.tree_of(&fork)? == ours {
        return Ok(Some(Proof::NoDiff));
    }
    let quarantine = Quarantine::create(repo, target_tip)?;
    let merged = merge_trees(&quarantine, None, target_tip, branch_tip);
    quarantine.discard()?;
    Ok((merged? == Merged::Clean(theirs)).then_some(Proof::MergeAddsNothing))
}

/// True when the work of a tip is in a target by one of those rungs, or was in its history at some time by its patches: each
/// commit's, or that of all together.
pub fn has_landed(repo: &Repository, tip: &CommitId, target: &CommitId) -> Result<bool> {
    if proof(repo, tip, target)?.is_some() {
        return Ok(true);
    }
    let Some(fork) = repo.reader().merge_base(tip, target)? else { return Ok(false) };
    let quarantine = Quarantine::create(repo, target)?;
    let known = is_known(&quarantine, tip, target).and_then(|each| {
        if each {
            return Ok(true);
        }
        // As one commit it has the patch that a squash has.
        let whole = stand_in(&quarantine, tip, Some(&fork))?;
        is_known(&quarantine, &whole, target)
    });
    quarantine.discard()?;
    known
}

/// True when every commit that a tip has beyond a target has its patch in the target's history; a merge has none.
fn is_known(quarantine: &Quarantine, tip: &CommitId, target: &CommitId) -> Result<bool> {
    let range = format!("{target}...{tip}");
    let args = ["rev-list", "--right-only", "--cherry-pick", "--max-count=1", &range, "--"];
    Ok(quarantine.command(args).text()?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    /// The target has changed again what it took from a branch, so that only patches tell.
    #[test]
    fn what_was_picked_or_squashed_has_landed_though_the_target_has_gone_on() {
        let fixture = Fixture::new();
        for branch in ["picked", "squashed", "half", "open"] {
            fixture.git(&["branch", branch]);
            fixture.commit_on(branch, &[(branch, "one\n"), ("a", &format!("{branch}\n"))]);
        }
        fixture.commit("moved", "on\n");
        fixture.git(&["cherry-pick", "picked~1", "picked"]);
        fixture.commit("picked", "again\n");
        fixture.commit("a", "one\n");
        fixture.git(&["merge", "-q", "--squash", "squashed"]);
        fixture.git(&["commit", "-q", "-m", "squashed"]);
        fixture.commit("squashed", "again\n");
        fixture.commit("a", "one\n");
        fixture.git(&["cherry-pick", "half~1"]);
        fixture.commit("half", "again\n");
        let main = fixture.tip("refs/heads/main");
        for (branch, expected) in [("picked", true), ("squashed", true), ("half", false), ("open", false)] {
            let tip = fixture.tip(&format!("refs/heads/{branch}"));
            assert_eq!(proof(&fixture.repo, &tip, &main).expect("readable"), None, "{branch}");
            assert_eq!(has_landed(&fixture.repo, &tip, &main).expect("readable"), expected, "{branch}");
        }
    }
}

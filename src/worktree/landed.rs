//! Scan: whether work is provably in a target, by rungs from cheap to dear.
//!
//! A rung that does not hold, a conflict or unrelated histories prove nothing. What cannot be read is an error: no caller
//! may take it for a proof. Reads only; a merge that is tried lives in a quarantine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::merge::{Merged, merge_trees};
use super::patches::{self, Work};
use super::quarantine::Quarantine;
use super::repository::{Repository, bytes_path};
use crate::model::CommitId;

/// How it is known that a target holds the work of a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// One commit of the target has the patch of all its commits together.
    PatchId,
    /// The target has the patch of each of its commits.
    PerCommitPatchId,
    /// All it has beyond the targets are merges of what they have, just as git makes them.
    OnlyMerges,
    /// The forge merged a pull request of exactly this tip, and the commit that did it is in the target.
    ForgeAtTip,
}

impl Proof {
    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ancestor => "ancestor",
            Self::SameTree => "same-tree",
            Self::NoDiff => "no-diff",
            Self::MergeAddsNothing => "merge-adds-nothing",
            Self::PatchId => "patch-id",
            Self::PerCommitPatchId => "per-commit-patch-id",
            Self::OnlyMerges => "only-merges",
            Self::ForgeAtTip => "forge@tip",
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
    Ok(proof(repo, tip, target)?.is_some() || by_patches(repo, tip, target)?.is_some())
}

/// Work that was in the history of a target at some time: what the target has of it now, nobody says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByPatches {
    /// How it is known.
    pub proof: Proof,
    /// The commits of the target that have these patches.
    pub commits: Vec<CommitId>,
    /// Where the tip and the target parted.
    pub fork: CommitId,
}

/// Proves by patches that the work of a tip was in a target's history: by each commit's, or by that of all together.
pub fn by_patches(repo: &Repository, tip: &CommitId, target: &CommitId) -> Result<Option<ByPatches>> {
    let Some(fork) = repo.reader().merge_base(tip, target)? else { return Ok(None) };
    let Some(others) = commits_to_compare(repo, tip, target, &fork)? else { return Ok(None) };
    if others.is_empty() {
        return Ok(None);
    }
    let own = repo.bare(["rev-list", "--parents", tip.as_str(), "--not", target.as_str(), "--"]).text()?;
    let own = own.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let (merges, own): (Vec<_>, Vec<_>) = own.partition(|ids| ids.len() > 2);
    let commits = own.iter().filter_map(|ids| CommitId::parse(ids.first()?).ok()).collect();
    let work = Work { tip: tip.clone(), fork: fork.clone(), commits, merges: !merges.is_empty() };
    let found = patches::find(repo, &[work], &others, |_, _| true)?.pop().flatten();
    Ok(found.map(|(proof, commits)| ByPatches { proof, commits, fork }))
}

/// Most paths that a history is looked through for.
const PATHS_MAX: usize = 200;

/// Most commits that are compared where there are more paths than that.
const COMMITS_MAX: usize = 20_000;

/// The commits of a target since the fork that touch what the work changes; `None` where there are too many to compare.
fn commits_to_compare(
    repo: &Repository,
    tip: &CommitId,
    target: &CommitId,
    fork: &CommitId,
) -> Result<Option<Vec<CommitId>>> {
    let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", fork.as_str(), tip.as_str()];
    let changed: Vec<PathBuf> = repo.bare(args).run()?.records().map(bytes_path).collect();
    let (most, range) = (format!("--max-count={}", COMMITS_MAX + 1), format!("{fork}..{target}"));
    let list = repo.bare(["rev-list", "--no-merges", "--full-history", &most, &range, "--"]);
    let list = list.args(changed.iter().filter(|_| changed.len() <= PATHS_MAX)).env("GIT_LITERAL_PATHSPECS", "1");
    let found: Vec<CommitId> = list.text()?.lines().filter_map(|id| CommitId::parse(id).ok()).collect();
    Ok((found.len() <= COMMITS_MAX).then_some(found))
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

//! Scan: what of a branch is its own work, against the tip of another that it is to come to.
//!
//! History tells, as `git merge` takes it: what both have in common is nobody's own. But where the branch was based on something
//! that has come to the other by another way (squashed, rebased), that is no work of the branch, although the history does not
//! say so. Reads only.

use super::error::Result;
use super::landed;
use super::repository::Repository;
use crate::model::CommitId;

/// The commit on top of which the work of `tip` begins; `based_on` is what the branch was made on, if that is recorded. `None` where
/// the two have nothing in common.
pub fn base(
    repo: &Repository,
    based_on: Option<&CommitId>,
    tip: &CommitId,
    target: &CommitId,
) -> Result<Option<CommitId>> {
    let reader = repo.reader();
    let shared = reader.merge_base(tip, target)?;
    let (Some(based_on), Some(shared)) = (based_on, &shared) else { return Ok(shared) };
    let is_below =
        |lower: &CommitId, upper: &CommitId| Ok::<_, super::WorktreeError>(reader.is_ancestor(lower, upper)?);
    // Only what lies between: something of the other that was brought in since is above both.
    if based_on == shared || !reader.has_commit(based_on)? || !is_below(based_on, tip)? || !is_below(shared, based_on)?
    {
        return Ok(Some(shared.clone()));
    }
    let has_come = landed::has_landed(repo, based_on, target)?;
    Ok(Some(if has_come { based_on.clone() } else { shared.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn what_was_squashed_below_a_branch_is_not_its_own_and_what_was_merged_into_it_neither() {
        let fixture = Fixture::new();
        let git = |args: &[&str]| fixture.git(args);
        let commit = |file: &str| fixture.commit(file, file);
        let start = CommitId::parse(&git(&["rev-parse", "HEAD"])).expect("an id");
        git(&["switch", "-q", "-c", "lower"]);
        let lower = commit("lower");
        git(&["switch", "-q", "-c", "upper"]);
        let upper = commit("upper");
        git(&["switch", "-q", "main"]);
        let main = commit("main");
        let base = |based_on: Option<&CommitId>, tip: &CommitId, target: &CommitId| {
            super::base(&fixture.repo, based_on, tip, target).expect("looked")
        };
        assert_eq!(base(Some(&lower), &upper, &main), Some(start.clone()), "lower has not come to main");
        git(&["merge", "-q", "--squash", "lower"]);
        git(&["commit", "-q", "-m", "lower, squashed"]);
        let squashed = CommitId::parse(&git(&["rev-parse", "HEAD"])).expect("an id");
        assert_eq!(base(Some(&lower), &upper, &squashed), Some(lower.clone()));
        assert_eq!(base(None, &upper, &squashed), Some(start.clone()));
        git(&["switch", "-q", "upper"]);
        git(&["merge", "-q", "-X", "ours", "-m", "brought in", "main"]);
        let merged = CommitId::parse(&git(&["rev-parse", "HEAD"])).expect("an id");
        assert_eq!(base(Some(&lower), &merged, &squashed), Some(squashed.clone()));
        git(&["switch", "-q", "--orphan", "alone"]);
        let alone = commit("alone");
        assert_eq!(base(None, &alone, &squashed), None);
    }
}

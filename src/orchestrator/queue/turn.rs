//! Whose turn it is to land on a branch, among the supervisors whose results wait for it: a kernel lock, so that the turn of one
//! that died is free. Who has none loses nothing but time: that the branch is where it was is checked by compare-and-swap.
//!
//! Does not keep a person from moving the branch.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::BranchName;
use crate::orchestrator::context::RunError;
use crate::sys::lock::{FileLock, LockError};
use crate::worktree::Repository;

/// Takes the turn; `None` while somebody else has it.
pub fn take(repo: &Repository, branch: &BranchName) -> Result<Option<FileLock>, RunError> {
    // Branches that share a lock would only wait for each other, and a name may be longer than that of a file.
    let mut hasher = DefaultHasher::new();
    branch.hash(&mut hasher);
    let path = repo.lock(&format!("land-{:016x}", hasher.finish()));
    match FileLock::try_acquire(&path, &format!("pid {}, landing on {branch}", std::process::id())) {
        Ok(turn) => Ok(Some(turn)),
        Err(LockError::Held { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn a_branch_has_one_turn_at_a_time_and_another_branch_its_own() {
        let fixture = Fixture::new();
        let branch = |name: &str| BranchName::parse(name).expect("a name");
        let take = |name: &str| take(&fixture.repo, &branch(name)).expect("asked for");
        let first = take("main");
        assert!(first.is_some() && take("main").is_none() && take("other").is_some());
        drop(first);
        assert!(take("main").is_some());
    }
}

//! Whose turn it is to move a branch, among the runs that land on it at once. Who has none loses nothing but time: that the
//! branch is where it was is checked by compare-and-swap.
//!
//! Without it every run merges with the same tip, one of them lands, and the others have done their work in vain. Does not
//! keep a person from moving the branch.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::context::RunError;
use crate::model::BranchName;
use crate::sys::lock::{FileLock, LockError};
use crate::worktree::Repository;

/// How long a turn is waited for. After that one lands without.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a turn; `None` when others had it all the time.
pub fn take(repo: &Repository, branch: &BranchName, wait: Duration) -> Result<Option<FileLock>, RunError> {
    // Branches that share a lock would only wait for each other, and a name may be longer than that of a file.
    let mut hasher = DefaultHasher::new();
    branch.hash(&mut hasher);
    let path = repo.lock(&format!("land-{:016x}", hasher.finish()));
    let holder = format!("pid {}, landing on {branch}", std::process::id());
    match FileLock::acquire_within(&path, &holder, wait) {
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
        let take = |name: &str| take(&fixture.repo, &branch(name), Duration::ZERO).expect("asked for");
        let first = take("main");
        assert!(first.is_some() && take("main").is_none() && take("other").is_some());
        drop(first);
        assert!(take("main").is_some());
    }
}

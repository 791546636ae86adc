//! Apply: the right to bring a workspace up to its base, which one process has at a time. Who comes second waits, and finds it done.
//!
//! The lock spares work and misleading refusals; that the branch is where it was is checked by compare-and-swap.

use std::time::Duration;

use super::error::{Result, WorktreeError};
use super::patience::TELL_AFTER;
use super::repository::Repository;
use crate::model::WorkspaceName;
use crate::sys::lock::{FileLock, LockError};

/// Takes the lock of a workspace, waiting for whoever has it.
pub fn take(repo: &Repository, name: &WorkspaceName, wait: Duration) -> Result<FileLock> {
    let path = repo.lock(&format!("update-{}", name.path_part()));
    let holder = format!("pid {} brings it up to its base", std::process::id());
    let silent = wait.min(TELL_AFTER);
    let first = FileLock::acquire_within(&path, &holder, silent);
    let taken = match first {
        Err(LockError::Held { holder: other, .. }) if wait > silent => {
            tracing::warn!("waiting for workspace {name}: {other}");
            FileLock::acquire_within(&path, &holder, wait - silent)
        }
        first => first,
    };
    taken.map_err(|error| match error {
        LockError::Held { holder, .. } => WorktreeError::Busy { what: format!("workspace {name}"), holder },
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn who_has_the_workspace_is_named_to_who_does_not_get_it() {
        let fixture = Fixture::new();
        let name = WorkspaceName::parse("a/b").expect("a name");
        let _held = take(&fixture.repo, &name, Duration::ZERO).expect("free");
        let error = take(&fixture.repo, &name, Duration::ZERO).expect_err("it is held");
        let expected = format!("workspace a/b is busy: pid {} brings it up to its base", std::process::id());
        assert_eq!(error.to_string(), expected);
        let other = WorkspaceName::parse("a").expect("a name");
        let _other = take(&fixture.repo, &other, Duration::ZERO).expect("another one is free");
    }
}

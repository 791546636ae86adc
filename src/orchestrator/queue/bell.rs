//! The bell of the queues of a repository: a file that is closed after a write whenever something about a queue may be
//! otherwise, so that who waits looks again.
//!
//! It says nothing but that. Who died did not ring: waiters look each second as well, while somebody else is at work.

use std::path::PathBuf;
use std::time::Duration;

use crate::orchestrator::context::RunError;
use crate::sys::fs;
use crate::worktree::Repository;

/// After that it is looked again, whether it rang or not.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The directory in which something happens when it rings.
pub fn place(repo: &Repository) -> Result<PathBuf, RunError> {
    let directory = repo.state_dir().join("queue");
    fs::create_private_dir_all(&directory)?;
    Ok(directory)
}

/// Rings. A disk that takes nothing takes this, too, once the file is there.
pub fn ring(repo: &Repository) -> Result<(), RunError> {
    let path = place(repo)?.join("bell");
    let opened = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    opened.map_err(fs::at("open", &path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::watch;
    use crate::worktree::fixture::Fixture;

    #[tokio::test]
    async fn what_rings_while_nobody_waits_is_heard_by_who_listened_then() {
        let fixture = Fixture::new();
        let (watcher, mut events) = watch::begin().expect("there is a watcher");
        let _for_as_long_as_the_watcher = watcher.add(&place(&fixture.repo).expect("made")).expect("watched");
        ring(&fixture.repo).expect("rung");
        assert!(!events.next().await.expect("it happened").is_empty());
    }
}

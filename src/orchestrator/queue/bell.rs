//! The bell of the queues of a repository: a file that is closed after a write whenever something about a queue may be
//! otherwise, so that who waits looks again.
//!
//! It says nothing but that. Who died did not ring: waiters look each second as well, while somebody else is at work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::orchestrator::context::RunError;
use crate::sys::fs;
use crate::sys::watch::{self, Events, Watcher};
use crate::worktree::Repository;

/// After that it is looked again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

fn directory(repo: &Repository) -> PathBuf {
    repo.state_dir().join("queue")
}

fn file(directory: &Path) -> PathBuf {
    directory.join("bell")
}

/// Rings. A disk that takes nothing takes this, too, once the file is there.
pub fn ring(repo: &Repository) -> Result<(), RunError> {
    let directory = directory(repo);
    fs::create_private_dir_all(&directory)?;
    let path = file(&directory);
    let opened = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    opened.map_err(fs::at("open", &path))?;
    Ok(())
}

/// One who waits for it to ring.
#[derive(Debug)]
pub struct Listener {
    /// `None` where none is to be had: then it looks each second.
    watch: Option<(Watcher, Events)>,
}

impl Listener {
    /// Begins to listen. Needs a runtime that is entered.
    pub fn begin(repo: &Repository) -> Result<Listener, RunError> {
        let directory = directory(repo);
        fs::create_private_dir_all(&directory)?;
        let watch = || {
            let (watcher, events) = watch::begin()?;
            let _for_as_long_as_the_watcher = watcher.add(&directory)?;
            Ok::<_, std::io::Error>((watcher, events))
        };
        let watch = watch().inspect_err(|error| tracing::warn!(%error, "the queue is looked at each second")).ok();
        Ok(Listener { watch })
    }

    /// Waits until it has rung since the last time, or some time has passed.
    pub async fn heard(&mut self) -> Result<(), RunError> {
        let Some((_, events)) = &mut self.watch else {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        };
        match tokio::time::timeout(LOOK_AGAIN, events.next()).await {
            Ok(rung) => rung.map(drop).map_err(RunError::io("cannot listen to the queue")),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[tokio::test]
    async fn what_rings_while_nobody_waits_is_heard_by_who_listened_then() {
        let fixture = Fixture::new();
        let mut listener = Listener::begin(&fixture.repo).expect("listens");
        ring(&fixture.repo).expect("rung");
        let told = listener.watch.as_mut().expect("there is a watcher").1.next().await;
        assert!(!told.expect("it happened").is_empty());
    }
}

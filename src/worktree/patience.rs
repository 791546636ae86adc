//! Scan: git's locks that somebody else holds, and waiting for them: index, refs, `HEAD`, packed refs, tables of refs.
//!
//! A lock file gives no event when it goes; git itself waits for it in the same way. What is waited for longer than a second
//! is said, and after the patience has run out the lock is named.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{Result, WorktreeError};
use super::repository::Repository;
use crate::sys::fs;

/// How long a lock is waited for in silence.
pub(super) const TELL_AFTER: Duration = Duration::from_secs(1);
/// Between two looks, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long git's locks are waited for, and who hears of it.
#[derive(Clone)]
pub struct Patience {
    /// How long.
    pub limit: Duration,
    /// Hears of a lock that is waited for.
    pub tell: Arc<dyn Fn(&Path) + Send + Sync>,
}

impl Default for Patience {
    fn default() -> Self {
        let tell = |lock: &Path| tracing::warn!("{}", waiting_for(lock));
        Patience { limit: Duration::from_secs(10), tell: Arc::new(tell) }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patience({} ms)", self.limit.as_millis())
    }
}

/// What is said of a lock that is waited for.
pub fn waiting_for(lock: &Path) -> String {
    format!("waiting for {}, which another git process holds", lock.display())
}

/// One wait for locks.
pub struct Waiting<'a> {
    patience: &'a Patience,
    deadline: Instant,
    tell_at: Option<Instant>,
    pause: Duration,
}

impl<'a> Waiting<'a> {
    /// Begins to wait, until then.
    pub fn until(patience: &'a Patience, deadline: Instant) -> Waiting<'a> {
        Waiting { patience, deadline, tell_at: Some(Instant::now() + TELL_AFTER), pause: Duration::from_millis(5) }
    }

    /// Waits a moment for a lock; false when the time has run out.
    pub fn moment(&mut self, lock: &Path) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if self.tell_at.is_some_and(|at| Instant::now() >= at) {
            self.tell_at = None;
            (self.patience.tell)(lock);
        }
        true
    }
}

/// Tries to move refs until none of their locks is in the way any more. `attempt` gives `None` when git did not move them
/// and they are where they were.
pub fn while_locked<T>(
    repo: &Repository,
    references: &[&str],
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<Attempt<T>>,
) -> Result<T> {
    let mut waiting = Waiting::until(&repo.patience, deadline);
    let mut seen = false;
    loop {
        let error = match attempt()? {
            Attempt::Done(value) => return Ok(value),
            Attempt::NotMoved(error) => error,
        };
        match held(repo, references)? {
            Some(lock) if waiting.moment(&lock) => seen = true,
            Some(lock) => return Err(WorktreeError::Locked { lock }),
            // It may have been given up in between: once more.
            None if !seen => seen = true,
            None => return Err(error),
        }
    }
}

/// How one try went.
pub enum Attempt<T> {
    /// It is done.
    Done(T),
    /// The refs are where they were, and this is what git says.
    NotMoved(WorktreeError),
}

/// The lock that somebody holds on one of these refs, or on what has to be locked with them.
fn held(repo: &Repository, references: &[&str]) -> Result<Option<PathBuf>> {
    let tables = repo.common_dir.join("reftable/tables.list.lock");
    if fs::exists(&tables)? {
        return Ok(Some(tables));
    }
    for reference in references {
        // A branch can be another name of one: that one is locked.
        let target = repo.reader().symbolic_target(reference)?;
        for name in [Some((*reference).to_owned()), target].into_iter().flatten() {
            let lock = repo.common_dir.join(format!("{name}.lock"));
            if fs::exists(&lock)? {
                return Ok(Some(lock));
            }
        }
    }
    for name in ["HEAD.lock", "packed-refs.lock"] {
        let lock = repo.common_dir.join(name);
        if fs::exists(&lock)? {
            return Ok(Some(lock));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::import::update_ref;

    #[test]
    fn each_lock_on_refs_is_waited_for_and_named() {
        let mut fixture = Fixture::new();
        let tip = fixture.tip("refs/heads/main");
        for lock in ["refs/heads/x.lock", "packed-refs.lock", "HEAD.lock"] {
            let lock = fixture.repo.common_dir.join(lock);
            std::fs::create_dir_all(lock.parent().expect("a parent")).expect("made");
            std::fs::write(&lock, "").expect("held");
            fixture.repo.patience.limit = Duration::ZERO;
            let reference = if lock.ends_with("HEAD.lock") { "refs/heads/main" } else { "refs/heads/x" };
            let doomed = fixture.find(reference);
            let moved = update_ref(&fixture.repo, reference, doomed.is_none().then_some(&tip), doomed.as_ref(), "x");
            if lock.ends_with("packed-refs.lock") && doomed.is_none() {
                moved.expect("making a ref needs no packed refs");
            } else {
                let named = matches!(&moved, Err(WorktreeError::Locked { lock: named }) if *named == lock);
                assert!(named, "{}: {moved:?}", lock.display());
            }
            std::fs::remove_file(&lock).expect("given up");
        }
        // Whoever holds it gives it up when it is heard that somebody waits.
        let lock = fixture.repo.common_dir.join("refs/heads/x.lock");
        std::fs::write(&lock, "").expect("held");
        fixture.repo.patience.limit = Duration::from_secs(60);
        fixture.repo.patience.tell = Arc::new(|lock| std::fs::remove_file(lock).expect("given up"));
        let doomed = fixture.find("refs/heads/x");
        let new = doomed.is_none().then_some(&tip);
        update_ref(&fixture.repo, "refs/heads/x", new, doomed.as_ref(), "x").expect("it was waited for");
    }
}

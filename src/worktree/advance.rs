//! Apply: moves a branch by compare-and-swap and brings the worktrees along that have it checked out.
//!
//! For each such worktree git's own `index.lock` is taken, as a copy of its index, and held from the check until the
//! updated copy is renamed over the index. Local changes are never touched: if one is in the way, nothing moves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkouts::{self, Checkout};
use super::error::{Result, WorktreeError};
use super::import::{changes, update_ref};
use super::in_the_way::{Present, in_the_way};
use super::repository::{Repository, bytes_path};
use super::result_policy::RawChange;
use crate::model::{BranchName, CommitId};
use crate::sys::fs;
use crate::sys::git::GitCommand;

/// A branch that is to move.
#[derive(Clone, Debug)]
pub struct Advance<'a> {
    /// The branch.
    pub branch: &'a BranchName,
    /// Where it must be.
    pub from: &'a CommitId,
    /// Where it goes.
    pub to: &'a CommitId,
    /// For the reflog.
    pub message: &'a str,
    /// How long to wait for a lock of git's.
    pub lock_wait: Duration,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a branch may not have moved"]
pub enum Advanced {
    /// It moved, and every checkout with it.
    Done,
    /// It was somewhere else; nothing moved.
    Raced,
    /// Something of the user's is in the way; nothing moved.
    InTheWay {
        /// One sentence.
        message: String,
        /// The files.
        paths: Vec<String>,
    },
    /// A lock of git's was held for longer than the wait; nothing moved.
    Busy {
        /// The lock file.
        lock: PathBuf,
    },
}

/// Moves the branch, or says why not.
pub fn advance(repo: &Repository, request: &Advance<'_>) -> Result<Advanced> {
    let usage = checkouts::branch_use(repo, request.branch)?;
    if let Some((place, operation)) = usage.held.first() {
        let message = format!("`{}` is in the middle of {operation} in {}", request.branch, place.display());
        return Ok(Advanced::InTheWay { message, paths: Vec::new() });
    }
    let deadline = Instant::now() + request.lock_wait;
    let moving = changes(repo.bare([] as [&str; 0]), request.from, request.to)?.raw;
    let mut held = Vec::new();
    for checkout in usage.checkouts.iter().filter(|checkout| checkout.tree.as_deref().is_some_and(Path::is_dir)) {
        let Some(lock) = IndexLock::take(repo, checkout, deadline)? else {
            return Ok(Advanced::Busy { lock: checkout.git_dir.join("index.lock") });
        };
        if let Some(refusal) = lock.refuse(request, &moving)? {
            return Ok(refusal);
        }
        held.push(lock);
    }
    let moved = update_ref(repo, &request.branch.full_ref(), Some(request.to), Some(request.from), request.message);
    match moved {
        Ok(()) => {}
        Err(WorktreeError::Busy { .. }) => return Ok(Advanced::Raced),
        Err(error) => return Err(error),
    }
    for lock in held {
        lock.update(request)?;
    }
    Ok(Advanced::Done)
}

/// A worktree whose index is locked by us; dropping it gives the lock up and leaves the index as it was.
struct IndexLock<'a> {
    repo: &'a Repository,
    git_dir: PathBuf,
    tree: PathBuf,
    lock: PathBuf,
    installed: bool,
}

impl<'a> IndexLock<'a> {
    fn take(repo: &'a Repository, checkout: &Checkout, deadline: Instant) -> Result<Option<Self>> {
        let Some(tree) = checkout.tree.clone() else { return Ok(None) };
        let (index, lock) = (checkout.git_dir.join("index"), checkout.git_dir.join("index.lock"));
        let mut pause = Duration::from_millis(5);
        loop {
            // Created first, filled then: from the moment it exists no git process writes the index.
            match fs::write_new(&lock, b"") {
                Ok(()) => break,
                Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                Err(_) if Instant::now() >= deadline => return Ok(None),
                // git's lock files give no event when they go; git itself waits for them in the same way.
                Err(_) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        let taken = IndexLock { repo, git_dir: checkout.git_dir.clone(), tree, lock, installed: false };
        if fs::exists(&index)? {
            fs::copy_keeping_time(&index, &taken.lock)?;
        }
        Ok(Some(taken))
    }

    fn git<const N: usize>(&self, args: [&str; N]) -> GitCommand {
        self.repo.git.tree(&self.git_dir, &self.tree, args).env("GIT_INDEX_FILE", &self.lock)
    }

    fn refuse(&self, request: &Advance<'_>, moving: &[RawChange]) -> Result<Option<Advanced>> {
        // Exit 1 means that files differ, which is what is asked about next.
        self.git(["update-index", "-q", "--refresh"]).output()?;
        let staged = self.git(["diff-index", "--cached", "-z", "--name-only", request.from.as_str(), "--"]).run()?;
        let unstaged = self.git(["diff-files", "-z", "--name-only"]).run()?;
        let local: BTreeSet<Vec<u8>> = staged.records().chain(unstaged.records()).map(<[u8]>::to_vec).collect();
        let blocked = in_the_way(moving, &local, |path| present(&self.tree, path));
        let place = self.tree.display();
        if !blocked.is_empty() {
            let message = format!("local changes in {place} are in the way of `{}`", request.branch);
            let paths = blocked.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
            return Ok(Some(Advanced::InTheWay { message, paths }));
        }
        let (from, to) = (request.from.as_str(), request.to.as_str());
        let dry_run = self.git(["read-tree", "-m", "-u", "-n", from, to]).output()?;
        if dry_run.status.success() {
            return Ok(None);
        }
        let message = format!("git cannot move {place}: {}", String::from_utf8_lossy(&dry_run.stderr).trim());
        Ok(Some(Advanced::InTheWay { message, paths: Vec::new() }))
    }

    fn update(mut self, request: &Advance<'_>) -> Result<()> {
        self.git(["read-tree", "-m", "-u", request.from.as_str(), request.to.as_str()]).run()?;
        let index = self.git_dir.join("index");
        std::fs::rename(&self.lock, &index).map_err(fs::at("replace", &index))?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for IndexLock<'_> {
    fn drop(&mut self) {
        if !self.installed
            && let Err(error) = fs::remove_file(&self.lock)
        {
            tracing::warn!(lock = %self.lock.display(), %error, "an index lock stays behind");
        }
    }
}

fn present(tree: &Path, path: &[u8]) -> Present {
    use std::os::unix::ffi::OsStrExt;
    let full = tree.join(bytes_path(path));
    match std::fs::symlink_metadata(&full) {
        Err(_) => Present::Nothing,
        Ok(meta) if !meta.is_dir() => Present::File,
        Ok(_) => {
            let entries =
                walkdir::WalkDir::new(&full).follow_links(false).into_iter().filter_map(std::result::Result::ok);
            let files = entries
                .filter(|entry| !entry.file_type().is_dir())
                .filter_map(|entry| Some(entry.path().strip_prefix(tree).ok()?.as_os_str().as_bytes().to_vec()));
            Present::Directory(files.collect())
        }
    }
}

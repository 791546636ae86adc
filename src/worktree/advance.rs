//! Apply: moves a branch by compare-and-swap and brings the worktrees along that have it checked out.
//!
//! For each such worktree git's own `index.lock` is taken and held from the check until the files are moved. Local changes
//! are never touched: if one is in the way, nothing moves. What a dead process began is completed by [`super::resume`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkouts::{self, Checkout};
use super::error::{Result, WorktreeError};
use super::hooks;
use super::import::{RefChange, changes, update_ref_with};
use super::index_lock::{IndexLock, Obstacle};
use super::repository::Repository;
use crate::model::cause::chain;
use crate::model::{BranchName, CommitId};

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
    InTheWay(Obstacle),
    /// A lock of git's was held for longer than the wait; nothing moved.
    Busy {
        /// The lock file.
        lock: PathBuf,
    },
    /// The branch moved, and the files of a checkout could not be brought along: a full disk, say. `resume` completes it.
    Behind {
        /// Which, and why.
        message: String,
    },
}

/// Moves the branch, or says why not.
pub fn advance(repo: &Repository, request: &Advance<'_>) -> Result<Advanced> {
    advance_with(repo, request, &[])
}

/// The same, with other refs that move in the transaction that moves the branch. Where git fails after that has moved, they are what
/// the caller has to look after.
pub fn advance_with(repo: &Repository, request: &Advance<'_>, also: &[RefChange]) -> Result<Advanced> {
    let usage = checkouts::branch_use(repo, request.branch)?;
    if let Some((place, operation)) = usage.held.first() {
        let message = format!("`{}` is in the middle of {operation} in {}", request.branch, place.display());
        return Ok(Advanced::InTheWay(Obstacle { message, paths: Vec::new() }));
    }
    if let Some(tree) = usage.checkouts.iter().filter_map(|c| c.tree.as_deref()).find(|tree| !tree.is_dir()) {
        // On a disk that is not there, say: when it comes back its files would be behind the branch, and look changed.
        let message = format!(
            "`{}` is checked out in {}, which is not there; if it is gone for good: git worktree prune",
            request.branch,
            tree.display()
        );
        return Ok(Advanced::InTheWay(Obstacle { message, paths: Vec::new() }));
    }
    let deadline = Instant::now() + request.lock_wait;
    let checkouts: Vec<(&Checkout, &Path)> = present(&usage.checkouts).collect();
    let moving = match checkouts.is_empty() {
        true => Vec::new(),
        false => changes(repo.bare([] as [&str; 0]), request.from, request.to)?.raw,
    };
    let mut held = Vec::new();
    for (checkout, tree) in checkouts {
        let Some(mut lock) = IndexLock::take(repo, &checkout.git_dir, tree, deadline)? else {
            return Ok(Advanced::Busy { lock: checkout.git_dir.join("index.lock") });
        };
        // Where another one moved it while this one waited for the lock, its files are no local changes.
        if repo.reader().ref_commit(&request.branch.full_ref())?.as_ref() != Some(request.from) {
            return Ok(Advanced::Raced);
        }
        if let Some(obstacle) = lock.obstacle(request.from, request.to, &moving)? {
            return Ok(Advanced::InTheWay(obstacle));
        }
        held.push(lock);
    }
    let (new, expected) = (Some(request.to.clone()), Some(request.from.clone()));
    let branch = RefChange { reference: request.branch.full_ref(), new, expected };
    let moved = update_ref_with(repo, &branch, also, request.message, deadline);
    match moved {
        Ok(()) => {}
        Err(WorktreeError::Busy { .. }) => return Ok(Advanced::Raced),
        Err(WorktreeError::Locked { lock }) => return Ok(Advanced::Busy { lock }),
        Err(error) => return Err(error),
    }
    let mut behind = Vec::new();
    for lock in held {
        let (git_dir, tree) = (lock.git_dir().to_owned(), lock.tree().to_owned());
        match lock.update(request.from, request.to) {
            Ok(()) => hooks::post_merge(repo, &git_dir, &tree),
            Err(error) => {
                let message = format!("the files in {} are behind `{}`", tree.display(), request.branch);
                behind.push(format!("{message}: {}", chain(&error)));
            }
        }
    }
    Ok(if behind.is_empty() { Advanced::Done } else { Advanced::Behind { message: behind.join("; ") } })
}

/// The checkouts whose directory is there.
pub(super) fn present(checkouts: &[Checkout]) -> impl Iterator<Item = (&Checkout, &Path)> {
    let there = |checkout: &&Checkout| checkout.tree.as_deref().is_some_and(Path::is_dir);
    checkouts.iter().filter(there).filter_map(|checkout| Some((checkout, checkout.tree.as_deref()?)))
}

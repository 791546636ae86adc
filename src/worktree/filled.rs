//! Apply: the files of a new worktree, which is registered and has none: those of a slot that is ready, or written in process where that is
//! all there is to do, else by git.
//!
//! How they got there, and why so, is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{Result, WorktreeError};
use super::pool::claim::{Claim, claim};
use super::pool::wanted;
use super::repository::{Repository, bytes_path};
use crate::model::CommitId;
use crate::model::record::Filled;
use crate::sys::fs;
use crate::sys::git::GitCommand;
use crate::sys::git::fill::{BY_GIT, Beside, Fill, Place, fill};
use crate::sys::interrupt::Held;

/// A worktree that has no files yet.
pub(super) struct Empty<'a> {
    /// The git dir whose objects it is made of.
    pub(super) git_dir: &'a Path,
    /// Where it is.
    pub(super) tree: &'a Path,
    /// What it is to have.
    pub(super) commit: &'a CommitId,
    /// A git command in it.
    pub(super) git: &'a (dyn Fn(&[&str]) -> GitCommand + Sync),
    /// What lies beside its tree, where that is known.
    pub(super) beside: Option<&'a Beside<'a>>,
    /// The next worktree may well be of the same commit.
    pub(super) counts: bool,
    /// The signals that end it.
    pub(super) held: Option<&'a Held>,
}

/// Has the files there.
pub(super) fn write(repo: &Repository, empty: &Empty<'_>) -> Result<Filled> {
    let Empty { git_dir, tree, commit, git, beside, held, .. } = *empty;
    let came = AtomicU32::new(0);
    // Whoever asks obeys it: each is told once. One that cannot be heard now is heard afterwards.
    let called_off = || {
        let signal = held.and_then(|held| held.noticed().ok().flatten());
        signal.is_some_and(|signal| came.swap(signal, Ordering::Relaxed) == 0)
    };
    let (admin, by_git, called_off) = (&admin_of(tree)?, Some(&BY_GIT[..]), &called_off);
    let place = Place { git_dir, admin, tree, git, beside, by_git, called_off };
    let filled = by_slot_or_written(repo, &place, commit);
    // Whatever else became of it at the same moment.
    if let signal @ 1.. = came.load(Ordering::Relaxed) {
        return Err(WorktreeError::Interrupted { signal });
    }
    let filled = filled?;
    tracing::debug!(tree = %tree.display(), filled.strategy, filled.why, "its files are there");
    if empty.counts {
        wanted::used(repo, commit);
    }
    Ok(filled)
}

fn by_slot_or_written(repo: &Repository, place: &Place<'_>, commit: &CommitId) -> Result<Filled> {
    let no_slot = match claim(repo, place, commit) {
        Claim::Done(why) => return Ok(Filled { strategy: "slot".into(), why }),
        Claim::Not(why) => why,
        Claim::CalledOff => return Err(WorktreeError::Interrupted { signal: 0 }),
    };
    match fill(place, repo.git.version(), commit)? {
        Fill::Done { .. } => Ok(Filled { strategy: "checkout".into(), why: no_slot }),
        Fill::CalledOff => Err(WorktreeError::Interrupted { signal: 0 }),
        Fill::Git(why) => {
            (place.git)(&BY_GIT).run()?;
            Ok(Filled { strategy: "git-worktree".into(), why })
        }
    }
}

/// The worktree's own part of the git dir, as git has just written down where that is.
pub(super) fn admin_of(tree: &Path) -> Result<PathBuf> {
    let link = tree.join(".git");
    let text = std::fs::read(&link).map_err(fs::at("read", &link))?;
    Ok(tree.join(bytes_path(text.strip_prefix(b"gitdir: ").unwrap_or(&text).trim_ascii_end())))
}

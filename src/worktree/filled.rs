//! Apply: the files of a new worktree, which is registered and has none: written in process where that is all there is to do, else by git.
//!
//! How they got there is told by a name: `checkout` or `git-worktree`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{Result, WorktreeError};
use super::repository::{Repository, bytes_path};
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::GitCommand;
use crate::sys::git::fill::{BY_GIT, Fill, Place, fill};
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
    /// The signals that end it.
    pub(super) held: Option<&'a Held>,
}

/// Writes the files; by what.
pub(super) fn write(repo: &Repository, empty: &Empty<'_>) -> Result<&'static str> {
    let Empty { git_dir, tree, commit, git, held } = *empty;
    let came = AtomicU32::new(0);
    // Whoever asks obeys it: each is told once. One that cannot be heard now is heard afterwards.
    let called_off = || {
        let signal = held.and_then(|held| held.noticed().ok().flatten());
        signal.is_some_and(|signal| came.swap(signal, Ordering::Relaxed) == 0)
    };
    let place = Place { git_dir, admin: &admin_of(tree)?, tree, git, called_off: &called_off };
    let filled = fill(&place, repo.git.version(), commit);
    // Whatever else became of it at the same moment.
    if let signal @ 1.. = came.load(Ordering::Relaxed) {
        return Err(WorktreeError::Interrupted { signal });
    }
    match filled? {
        Fill::Done { .. } => return Ok("checkout"),
        Fill::CalledOff => return Err(WorktreeError::Interrupted { signal: 0 }),
        Fill::Git(why) => tracing::debug!(tree = %tree.display(), why, "git checks out"),
    }
    git(&BY_GIT).run()?;
    Ok("git-worktree")
}

/// The worktree's own part of the git dir, as git has just written down where that is.
fn admin_of(tree: &Path) -> Result<PathBuf> {
    let link = tree.join(".git");
    let text = std::fs::read(&link).map_err(fs::at("read", &link))?;
    Ok(tree.join(bytes_path(text.strip_prefix(b"gitdir: ").unwrap_or(&text).trim_ascii_end())))
}

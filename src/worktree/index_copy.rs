//! Looking at a plain worktree as it is, through a copy of its index, so that looking leaves the real one alone.
//!
//! What flags hide from git (assume-unchanged, skip-worktree) is seen here. `rm`, `clean`, `diff` and `ls` all look this way,
//! so that none of them calls clean what another one would save.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::Result;
use super::exact;
use super::repository::Repository;
use crate::sys::fs;
use crate::sys::git::GitCommand;

/// A copy of a worktree's index.
pub struct IndexCopy<'a> {
    repo: &'a Repository,
    git_dir: &'a Path,
    tree: &'a Path,
    index: PathBuf,
}

impl<'a> IndexCopy<'a> {
    /// Copies the index into this directory.
    pub fn take(repo: &'a Repository, git_dir: &'a Path, tree: &'a Path, into: &Path) -> Result<Self> {
        let (current, index) = (git_dir.join("index"), into.join("index"));
        if fs::exists(&current)? {
            fs::copy_keeping_time(&current, &index)?;
        }
        Ok(IndexCopy { repo, git_dir, tree, index })
    }

    /// A git command in the worktree, with the copy as its index.
    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        let command = self.repo.git.tree(self.git_dir, self.tree, exact::SETTINGS).args(args);
        command.env("GIT_INDEX_FILE", &self.index)
    }

    /// Takes off the flags that hide changed files from git.
    pub fn unhide(&self) -> Result<()> {
        let listed = self.git(exact::LIST).run()?;
        exact::unhide(&listed, self.tree, |args| self.git(args))
    }
}

/// Paths with uncommitted changes, untracked ones included, files that flags hide from git included.
pub fn dirty_paths(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<Vec<String>> {
    let temp = repo.scratch()?;
    let copy = IndexCopy::take(repo, git_dir, tree, temp.path())?;
    copy.unhide()?;
    let args = ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=none", "--no-renames"];
    let output = copy.git(args).run()?;
    let path = |record: &[u8]| String::from_utf8_lossy(record.get(3..).unwrap_or_default()).into_owned();
    Ok(output.records().map(path).collect())
}

/// Whether [`dirty_paths`] names any: asked first of git as the person set it up, and in full only when flags may hide files.
pub fn is_dirty(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<bool> {
    let args = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=none"];
    if !repo.git.tree(git_dir, tree, args).run()?.stdout.is_empty() {
        return Ok(true);
    }
    let listed = repo.git.tree(git_dir, tree, exact::LIST).run()?;
    Ok(exact::hides(&listed) && !dirty_paths(repo, git_dir, tree)?.is_empty())
}

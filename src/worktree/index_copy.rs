//! Looking at a plain worktree as it is, through a copy of its index, so that looking leaves the real one alone.
//!
//! What flags hide from git (assume-unchanged, skip-worktree) is seen here. `rm`, `clean`, `diff` and `ls` all look this way,
//! so that none of them calls clean what another one would save. git itself is kept out of submodules (see `gitlinks`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Result, WorktreeError};
use super::exact;
use super::gitlinks::{self, KEEP_OUT};
use super::repository::Repository;
use crate::model::CommitId;
use crate::sys::footprint::trap;
use crate::sys::fs;
use crate::sys::git::{GitCommand, IndexFacts, index_facts};

/// A copy of a worktree's index.
pub struct IndexCopy<'a> {
    repo: &'a Repository,
    git_dir: &'a Path,
    tree: &'a Path,
    index: PathBuf,
}

impl<'a> IndexCopy<'a> {
    /// Copies the index into this directory. A worktree in which git would wait for ever is refused.
    pub fn take(repo: &'a Repository, git_dir: &'a Path, tree: &'a Path, into: &Path) -> Result<Self> {
        require_no_trap(tree)?;
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

    /// The copy.
    pub fn file(&self) -> &Path {
        &self.index
    }

    /// Takes off the flags that hide changed files from git.
    pub fn unhide(&self) -> Result<()> {
        let listed = self.git(exact::LIST).run()?;
        exact::unhide(&listed, self.tree, |args| self.git(args))
    }
}

/// Refuses what would keep git waiting for ever.
pub(super) fn require_no_trap(tree: &Path) -> Result<()> {
    match trap(tree) {
        Some(path) => {
            let path = path.display();
            let hint = format!("git would wait for it for ever; take it away: rm '{path}'");
            Err(WorktreeError::refused(format!("{path} is no file"), hint))
        }
        None => Ok(()),
    }
}

/// Paths with uncommitted changes, untracked ones included, files that flags hide from git included.
pub fn dirty_paths(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<Vec<String>> {
    let temp = repo.scratch()?;
    let copy = IndexCopy::take(repo, git_dir, tree, temp.path())?;
    copy.unhide()?;
    let args = ["status", "--porcelain=v1", "-z", "--untracked-files=all", KEEP_OUT, "--no-renames"];
    let output = copy.git(args).run()?;
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let mut paths: Vec<String> = output.records().map(|record| text(record.get(3..).unwrap_or_default())).collect();
    for submodule in gitlinks::changed(repo, git_dir, tree, facts(git_dir)?.as_ref())? {
        let path = text(&submodule.path);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What kinds of uncommitted changes a worktree has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dirt {
    /// In the index.
    pub staged: bool,
    /// In the files, against the index; files that flags hide from git included.
    pub modified: bool,
    /// Files that git does not know.
    pub untracked: bool,
    /// Files in conflict.
    pub conflicted: bool,
}

impl Dirt {
    /// True when there is none.
    pub fn is_clean(self) -> bool {
        self == Dirt::default()
    }

    /// As `git status --porcelain=v1` tells: two letters, a space, a path.
    fn add(&mut self, record: &[u8]) {
        match record.get(..2) {
            Some(b"??") => self.untracked = true,
            Some(b"DD" | b"AA" | [b'U', _] | [_, b'U']) => self.conflicted = true,
            Some([index, file]) => {
                self.staged |= *index != b' ';
                self.modified |= *file != b' ';
            }
            _ => {}
        }
    }
}

/// What a worktree's index says; `None` where git has to be asked.
fn facts(git_dir: &Path) -> Result<Option<IndexFacts>> {
    let index = git_dir.join("index");
    Ok(if fs::exists(&index)? { index_facts(&index) } else { Some(IndexFacts::default()) })
}

/// What [`dirty_paths`] would name: asked first of git as the person set it up, and in full only when flags may hide files.
pub fn look(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<Dirt> {
    let args = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", KEEP_OUT, "--no-renames"];
    let mut dirt = Dirt::default();
    repo.git.tree(git_dir, tree, args).run()?.records().for_each(|record| dirt.add(record));
    let facts = facts(git_dir)?;
    for submodule in gitlinks::changed(repo, git_dir, tree, facts.as_ref())? {
        dirt.staged |= submodule.staged;
        dirt.modified |= !submodule.staged;
    }
    if dirt.is_clean() {
        let hides = match facts {
            Some(facts) => facts.hides,
            None => exact::hides(&repo.git.tree(git_dir, tree, exact::LIST).run()?),
        };
        dirt.modified = hides && !dirty_paths(repo, git_dir, tree)?.is_empty();
    }
    Ok(dirt)
}

/// A worktree whose files can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedAt {
    pub(super) git_dir: PathBuf,
    pub(super) tree: PathBuf,
    /// The commit that is checked out.
    pub(super) head: Option<CommitId>,
}

impl LookedAt {
    /// The directory of its files.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Looks for uncommitted changes; this is what takes time.
    pub fn dirt(&self, repo: &Repository) -> Result<Dirt> {
        look(repo, &self.git_dir, &self.tree)
    }
}

//! Looking at a plain worktree as it is, through a copy of its index, so that looking leaves the real one alone.
//!
//! What flags hide from git (assume-unchanged, skip-worktree) is seen here. `rm`, `clean`, `diff` and `ls` all look this way,
//! so that none of them calls clean what another one would save. git itself is kept out of submodules (see `gitlinks`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use serde::{Deserialize, Serialize};

use super::error::{Result, WorktreeError};
use super::exact;
use super::gitlinks::{self, KEEP_OUT};
use super::repository::{Repository, bytes_path};
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::fill::untouched;
use crate::sys::git::{GitCommand, GitOutput, IndexFacts, index_facts};
use crate::sys::walk::{Sizes, Walked, trap, walk};

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
        Self::copied(repo, git_dir, tree, into)
    }

    /// The same where somebody else sees to it that git does not wait.
    fn copied(repo: &'a Repository, git_dir: &'a Path, tree: &'a Path, into: &Path) -> Result<Self> {
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

    /// What git says of all files, and what a walk over the directories finds meanwhile. Where that meets what git would wait for,
    /// git is called off, and the worktree is refused.
    fn status_beside_a_walk(&self, sizes: Sizes) -> Result<(GitOutput, Walked)> {
        let at_pipe = |error: rustix::io::Errno| fs::at("make a pipe for git in", self.tree)(error.into());
        let (heard, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(at_pipe)?;
        // Open until both are done: whoever tells git that it may end must not find nobody there.
        let heard = Arc::new(heard);
        let (status, walked, called) = thread::scope(|scope| {
            let walking = scope.spawn(|| {
                let walked = walk(self.tree, sizes);
                let called = if walked.trap.is_some() { rustix::io::write(&told, b"x").map(drop) } else { Ok(()) };
                (walked, called)
            });
            let status = self.git(STATUS).unless(Arc::clone(&heard)).run();
            let (walked, called) = walking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (status, walked, called)
        });
        called.map_err(at_pipe)?;
        match &walked.trap {
            Some(trap) => Err(refused_for(trap)),
            None => Ok((status?, walked)),
        }
    }

    /// Takes off the flags that hide changed files from git.
    pub fn unhide(&self) -> Result<()> {
        let listed = self.git(exact::LIST).run()?;
        exact::unhide(&listed, self.tree, |args| self.git(args))
    }
}

/// Refuses what would keep git waiting for ever.
pub(super) fn require_no_trap(tree: &Path) -> Result<()> {
    trap(tree).map_or(Ok(()), |path| Err(refused_for(&path)))
}

fn refused_for(trap: &Path) -> WorktreeError {
    let path = trap.display();
    let hint = format!("git would wait for it for ever; take it away: rm '{path}'");
    WorktreeError::refused(format!("{path} is no file"), hint)
}

/// What one look at all files of a worktree found.
#[derive(Debug)]
pub struct Whole {
    /// Paths with uncommitted changes, untracked ones included, files that flags hide from git included.
    pub dirty: Vec<String>,
    /// Where its submodules are.
    pub submodules: Vec<PathBuf>,
    /// What a walk over its directories found.
    pub walked: Walked,
}

const STATUS: [&str; 6] = ["status", "--porcelain=v1", "-z", "--untracked-files=all", KEEP_OUT, "--no-renames"];

/// Paths with uncommitted changes, untracked ones included, files that flags hide from git included.
pub fn dirty_paths(repo: &Repository, git_dir: &Path, tree: &Path) -> Result<Vec<String>> {
    Ok(whole(repo, git_dir, tree, Sizes::Left)?.dirty)
}

/// Looks at all files, each once: git does, and beside it a walk over the directories looks for what git says nothing of. Neither is
/// needed where nothing was touched since the files were written.
pub fn whole(repo: &Repository, git_dir: &Path, tree: &Path, sizes: Sizes) -> Result<Whole> {
    if let Some(bytes) = untouched_bytes(repo, git_dir, tree, sizes)? {
        let walked = Walked { bytes, ..Walked::default() };
        return Ok(Whole { dirty: Vec::new(), submodules: Vec::new(), walked });
    }
    let temp = repo.scratch()?;
    let copy = IndexCopy::copied(repo, git_dir, tree, temp.path())?;
    let facts = facts_in(copy.file())?;
    if facts.as_ref().is_none_or(|facts| facts.hides) {
        copy.unhide()?;
    }
    let (status, walked) = copy.status_beside_a_walk(sizes)?;
    let gitlinks = match facts {
        Some(facts) => facts.gitlinks,
        None => gitlinks::recorded(&repo.git, git_dir, tree)?,
    };
    let submodules = gitlinks.iter().map(|(path, _)| bytes_path(path)).collect();
    let mut dirty: Vec<String> = status.records().map(|record| text(record.get(3..).unwrap_or_default())).collect();
    for submodule in gitlinks::changed(repo, git_dir, tree, Some(&IndexFacts { hides: false, gitlinks }))? {
        let path = text(&submodule.path);
        if !dirty.contains(&path) {
            dirty.push(path);
        }
    }
    Ok(Whole { dirty, submodules, walked })
}

/// What a worktree takes on disk in which all is as its commit says, and nothing else is there.
fn untouched_bytes(repo: &Repository, git_dir: &Path, tree: &Path, sizes: Sizes) -> Result<Option<u64>> {
    let index = git_dir.join("index");
    // Where refs are in tables, say, git has to be asked.
    let head = std::fs::read_to_string(git_dir.join("HEAD")).ok();
    let branch = head.as_deref().and_then(|head| head.strip_prefix("ref: ")).map(str::trim_end);
    let (Some(branch), true) = (branch.filter(|name| name.starts_with("refs/heads/")), fs::exists(&index)?) else {
        return Ok(None);
    };
    let reader = repo.reader();
    let Some(tip) = reader.ref_commit(branch)? else { return Ok(None) };
    Ok(untouched(tree, &index, reader.tree_of(&tip)?.as_str(), sizes)?)
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
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
    facts_in(&git_dir.join("index"))
}

fn facts_in(index: &Path) -> Result<Option<IndexFacts>> {
    Ok(if fs::exists(index)? { index_facts(index) } else { Some(IndexFacts::default()) })
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

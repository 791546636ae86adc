//! Apply: brings a sealed tree from one state to another: its files, its index and where its HEAD is.
//!
//! A state is a commit for HEAD and one with what is uncommitted on top of it, which is the first where nothing is. git works with
//! the scratch dir of a capture, never with the private one, in which files are replaced one by one beneath an open
//! directory. Nothing may run in the workspace. What is staged or not is not told apart: all that is uncommitted is unstaged, unless
//! the state has an index that was kept.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::capture::Captured;
use super::changes::capture_work;
use super::error::{Result, WorktreeError};
use super::exact;
use super::folding::folds;
use super::head::{HeadPlace, head_beneath, head_file};
use super::import::changes;
use super::in_the_way::in_the_way;
use super::index_lock::{Obstacle, present};
use super::repository::Repository;
use super::run_store::RunStore;
use super::sealed::SealedPaths;
use super::sealed_index::{self, Look};
use super::sealed_submodules::{Follower, followers, replace_index};
use super::sparse;
use crate::model::record::WorkspaceRecord;
use crate::model::sparse::Patterns;
use crate::model::{CommitId, Token};
use crate::sys::fs;
use crate::sys::git::GitCommand;
use crate::sys::standing::Processes;

/// What a sealed workspace has: its HEAD, and that with what is uncommitted on top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where HEAD is.
    pub head: CommitId,
    /// HEAD, or a commit on top of it that has everything that is not committed.
    pub work: CommitId,
    /// The name under which its index is kept; without it nothing is staged.
    pub index: Option<Token>,
}

/// A sealed workspace in which nothing runs, as it was captured.
pub struct Still<'a> {
    repo: &'a Repository,
    paths: SealedPaths,
    store: RunStore,
    sparse: Option<Patterns>,
    /// What it holds.
    pub captured: Captured,
    /// Where its HEAD is.
    pub head: CommitId,
}

impl<'a> Still<'a> {
    /// Captures a workspace, unless something runs in it.
    pub fn capture(repo: &'a Repository, record: &WorkspaceRecord) -> Result<Still<'a>> {
        let paths = SealedPaths::of_record(repo, record)?;
        if let Some(process) = Processes::scan()?.inside(&paths.enclosure).first() {
            let what = format!("workspace {}", record.name);
            let holder = format!("{} (pid {}) works in it; wait for it, or end it", process.name, process.pid);
            return Err(WorktreeError::Busy { what, holder });
        }
        let store = RunStore::at(repo, &paths.private, &record.base.commit)?;
        let captured = capture_work(repo, &paths, &record.base.commit)?;
        let head = head_beneath(&paths.git_dir, &HeadPlace::of_tree())?;
        let sparse = sparse::of_private(captured.git(), &paths.git_dir, &captured.scratch)?;
        Ok(Still { repo, paths, store, sparse, captured, head })
    }

    /// True when it has this state.
    pub fn is(&self, state: &State) -> Result<bool> {
        let tree = |commit: &CommitId| self.git(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).object_id();
        self.store.fetch(&self.repo.common_dir, &state.work)?;
        Ok(self.head == state.head && tree(&self.captured.commit)? == tree(&state.work)?)
    }

    /// Says what is in the way of another state; the objects of that are there then.
    pub fn obstacle(&self, to: &State) -> Result<Option<Obstacle>> {
        for commit in [&to.head, &to.work] {
            self.store.fetch(&self.repo.common_dir, commit)?;
        }
        // git takes ignored files for nothing.
        let raw = changes(self.git([]), &self.captured.commit, &to.work)?.raw;
        let there = |path: &[u8]| present(&self.paths.tree, path);
        let blocked = in_the_way(&raw, &BTreeSet::new(), folds(self.repo)?, there);
        if !blocked.is_empty() {
            let paths = blocked.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
            let message = format!("local changes in {} are in the way", self.paths.tree.display());
            return Ok(Some(Obstacle { message, paths }));
        }
        if let Err((message, path)) = self.followers(to)? {
            return Ok(Some(Obstacle { message, paths: vec![path.to_string_lossy().into_owned()] }));
        }
        let dry_run = self.move_files(to, &["-n"])?.output()?;
        let stderr = String::from_utf8_lossy(&dry_run.stderr).trim().to_owned();
        let message = || format!("git cannot move {}: {stderr}", self.paths.tree.display());
        Ok((!dry_run.status.success()).then(|| Obstacle { message: message(), paths: Vec::new() }))
    }

    /// Brings it to another state. HEAD is last: as long as it is where it was, it is not done.
    pub fn move_to(&self, to: &State) -> Result<()> {
        let private = &self.paths.git_dir;
        let reference = head_file(private, &HeadPlace::of_tree())?;
        let followers = self.followers(to)?;
        self.move_files(to, &[])?.run()?;
        for follower in followers.unwrap_or_default() {
            follower.follow()?;
        }
        self.sparse(to)?.args(["read-tree", "-m", "--no-recurse-submodules", to.head.as_str()]).run()?;
        replace_index(&self.captured.scratch, private, "worktrees/wt".as_ref())?;
        if let Some(name) = &to.index {
            self.with_index(|look| sealed_index::put_back(&self.paths, look, name))?;
        }
        let line = |commit: &CommitId| format!("{commit}\n").into_bytes();
        fs::write_beneath(private, "worktrees/wt/ORIG_HEAD".as_ref(), &line(&self.head), None)?;
        fs::write_beneath(private, &reference, &line(&to.head), None)?;
        Ok(())
    }

    /// Keeps its index for a state to come back to.
    pub fn keep_index(&self) -> Result<Option<Token>> {
        self.with_index(|look| sealed_index::keep(&self.paths, look, &self.head))
    }

    fn with_index<T>(&self, act: impl FnOnce(&Look<'_>) -> Result<T>) -> Result<T> {
        let git = |args: &[&str]| self.git(args.iter().copied());
        act(&Look { scratch: &self.captured.scratch, git: &git })
    }

    fn followers(&self, to: &State) -> Result<std::result::Result<Vec<Follower>, (String, PathBuf)>> {
        followers(self.repo, &self.paths, &self.store, &self.captured, &to.work)
    }

    fn move_files(&self, to: &State, flags: &[&str]) -> Result<GitCommand> {
        let command = self.sparse(to)?.args(["read-tree", "-m", "-u", "--no-recurse-submodules"]).args(flags);
        Ok(command.args([self.captured.commit.as_str(), to.work.as_str()]))
    }

    /// A git that leaves out of the tree what is not there, where that is sparse. What somebody works on is there wherever it is: git
    /// would take it away as if it were tracked.
    fn sparse(&self, to: &State) -> Result<GitCommand> {
        let Some(patterns) = &self.sparse else { return Ok(self.git([])) };
        let between = |head: &CommitId, work: &CommitId| {
            let diff = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", head.as_str(), work.as_str()];
            self.git(diff).run()
        };
        let (before, after) = (between(&self.head, &self.captured.commit)?, between(&to.head, &to.work)?);
        let patterns = patterns.with(before.records().chain(after.records()));
        sparse::put(&patterns, &self.captured.scratch)?;
        Ok(self.git([]).args(sparse::flags(&patterns)))
    }

    fn git<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> GitCommand {
        let command = self.captured.git().tree(&self.captured.scratch, &self.paths.tree, exact::SETTINGS);
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_LFS_SKIP_DOWNLOAD_ERRORS", "1").args(args)
    }
}

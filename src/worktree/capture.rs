//! Capture: everything that a sealed workspace holds becomes one commit, its own commits kept beneath.
//!
//! git runs with a scratch git dir of treehand's own (its configuration, no refs) and a copy of the workspace's index;
//! the private dir's configuration, hooks and refs are never read by git. Staged, unstaged and untracked files count,
//! ignore rules are respected, bytes are taken as the user's own git would take them. Flags that hide files from git (assume-unchanged,
//! skip-worktree) are taken off first. The captured commit lies in the scratch dir until it is imported.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::conversion;
use super::error::{Result, WorktreeError};
use super::exact;
use super::head::sealed_head;
use super::quarantine::{copy_shallow, object_format, write_bare_skeleton};
use super::repository::Repository;
use super::sealed::{Identity, SealedPaths};
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::GitCommand;

/// Largest index that is taken over: some four million files.
const INDEX_MAX: u64 = 512 << 20;

/// A captured commit and where its objects are.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The commit; equal to the base when nothing changed.
    pub commit: CommitId,
    /// The scratch git dir that reaches its objects.
    pub scratch: PathBuf,
}

/// What the capture is made with.
#[derive(Clone, Debug)]
pub struct CaptureRequest<'a> {
    /// The object directories that were lent to the workspace.
    pub lenders: &'a [PathBuf],
    /// Author and committer of what lay uncommitted.
    pub identity: &'a Identity,
    /// Message of the commit that takes what lay uncommitted.
    pub message: &'a str,
}

/// The commits that a workspace's HEAD has, for one whose tree is gone.
pub fn capture_commits(repo: &Repository, paths: &SealedPaths, lenders: &[PathBuf]) -> Result<Captured> {
    let (commit, scratch) = open_scratch(repo, paths, lenders)?;
    Ok(Captured { commit, scratch })
}

/// A scratch dir that reaches what HEAD names, and that commit.
fn open_scratch(repo: &Repository, paths: &SealedPaths, lenders: &[PathBuf]) -> Result<(CommitId, PathBuf)> {
    let head = sealed_head(paths)?;
    let scratch = paths.private.join("capture.git");
    fs::remove_tree(&scratch)?;
    let mut alternates = vec![paths.git_dir.join("objects")];
    alternates.extend_from_slice(lenders);
    write_bare_skeleton(&scratch, object_format(&head), &alternates, &conversion::settings(repo)?)?;
    if let Some(lender) = lenders.first().and_then(|objects| objects.parent()) {
        copy_shallow(lender, &scratch)?;
    }
    conversion::copy_info(repo, &scratch)?;
    Ok((head, scratch))
}

/// Captures a workspace in which nothing runs any more.
pub fn capture(repo: &Repository, paths: &SealedPaths, request: &CaptureRequest<'_>) -> Result<Captured> {
    let (head, scratch) = open_scratch(repo, paths, request.lenders)?;
    let git = Scratch { repo, paths, dir: &scratch };
    let head_tree = git.bare(["rev-parse", "--verify", "--end-of-options", &format!("{head}^{{tree}}")]).object_id();
    let head_tree =
        head_tree.map_err(|error| bad(format!("the workspace's HEAD {head} is not a whole commit: {error}")))?;
    git.take_index(&head)?;
    git.unhide()?;
    let hint = "git cannot take in what the workspace holds";
    git.tree(["add", "--all", "--", "."]).run().map_err(|error| bad(format!("{hint}: {error}")))?;
    let tree = git.tree(["write-tree"]).object_id().map_err(|error| bad(format!("{hint}: {error}")))?;
    let commit = if tree == head_tree { head } else { git.commit(&tree, &head, request)? };
    Ok(Captured { commit, scratch })
}

struct Scratch<'a> {
    repo: &'a Repository,
    paths: &'a SealedPaths,
    dir: &'a Path,
}

impl Scratch<'_> {
    fn bare<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        self.repo.git.bare(self.dir, args).env("GIT_NO_REPLACE_OBJECTS", "1")
    }

    fn tree<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        let command = self.repo.git.tree(self.dir, &self.paths.tree, exact::SETTINGS);
        command.env("GIT_NO_REPLACE_OBJECTS", "1").args(args)
    }

    /// Takes over the workspace's index: it knows what was staged by force, and its stat data saves reading every file.
    fn take_index(&self, head: &CommitId) -> Result<()> {
        let shared = std::fs::read_dir(&self.paths.admin).map_err(fs::at("read", &self.paths.admin))?;
        for entry in shared {
            let name = entry.map_err(fs::at("read", &self.paths.admin))?.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("sharedindex.")) {
                self.copy_admin(&name)?;
            }
        }
        if self.copy_admin(OsStr::new("index"))? {
            return Ok(());
        }
        self.tree(["read-tree", head.as_str()]).run()?;
        Ok(())
    }

    fn copy_admin(&self, name: &OsStr) -> Result<bool> {
        let relative = Path::new("worktrees/wt").join(name);
        let copied = fs::copy_beneath(&self.paths.git_dir, &relative, &self.dir.join(name), INDEX_MAX);
        copied.map_err(|error| bad(format!("{error}: {}", error.source)))
    }

    /// Takes off the flags that hide changed files.
    fn unhide(&self) -> Result<()> {
        let listed = self.tree(exact::LIST).run();
        let listed = listed.map_err(|error| bad(format!("the workspace's index cannot be read: {error}")))?;
        exact::unhide(&listed, &self.paths.tree, |args| self.tree(args))
    }

    fn commit(&self, tree: &CommitId, parent: &CommitId, request: &CaptureRequest<'_>) -> Result<CommitId> {
        let Identity { name, email } = request.identity;
        let command = self.bare(["commit-tree", tree.as_str(), "-p", parent.as_str()]);
        let command = command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", email);
        let command = command.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", email);
        Ok(command.stdin(request.message).object_id()?)
    }
}

fn bad(message: impl Into<String>) -> WorktreeError {
    WorktreeError::BadResult { message: message.into(), paths: Vec::new() }
}

//! Capture: everything that a sealed workspace holds becomes one commit, its own commits kept beneath.
//!
//! git runs with a scratch git dir of treehand's own (its configuration, no refs) and a copy of the workspace's index;
//! the private dir's configuration, hooks and refs are never read by git. Staged, unstaged and untracked files count,
//! ignore rules are respected, bytes are taken as the user's own git would take them. Flags that hide files from git (assume-unchanged,
//! skip-worktree) are taken off first. The captured commit lies in the scratch dir until it is imported. What is in submodules is
//! captured in the same way, innermost first ([`super::capture_submodules`]); git never enters one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apart::{self, Apart, Touch};
use super::capture_submodules::CapturedModule;
use super::conversion;
use super::error::{Result, WorktreeError};
use super::exact;
use super::head::{HeadPlace, head_beneath};
use super::lfs_content;
use super::originals::Originals;
use super::quarantine::{alternates_file, copy_shallow, object_format, write_bare_skeleton};
use super::repository::{Repository, bytes_path};
use super::sealed::{Identity, SealedPaths};
use crate::model::{CommitId, Timestamp};
use crate::sys::git::{Git, GitCommand};
use crate::sys::walk::trap;
use crate::sys::{fs, random};

/// Largest index that is taken over: some four million files.
pub(super) const INDEX_MAX: u64 = 512 << 20;

/// Largest list of places that objects are borrowed from.
const ALTERNATES_MAX: u64 = 1 << 20;

/// Most bytes of what is excluded.
const EXCLUDE_MAX: u64 = 16 << 20;

/// A captured commit and where its objects are.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The commit; equal to the base when nothing changed.
    pub commit: CommitId,
    /// The scratch git dir that reaches its objects.
    pub scratch: PathBuf,
    /// What was captured in its submodules, inner ones before those around them.
    pub submodules: Vec<CapturedModule>,
    /// The git that may look into the scratch dir, which reaches what a task could write.
    pub apart: Arc<Apart>,
}

impl Captured {
    /// The git for the scratch dir.
    pub fn git(&self) -> &Git {
        &self.apart.git
    }
}

/// What the capture is made with.
#[derive(Clone, Debug)]
pub struct CaptureRequest<'a> {
    /// The commit that the workspace started from: its submodules are known by it.
    pub base: &'a CommitId,
    /// The object directories that were lent to the workspace.
    pub lenders: &'a [PathBuf],
    /// Author and committer of what lay uncommitted.
    pub identity: &'a Identity,
    /// Message of the commit that takes what lay uncommitted.
    pub message: &'a str,
    /// What of the workspace git may change afterwards.
    pub touch: Touch,
    /// The date of that commit: with it a capture that is done again gives the same commit. `None` is now.
    pub at: Option<Timestamp>,
    /// Patterns, as in `.gitignore`, of new files that are left out: what a program leaves that is no work.
    pub leaves: &'a [String],
}

/// The commits that a workspace's HEAD has, and those of its submodules, for one whose tree is gone.
pub fn capture_commits(
    repo: &Repository,
    paths: &SealedPaths,
    base: &CommitId,
    lenders: &[PathBuf],
) -> Result<Captured> {
    let apart = Arc::new(apart::git(repo, paths, lenders, &scratch_of(paths), Touch::Nothing)?);
    let place = Place::top(repo, &apart.git, paths, base, lenders);
    let commit = place.open()?;
    let mut submodules = Vec::new();
    place.take_commits(&mut submodules)?;
    Ok(Captured { commit, scratch: place.scratch, submodules, apart })
}

/// Captures a workspace in which nothing runs any more.
pub fn capture(repo: &Repository, paths: &SealedPaths, request: &CaptureRequest<'_>) -> Result<Captured> {
    capture_at(repo, paths, request, &scratch_of(paths))
}

/// Captures a workspace as it is, whatever runs in it, for who only looks, into a directory of its own: whoever captures it for
/// good at the same time is not disturbed. What changes meanwhile is in it or not, or makes it fail.
pub fn look<T>(
    repo: &Repository,
    paths: &SealedPaths,
    request: &CaptureRequest<'_>,
    act: impl FnOnce(&Captured) -> Result<T>,
) -> Result<T> {
    let token = random::token().map_err(WorktreeError::Random)?;
    let scratch = scratch_of(paths).join(format!("look-{}", token.as_str()));
    let looked = capture_at(repo, paths, request, &scratch).and_then(|captured| act(&captured));
    fs::remove_tree(&scratch)?;
    looked
}

fn capture_at(
    repo: &Repository,
    paths: &SealedPaths,
    request: &CaptureRequest<'_>,
    scratch: &Path,
) -> Result<Captured> {
    let apart = Arc::new(apart::git(repo, paths, request.lenders, scratch, request.touch)?);
    let place = Place {
        scratch: scratch.join("capture.git"),
        ..Place::top(repo, &apart.git, paths, request.base, request.lenders)
    };
    let mut submodules = Vec::new();
    let commit = place.capture(request, &mut submodules)?;
    Ok(Captured { commit, scratch: place.scratch, submodules, apart })
}

/// The directory of ours in which all of a capture is made.
fn scratch_of(paths: &SealedPaths) -> PathBuf {
    paths.private.join("capture")
}

/// A worktree that is captured: the workspace's own, or that of a submodule in it.
pub(super) struct Place<'a> {
    /// The git that may look at what the workspace's processes could write.
    pub(super) git: Git,
    /// Whose settings decide about bytes: the repository, or its own clone of the submodule.
    pub(super) home: Repository,
    /// `home` is a clone of what is captured, not of what is around it.
    pub(super) cloned: bool,
    /// Where the clones of its submodules are; `None` where it has no clone itself.
    pub(super) originals: Option<Originals>,
    /// The directory beneath which everything is read that the workspace's processes could write of its git dirs.
    pub(super) private: &'a Path,
    /// Its git dir, beneath that.
    pub(super) git_dir: PathBuf,
    pub(super) head: HeadPlace,
    /// Where its own objects are, beneath that.
    pub(super) objects: PathBuf,
    /// The object directories that were lent to it.
    pub(super) lenders: Vec<PathBuf>,
    /// Its files: in the tree of the workspace, and there.
    pub(super) root: &'a Path,
    pub(super) at: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) base: CommitId,
}

impl<'a> Place<'a> {
    fn top(repo: &Repository, git: &Git, paths: &'a SealedPaths, base: &CommitId, lenders: &[PathBuf]) -> Place<'a> {
        Place {
            git: git.clone(),
            home: repo.clone(),
            cloned: true,
            originals: Some(Originals::of(repo)),
            private: &paths.git_dir,
            git_dir: "worktrees/wt".into(),
            head: HeadPlace::of_tree(),
            objects: "objects".into(),
            lenders: lenders.to_owned(),
            root: &paths.tree,
            at: PathBuf::new(),
            scratch: scratch_of(paths).join("capture.git"),
            base: base.clone(),
        }
    }

    /// Makes the scratch dir, which reaches what HEAD names; that commit is the answer.
    pub(super) fn open(&self) -> Result<CommitId> {
        let head = head_beneath(self.private, &self.head)?;
        self.require_own_objects()?;
        fs::remove_tree(&self.scratch)?;
        let mut alternates = vec![self.private.join(&self.objects)];
        alternates.extend_from_slice(&self.lenders);
        write_bare_skeleton(
            &self.scratch,
            object_format(&head),
            &alternates,
            &conversion::settings_in(&self.home, &self.scratch)?,
        )?;
        if let Some(lender) = self.lenders.first().and_then(|objects| objects.parent()) {
            copy_shallow(lender, &self.scratch)?;
        }
        conversion::copy_info(&self.home, &self.scratch)?;
        Ok(head)
    }

    /// Refuses objects that are reached through something that was planted: git would read in places that the workspace's own
    /// processes may not reach, and what it finds there would come in.
    fn require_own_objects(&self) -> Result<()> {
        let alternates = self.objects.join("info/alternates");
        let elsewhere = || bad("the workspace has objects elsewhere than in its own git dir");
        if !fs::is_directory_beneath(self.private, &self.objects)? {
            return Err(elsewhere());
        }
        let borrowed = fs::read_beneath(self.private, &alternates, ALTERNATES_MAX).map_err(|_| elsewhere())?;
        let borrowed = borrowed.unwrap_or_default();
        if borrowed != alternates_file(&self.lenders) {
            // The same place may have another name by now.
            let lent = |line: &[u8]| {
                let place = bytes_path(line).canonicalize().ok();
                place.is_some() && self.lenders.iter().any(|lender| lender.canonicalize().ok() == place)
            };
            if !borrowed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(lent) {
                return Err(elsewhere());
            }
        }
        let root = self.private.join(&self.objects);
        for entry in walkdir::WalkDir::new(&root).follow_links(false) {
            let entry = entry.map_err(|error| fs::at("read", &root)(error.into()))?;
            if entry.path_is_symlink() {
                return Err(elsewhere());
            }
            if !entry.file_type().is_file() && !entry.file_type().is_dir() {
                return Err(no_file(entry.path()));
            }
        }
        Ok(())
    }

    pub(super) fn capture(
        &self,
        request: &CaptureRequest<'_>,
        submodules: &mut Vec<CapturedModule>,
    ) -> Result<CommitId> {
        let head = self.open()?;
        let head_tree = self.bare(["rev-parse", "--verify", "--end-of-options", &format!("{head}^{{tree}}")]);
        let head_tree = head_tree.object_id();
        let head_tree =
            head_tree.map_err(|error| bad(format!("the workspace's HEAD {head} is not a whole commit: {error}")))?;
        if let Some(path) = trap(&self.files()) {
            return Err(no_file(&path));
        }
        self.take_index(&head)?;
        self.unhide()?;
        self.leave_out(request.leaves)?;
        let hint = "git cannot take in what the workspace holds";
        let mut all = b".".to_vec();
        for path in self.take_submodules(request, submodules)? {
            use std::os::unix::ffi::OsStrExt;
            all.extend_from_slice(b"\0:(exclude,literal)");
            all.extend_from_slice(path.as_os_str().as_bytes());
        }
        let add = self.tree(["add", "--all", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul"]).stdin(all);
        add.run().map_err(|error| bad(format!("{hint}: {error}")))?;
        if self.at.as_os_str().is_empty() {
            lfs_content::take(&self.home, self.private, &self.scratch, |args| self.bare(args.iter().copied()))?;
        }
        let tree = self.tree(["write-tree"]).object_id().map_err(|error| bad(format!("{hint}: {error}")))?;
        if tree == head_tree { Ok(head) } else { self.commit(&tree, &head, request) }
    }

    /// Has git pass over new files that match.
    fn leave_out(&self, patterns: &[String]) -> Result<()> {
        if patterns.is_empty() {
            return Ok(());
        }
        let info = self.scratch.join("info");
        fs::create_private_dir_all(&info)?;
        let mut text = fs::read_beneath(&self.scratch, Path::new("info/exclude"), EXCLUDE_MAX)?.unwrap_or_default();
        for pattern in patterns {
            text.push(b'\n');
            text.extend_from_slice(pattern.as_bytes());
        }
        text.push(b'\n');
        Ok(fs::write_atomic(&info.join("exclude"), &text)?)
    }

    /// Its files.
    pub(super) fn files(&self) -> PathBuf {
        self.root.join(&self.at)
    }

    pub(super) fn bare<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        self.git.bare(&self.scratch, args).env("GIT_NO_REPLACE_OBJECTS", "1")
    }

    pub(super) fn tree<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        let command = self.git.tree(&self.scratch, &self.files(), exact::SETTINGS);
        command.env("GIT_NO_REPLACE_OBJECTS", "1").args(args)
    }

    /// Takes over the workspace's index: it knows what was staged by force, and its stat data saves reading every file.
    fn take_index(&self, head: &CommitId) -> Result<()> {
        let admin = self.private.join(&self.git_dir);
        let shared = std::fs::read_dir(&admin).map_err(fs::at("read", &admin))?;
        for entry in shared {
            let name = entry.map_err(fs::at("read", &admin))?.file_name();
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
        let copied = fs::copy_beneath(self.private, &self.git_dir.join(name), &self.scratch.join(name), INDEX_MAX);
        copied.map_err(|error| bad(format!("{error}: {}", error.source)))
    }

    /// Takes off the flags that hide changed files.
    fn unhide(&self) -> Result<()> {
        let listed = self.tree(exact::LIST).run();
        let listed = listed.map_err(|error| bad(format!("the workspace's index cannot be read: {error}")))?;
        exact::unhide(&listed, &self.files(), |args| self.tree(args))
    }

    fn commit(&self, tree: &CommitId, parent: &CommitId, request: &CaptureRequest<'_>) -> Result<CommitId> {
        let Identity { name, email } = request.identity;
        let command = self.bare(["commit-tree", tree.as_str(), "-p", parent.as_str()]);
        let command = command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", email);
        let command = command.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", email);
        let dates = request.at.map(|at| format!("@{} +0000", at.0.div_euclid(1000)));
        let command = dates
            .iter()
            .fold(command, |command, date| command.env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date));
        Ok(command.stdin(request.message).object_id()?)
    }
}

fn no_file(path: &Path) -> WorktreeError {
    bad(format!("{} is no file: git would wait for it for ever", path.display()))
}

pub(super) fn bad(message: impl Into<String>) -> WorktreeError {
    WorktreeError::BadResult { message: message.into(), paths: Vec::new() }
}

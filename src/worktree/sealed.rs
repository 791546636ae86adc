//! Sealed workspaces: a tree whose git dir is private to it (layout L4 of the confinement design).
//!
//! The private common dir has its own configuration, refs and objects and borrows the base's objects from a lender; the
//! tree is a linked worktree of that private dir. The main repository shows the tree in `git worktree list` through an
//! entry of its own, locked. Promises: half-made is unmade; nothing outside the box and the private dir is ever the
//! child's. The result of a sealed workspace is its HEAD commit plus what lies uncommitted in its tree.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::conversion::{self, quote};
use super::error::{Result, WorktreeError};
use super::filled::{self, Empty};
use super::quarantine::{copy_shallow, object_format, write_bare_skeleton};
use super::repository::{Repository, SIGN};
use super::run_store::content_beside;
use super::sparse;
use super::submodules::{self, Submodule};
use crate::model::record::{Filled, WorkspaceRecord};
use crate::model::sparse::Patterns;
use crate::model::{BranchName, CommitId, RunId, Submodules, TaskId};
use crate::sys::interrupt::Held;
use crate::sys::{alike, fs};

/// The private dir's configuration: nothing in it starts a program, and gc never runs behind anybody's back.
const PRIVATE_CONFIG: &str = "\thooksPath = /dev/null
\tfsmonitor = false
\tlogAllRefUpdates = true
[gc]
\tauto = 0
[maintenance]
\tauto = false
[branch]
\tautoSetupMerge = false
[commit]
\tgpgSign = false
[tag]
\tgpgSign = false
";

/// Where the parts of a sealed workspace are. Derived from names alone, so they are found again after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPaths {
    /// The box: tree, home and tmp under one directory, 0700, on the repository's file system.
    pub enclosure: PathBuf,
    /// The tree, named like the repository.
    pub tree: PathBuf,
    /// The child's home.
    pub home: PathBuf,
    /// The child's temporary directory.
    pub tmp: PathBuf,
    /// What treehand keeps of it: private git dir, capture dir.
    pub private: PathBuf,
    /// The private common git dir.
    pub git_dir: PathBuf,
    /// The tree's own git dir inside the private one.
    pub admin: PathBuf,
    /// The entry in the main repository that makes it visible.
    pub entry: PathBuf,
}

/// What is to be made.
#[derive(Clone, Debug)]
pub struct SealRequest<'a> {
    /// The commit to start from; its objects are at the lender.
    pub base: &'a CommitId,
    /// The branch inside, and its counterpart in the main repository.
    pub branch: &'a BranchName,
    /// The name under which the base is known, shown inside as a local and a remote-tracking branch.
    pub base_name: Option<&'a BranchName>,
    /// Object directories that are lent to it.
    pub lenders: &'a [PathBuf],
    /// Who commits inside, unless told otherwise.
    pub identity: &'a Identity,
    /// Why the entry is locked; `None` makes no entry (gates).
    pub lock_reason: Option<String>,
    /// Which submodules come along.
    pub submodules: Submodules,
    /// What of its files is there, where not all are.
    pub sparse: Option<&'a Patterns>,
    /// The signals that end the making of it.
    pub held: Option<&'a Held>,
}

/// Name and address of who commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

impl Identity {
    /// The user's identity as git itself resolves it; refused where git would refuse to commit.
    pub fn of_user(repo: &Repository) -> Result<Identity> {
        // Settings of the worktree one stands in count, as for git.
        let text = repo.git.bare(&repo.git_dir, ["var", "GIT_COMMITTER_IDENT"]).text().map_err(|_| {
            WorktreeError::refused(
                "git does not know who commits",
                "set user.name and user.email: git config --global user.name \"Your Name\"",
            )
        })?;
        let (name, rest) = text.split_once(" <").unwrap_or((&text, ""));
        let email = rest.split_once('>').map_or("", |(email, _)| email);
        Ok(Identity { name: name.to_owned(), email: email.to_owned() })
    }
}

impl SealedPaths {
    /// The paths of a task's workspace.
    pub fn of_task(repo: &Repository, template: &str, run: &RunId, task: &TaskId) -> Result<SealedPaths> {
        let private = repo.run_dir(run)?.join(task.as_str());
        SealedPaths::at(repo, template, &format!("{run}.{task}"), private)
    }

    /// The paths of a person's sealed workspace, around its recorded tree.
    pub fn of_record(repo: &Repository, record: &WorkspaceRecord) -> Result<SealedPaths> {
        let part = record.name.path_part();
        let private = repo.sealed_root()?.join("named").join(&part);
        let enclosure = record.path.parent().unwrap_or(&record.path).to_owned();
        let git_dir = private.join("common.git");
        Ok(SealedPaths {
            tree: record.path.clone(),
            home: enclosure.join("home"),
            tmp: enclosure.join("tmp"),
            admin: git_dir.join("worktrees/wt"),
            entry: repo.common_dir.join("worktrees").join(format!("treehand-{part}")),
            enclosure,
            private,
            git_dir,
        })
    }

    /// The paths of a sealed workspace with this path part.
    pub fn at(repo: &Repository, template: &str, part: &str, private: PathBuf) -> Result<SealedPaths> {
        let filled = repo.workspace_tree(template, part)?;
        // The default template ends in the repository's name, which is the tree; the box is what is around it.
        let enclosure = match (template.ends_with("/{repo}"), filled.parent()) {
            (true, Some(parent)) => parent.to_owned(),
            _ => filled,
        };
        let tree = enclosure.join(&repo.name);
        let git_dir = private.join("common.git");
        Ok(SealedPaths {
            home: enclosure.join("home"),
            tmp: enclosure.join("tmp"),
            admin: git_dir.join("worktrees/wt"),
            entry: repo.common_dir.join("worktrees").join(format!("treehand-{part}")),
            enclosure,
            tree,
            private,
            git_dir,
        })
    }
}

/// What a sealed workspace was made of.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// How its files got there.
    pub filled: Filled,
    /// The submodules that came along, or did not.
    pub submodules: Vec<Submodule>,
}

/// Makes a sealed workspace; on failure nothing of it is left.
pub fn create(repo: &Repository, paths: &SealedPaths, request: &SealRequest<'_>) -> Result<Sealed> {
    // First, so that who finds it later knows of a box that was being made.
    fs::create_private_dir_all(&paths.private)?;
    if let Err(error) = fs::create_private_dir_within(&paths.enclosure) {
        remove_if_empty(Some(&paths.private));
        let message = format!("{} is in the way of a workspace: {}", paths.enclosure.display(), error.source);
        return Err(WorktreeError::refused(message, "move it away, or remove it if nothing in it is needed"));
    }
    let made = fill(repo, paths, request);
    if made.is_err() {
        remove(paths)?;
    }
    made
}

fn fill(repo: &Repository, paths: &SealedPaths, request: &SealRequest<'_>) -> Result<Sealed> {
    fs::create_private_dir(&paths.home)?;
    fs::create_private_dir(&paths.tmp)?;
    // So that one who stands in the tree is in this repository.
    fs::write_new(&paths.private.join(SIGN), repo.common_dir.as_os_str().as_bytes())?;
    write_private_dir(repo, paths, request)?;
    let filled = add_tree(repo, paths, request)?;
    let store = request.lenders.first().and_then(|objects| objects.parent());
    let submodules = match (request.submodules, store) {
        (Submodules::Local, Some(store)) => submodules::bring_sealed(repo, paths, store, request.identity)?,
        _ => Vec::new(),
    };
    if let Some(reason) = &request.lock_reason {
        show(repo, paths, request.branch, reason)?;
    }
    Ok(Sealed { filled, submodules })
}

fn write_private_dir(repo: &Repository, paths: &SealedPaths, request: &SealRequest<'_>) -> Result<()> {
    let format = object_format(request.base);
    let config = private_config(repo, &paths.git_dir, request.identity)?;
    let config = config + &request.sparse.map(sparse::settings).unwrap_or_default();
    write_bare_skeleton(&paths.git_dir, format, request.lenders, &config)?;
    if let Some(lender) = request.lenders.first().and_then(|objects| objects.parent()) {
        copy_shallow(lender, &paths.git_dir)?;
    }
    conversion::copy_info(repo, &paths.git_dir)?;
    fs::create_private_dir(&paths.git_dir.join("rw"))?;
    fs::create_private_dir(&paths.git_dir.join("logs"))?;
    let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    if let Some(base) = request.base_name.filter(|base| *base != request.branch) {
        packed.push_str(&format!("{} refs/heads/{base}\n{} refs/remotes/origin/{base}\n", request.base, request.base));
    }
    fs::write_new(&paths.git_dir.join("rw/packed-refs"), packed.as_bytes())?;
    let link = paths.git_dir.join("packed-refs");
    std::os::unix::fs::symlink("rw/packed-refs", &link).map_err(fs::at("create", &link))?;
    Ok(())
}

/// The configuration of a private git dir: the user's identity, and what of the repository's settings decides about bytes.
pub(super) fn private_config(repo: &Repository, git_dir: &Path, identity: &Identity) -> Result<String> {
    let Identity { name, email } = identity;
    let user = format!("[user]\n\tname = {}\n\temail = {}\n", quote(name), quote(email));
    // The skeleton ends in `[core]` for SHA-1; naming the section again is right for both formats.
    Ok(format!("[core]\n{PRIVATE_CONFIG}{user}{}", conversion::settings_in_private(repo, git_dir)?))
}

fn add_tree(repo: &Repository, paths: &SealedPaths, request: &SealRequest<'_>) -> Result<Filled> {
    // git names the admin directory after the last part of the path: a tree called `wt` is renamed into place after.
    let staging = paths.enclosure.join("wt");
    // Taken from where it is: LFS would link it into the private dir, and a file of the user's could be written there.
    let content = request.lenders.first().and_then(|store| content_beside(store));
    let content = content.map(|place| format!("lfs.storage={}", place.display()));
    let args = content.as_ref().map(|content| ["-c", content]);
    let add = ["worktree", "add", "--quiet", "--no-checkout", "--no-track", "-b", request.branch.as_str()];
    repo.git.bare(&paths.git_dir, add).arg(&staging).arg(request.base.as_str()).run()?;
    if let Some(patterns) = request.sparse {
        sparse::put(patterns, &paths.admin)?;
    }
    // Content that LFS has nowhere near stays a pointer; what it has is there.
    let git = |more: &[&str]| {
        let command = repo.git.within(&staging, args.iter().flatten()).args(more);
        command.env("GIT_LFS_SKIP_DOWNLOAD_ERRORS", "1")
    };
    // What gates look at is a commit that nobody has yet.
    let counts = request.lock_reason.is_some();
    let (git_dir, commit, held) = (&paths.git_dir, request.base, request.held);
    let empty = Empty { git_dir, tree: &staging, commit, git: &git, beside: None, counts, held };
    let filled = filled::write(repo, &empty)?;
    std::fs::rename(&staging, &paths.tree).map_err(fs::at("move", &staging))?;
    let link = paths.tree.join(".git");
    fs::write_atomic(&paths.admin.join("gitdir"), &path_line(&link))?;
    fs::write_new(&paths.admin.join("config.worktree"), b"")?;
    Ok(filled)
}

/// A path as git's own files hold it: one line.
pub(super) fn path_line(path: &Path) -> Vec<u8> {
    let mut line = path.as_os_str().as_bytes().to_vec();
    line.push(b'\n');
    line
}

/// What the `.git` file of a worktree says when its git dir is elsewhere.
pub fn link_line(git_dir: &Path) -> Vec<u8> {
    [b"gitdir: ".to_vec(), path_line(git_dir)].concat()
}

/// Makes the tree visible in the main repository: an entry that is whole before git can see it, and locked.
fn show(repo: &Repository, paths: &SealedPaths, branch: &BranchName, reason: &str) -> Result<()> {
    let staging = paths.private.join("entry");
    fs::create_private_dir(&staging)?;
    fs::write_new(&staging.join("locked"), format!("{reason}\n").as_bytes())?;
    fs::write_new(&staging.join("HEAD"), format!("ref: {}\n", branch.full_ref()).as_bytes())?;
    fs::write_new(&staging.join("commondir"), b"../..\n")?;
    fs::write_new(&staging.join("gitdir"), &path_line(&paths.tree.join(".git")))?;
    let tables = repo.common_dir.join("reftable").is_dir();
    if tables {
        fs::create_private_dir(&staging.join("reftable"))?;
    }
    fs::while_emptied(|| {
        // As open as git would make it where a group shares the repository.
        alike::create_dir_all(&repo.common_dir.join("worktrees"))?;
        fs::move_path(&staging, &paths.entry)
    })?;
    if tables {
        // Where refs are in tables git reads no file HEAD; without one of its own the entry would be broken in its eyes.
        repo.git.bare(&paths.entry, ["symbolic-ref", "HEAD", &branch.full_ref()]).run()?;
    }
    Ok(())
}

/// Removes every part of a sealed workspace whose work is safe elsewhere. Absent parts are fine.
pub fn remove(paths: &SealedPaths) -> Result<()> {
    fs::remove_tree(&paths.entry)?;
    fs::remove_tree(&paths.enclosure)?;
    fs::remove_tree(&paths.private)?;
    remove_if_empty(paths.enclosure.parent());
    Ok(())
}

/// True when the private dir of a workspace says that what is at its place is ours.
pub fn is_signed(paths: &SealedPaths) -> Result<bool> {
    Ok(fs::exists(&paths.private.join(SIGN))?)
}

/// Removes a workspace that is not signed: it was being made, and its box is empty, or it was being removed, and its box is gone.
/// An error when there is anything in the box.
pub fn remove_unsigned(paths: &SealedPaths) -> Result<()> {
    for directory in [&paths.home, &paths.tmp, &paths.enclosure] {
        match std::fs::remove_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(fs::at("remove", directory))?,
        }
    }
    Ok(fs::remove_tree(&paths.private)?)
}

/// Removes the directory that held workspaces when the last one is gone; anything in it keeps it.
pub fn remove_if_empty(dir: Option<&Path>) {
    if let Some(dir) = dir
        && let Err(error) = std::fs::remove_dir(dir)
    {
        tracing::trace!(dir = %dir.display(), %error, "kept");
    }
}

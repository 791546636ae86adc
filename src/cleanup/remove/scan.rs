//! Scan: the facts on which the removal of a workspace is decided.
//!
//! Looks and changes nothing: the worktree's index is read through a copy. git is never run in a sealed tree. What cannot be
//! looked at is an error, never absence.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::decide::{BranchFact, DirId, RemoveFacts, TreeFact};
use crate::cleanup::error::Result;
use crate::cleanup::integration::{self, Target};
use crate::cleanup::proofs::Proofs;
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::model::{BranchName, CommitId};
use crate::sys::fs;
use crate::sys::git::Reader;
use crate::sys::removal::Mounts;
use crate::sys::standing::Processes;
use crate::sys::walk::Sizes;
use crate::worktree::checkouts::{self, Checkout};
use crate::worktree::place::{self, Place};
use crate::worktree::repository::bytes_path;
use crate::worktree::{Repository, index_copy, nested, submodules, unpushed};

/// What is looked at once for any number of workspaces.
pub struct Surroundings {
    /// Every worktree.
    pub checkouts: Vec<Checkout>,
    /// Which of them use which branch.
    users: BTreeMap<String, Vec<usize>>,
    /// Which of them is where.
    trees: BTreeMap<PathBuf, usize>,
    /// Where branches are.
    pub reader: Reader,
    /// Where something is mounted.
    pub mounts: Mounts,
    /// Every process of this user.
    pub processes: Processes,
    /// What is known already of where work is; nothing, for who looks at one workspace.
    pub proofs: Proofs,
}

impl Surroundings {
    /// Looks.
    pub fn scan(repo: &Repository) -> Result<Surroundings> {
        let (checkouts, processes) = (checkouts::scan(repo)?, Processes::scan()?);
        let numbered = |(number, checkout): (usize, &Checkout)| checkout.tree.clone().map(|tree| (tree, number));
        let trees = checkouts.iter().enumerate().filter_map(numbered).collect();
        Ok(Surroundings {
            users: checkouts::users(&checkouts),
            trees,
            checkouts,
            reader: repo.reader(),
            mounts: Mounts::scan()?,
            processes,
            proofs: Proofs::default(),
        })
    }

    /// The worktree whose root this is.
    pub fn checkout(&self, tree: &Path) -> Option<&Checkout> {
        let at = |tree: &Path| self.trees.get(tree).and_then(|number| self.checkouts.get(*number));
        at(tree).or_else(|| at(&fs::without_links(tree)))
    }

    /// Another worktree than one's own that has the branch checked out, or is in the middle of something that will move it.
    pub fn used_elsewhere(&self, branch: &str, own_git_dir: Option<&Path>, own_tree: &Path) -> Option<PathBuf> {
        let users = self.users.get(branch)?.iter().filter_map(|number| self.checkouts.get(*number));
        let is_other = |checkout: &&Checkout| {
            let own = Some(checkout.git_dir.as_path()) == own_git_dir || checkout.tree.as_deref() == Some(own_tree);
            !own && checkout.tree.is_some()
        };
        let place = |checkout: &Checkout| checkout.tree.clone().unwrap_or_else(|| checkout.git_dir.clone());
        users.filter(is_other).map(place).next()
    }
}

/// How closely a workspace is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// At everything, and how much its files take.
    Measuring,
    /// At everything.
    Closely,
    /// At all but its files, which count as untouched, and a HEAD that is on its branch.
    Briefly,
}

/// All that is looked at for the removal of one workspace.
pub struct Looked {
    /// Worktrees and processes.
    pub around: Surroundings,
    /// Where its work belongs.
    pub targets: Vec<Target>,
    /// What is known of it.
    pub facts: RemoveFacts,
}

/// Looks at one workspace and all that is around it, once, at its files while everything else is looked at: nothing that is
/// found is older than one look at the files takes.
pub fn look(repo: &Repository, record: &WorkspaceRecord) -> Result<Looked> {
    thread::scope(|scope| {
        let certain = certain_git_dir(repo, record)?;
        let begun = certain.map(|git_dir| begin(scope, repo, record, git_dir, Sizes::Left));
        let targets = scope.spawn(|| integration::targets_of(repo, &record.base));
        let around = Surroundings::scan(repo)?;
        let targets = targets.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let facts = gather(scope, (repo, &around), record, &targets, (Look::Closely, begun))?;
        Ok(Looked { around, targets, facts })
    })
}

/// Gathers the facts of one workspace.
pub fn facts(
    repo: &Repository,
    around: &Surroundings,
    record: &WorkspaceRecord,
    targets: &[Target],
    look: Look,
) -> Result<RemoveFacts> {
    thread::scope(|scope| gather(scope, (repo, around), record, targets, (look, None)))
}

/// What is in a plain workspace.
#[derive(Default)]
struct Files {
    dirty: Vec<String>,
    nested: Vec<String>,
    bytes: u64,
}

/// A look at its files that was begun.
struct Begun<'scope> {
    git_dir: PathBuf,
    files: ScopedJoinHandle<'scope, Result<Files>>,
}

fn begin<'scope>(
    scope: &'scope Scope<'scope, '_>,
    repo: &'scope Repository,
    record: &'scope WorkspaceRecord,
    git_dir: PathBuf,
    sizes: Sizes,
) -> Begun<'scope> {
    let place = git_dir.clone();
    Begun { git_dir, files: scope.spawn(move || files(repo, record, &place, sizes)) }
}

/// The git dir of a plain workspace that is whole, where it and its tree name each other; that is sure before anything else is
/// looked at. git must not run by what a tree alone says.
fn certain_git_dir(repo: &Repository, record: &WorkspaceRecord) -> Result<Option<PathBuf>> {
    if record.sealed || record.state == WorkspaceState::Creating {
        return Ok(None);
    }
    let Some(git_dir) = linked_git_dir(&record.path)? else { return Ok(None) };
    let back = git_dir.join("gitdir");
    if git_dir.parent() != Some(repo.common_dir.join("worktrees").as_path()) || !fs::exists(&back)? {
        return Ok(None);
    }
    let text = std::fs::read(&back).map_err(fs::at("read", &back))?;
    let link = git_dir.join(bytes_path(text.trim_ascii_end()));
    let names = link.parent().is_some_and(|tree| tree == record.path || tree == fs::without_links(&record.path));
    Ok(names.then_some(git_dir))
}

fn gather<'scope>(
    scope: &'scope Scope<'scope, '_>,
    (repo, around): (&'scope Repository, &Surroundings),
    record: &'scope WorkspaceRecord,
    targets: &[Target],
    (look, begun): (Look, Option<Begun<'scope>>),
) -> Result<RemoveFacts> {
    let checkout = around.checkout(&record.path).filter(|_| !record.sealed);
    let closely = look != Look::Briefly;
    let root = if record.sealed { enclosure(record) } else { record.path.clone() };
    let git_dir = checkout.map(|checkout| checkout.git_dir.clone());
    let tree = tree_fact(record, &root, git_dir.as_deref())?;
    let present = matches!(tree, TreeFact::Present(_));
    let unborn = git_dir.as_deref().map(|dir| is_unborn(record, dir)).transpose()?.unwrap_or(false);
    let sizes = if look == Look::Measuring { Sizes::Counted } else { Sizes::Left };
    let begun = git_dir.clone().filter(|_| closely && present && !record.sealed && !unborn).map(|git_dir| {
        let same = begun.filter(|begun| begun.git_dir == git_dir);
        same.unwrap_or_else(|| begin(scope, repo, record, git_dir, sizes))
    });
    let unpushed = match &git_dir {
        Some(git_dir) if closely && !record.sealed && record.state != WorkspaceState::Creating => {
            unpushed::in_submodules(repo, git_dir)?
        }
        _ => Vec::new(),
    };
    let on_branch = checkout.is_none_or(|checkout| checkout.branch.as_deref() == Some(record.branch.as_str()));
    let own = git_dir.as_deref().filter(|_| (closely || !on_branch) && !unborn);
    let own = own.map(|dir| Reader::open(&repo.git, dir));
    let head = own.as_ref().map(|reader| reader.revision("HEAD")).transpose()?.flatten();
    let head_held = match (&own, &head) {
        (Some(own), Some(head)) => is_held(repo, own, checkout.and_then(|checkout| checkout.branch.as_deref()), head)?,
        _ => true,
    };
    let (own, work) = ((git_dir.as_deref(), record.path.as_path()), (targets, Some(&record.base.commit)));
    let branch = branch_fact(repo, around, &record.branch, own, work)?;
    let measured = begun.is_some() && look == Look::Measuring;
    let files = match begun {
        Some(begun) => begun.files.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
        None => Files::default(),
    };
    Ok(RemoveFacts {
        moved: place::place(&repo.common_dir)? != Place::Same,
        here: repo.here.as_ref().is_some_and(|here| here.starts_with(&root)),
        locked: checkout.and_then(|checkout| checkout.locked.clone()),
        held: checkout.map(|c| c.held.iter().map(|(_, what)| (*what).to_owned()).collect()).unwrap_or_default(),
        on_branch,
        mounted: around.mounts.below(&root),
        processes: if present { around.processes.inside(&root) } else { Vec::new() },
        branch,
        record: record.clone(),
        tree,
        git_dir,
        dirty: files.dirty,
        unpushed,
        nested: files.nested,
        bytes: measured.then_some(files.bytes),
        head,
        head_held,
    })
}

/// Looks at the files of a plain workspace, each once.
fn files(repo: &Repository, record: &WorkspaceRecord, git_dir: &Path, sizes: Sizes) -> Result<Files> {
    let whole = index_copy::whole(repo, git_dir, &record.path, sizes)?;
    let nested = nested::find(repo, git_dir, &record.path, &whole)?;
    let dirty = but_half_brought(repo, record, git_dir, whole.dirty)?;
    Ok(Files { dirty, nested, bytes: whole.walked.bytes })
}

/// Paths with changes that are not committed.
pub fn dirty(repo: &Repository, record: &WorkspaceRecord, git_dir: &Path) -> Result<Vec<String>> {
    but_half_brought(repo, record, git_dir, index_copy::dirty_paths(repo, git_dir, &record.path)?)
}

/// Submodules whose bringing died with the maker of the workspace are no changes.
fn but_half_brought(
    repo: &Repository,
    record: &WorkspaceRecord,
    git_dir: &Path,
    mut paths: Vec<String>,
) -> Result<Vec<String>> {
    if record.state == WorkspaceState::Creating && !paths.is_empty() {
        let ours = submodules::half_brought(repo, &record.path, git_dir)?;
        paths.retain(|path| !ours.iter().any(|own| own == Path::new(path)));
    }
    Ok(paths)
}

/// The box of a sealed workspace: the directory around its tree.
pub fn enclosure(record: &WorkspaceRecord) -> PathBuf {
    record.path.parent().unwrap_or(&record.path).to_owned()
}

/// Which directory is at a path; `None` when nothing is, or something that is no directory.
pub fn dir_id(path: &Path) -> Result<Option<DirId>> {
    if !fs::exists(path)? {
        return Ok(None);
    }
    let meta = std::fs::symlink_metadata(path).map_err(fs::at("look at", path))?;
    Ok(meta.is_dir().then(|| DirId { dev: meta.dev(), ino: meta.ino() }))
}

/// True while not all files of a new worktree are there (git writes the index when they are); until then its git dir may be
/// so incomplete that git cannot work in it.
pub fn is_unborn(record: &WorkspaceRecord, git_dir: &Path) -> Result<bool> {
    Ok(record.state == WorkspaceState::Creating && !fs::exists(&git_dir.join("index"))?)
}

/// True for an empty directory, and for one with nothing but a `.git` file in it.
fn holds_nothing(directory: &Path) -> Result<bool> {
    let entries = std::fs::read_dir(directory).map_err(fs::at("read", directory))?;
    for entry in entries {
        let entry = entry.map_err(fs::at("read", directory))?;
        let is_file = entry.file_type().map_err(fs::at("look at", &entry.path()))?.is_file();
        if entry.file_name() != ".git" || !is_file {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tree_fact(record: &WorkspaceRecord, root: &Path, git_dir: Option<&Path>) -> Result<TreeFact> {
    let Some(id) = dir_id(root)? else {
        let foreign = fs::exists(root)?;
        return Ok(if foreign { TreeFact::Foreign("it is no directory".into()) } else { TreeFact::Gone });
    };
    if record.sealed {
        return Ok(TreeFact::Present(id));
    }
    if record.state == WorkspaceState::Creating && holds_nothing(root)? {
        return Ok(TreeFact::Present(id));
    }
    let Some(git_dir) = git_dir else {
        return Ok(TreeFact::Foreign("git does not know it as a worktree of this repository".into()));
    };
    Ok(match linked_git_dir(&record.path)? {
        Some(linked) if linked == git_dir => TreeFact::Present(id),
        Some(linked) => TreeFact::Foreign(format!("it belongs to {}", linked.display())),
        None => TreeFact::Foreign("it has no `.git` file".into()),
    })
}

/// The git dir that the `.git` file of a linked worktree names.
pub fn linked_git_dir(tree: &Path) -> Result<Option<PathBuf>> {
    let link = tree.join(".git");
    let bytes = match std::fs::symlink_metadata(&link) {
        Ok(meta) if meta.is_file() => std::fs::read(&link).map_err(fs::at("read", &link))?,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fs::at("look at", &link)(error).into()),
    };
    let Some(path) = bytes.strip_prefix(b"gitdir: ") else { return Ok(None) };
    let path = tree.join(bytes_path(path.trim_ascii_end()));
    Ok(Some(path.canonicalize().unwrap_or(path)))
}

/// True when a branch, a tag or a remote branch holds the commit. (HEADs of worktrees do not count.)
/// That is plain where one stands on a branch and is at its tip.
fn is_held(repo: &Repository, own: &Reader, on: Option<&str>, commit: &CommitId) -> Result<bool> {
    if let Some(branch) = on
        && own.ref_commit(&format!("refs/heads/{branch}"))?.as_ref() == Some(commit)
    {
        return Ok(true);
    }
    let args = ["rev-list", "--max-count=1", commit.as_str(), "--not", "--branches", "--tags", "--remotes", "--"];
    Ok(repo.bare(args).run()?.stdout.is_empty())
}

/// How a branch stands; the worktree at `own` does not count as another one that uses it.
pub fn branch_fact(
    repo: &Repository,
    around: &Surroundings,
    branch: &BranchName,
    (own_git_dir, own_tree): (Option<&Path>, &Path),
    (targets, base): (&[Target], Option<&CommitId>),
) -> Result<Option<BranchFact>> {
    let Some(tip) = around.reader.ref_commit(&branch.full_ref())? else { return Ok(None) };
    let own = branch.full_ref();
    let integrated = integration::integrated(repo, &around.proofs, &own, (&tip, base), targets)?;
    let others = integration::others(&own, targets);
    let target = others.first();
    let unmerged = match (&integrated, target) {
        (Err(_), Some(_)) => around.proofs.beyond(&tip, &others, || beyond(repo, &tip, &others))?,
        _ => 0,
    };
    let elsewhere = around.used_elsewhere(branch.as_str(), own_git_dir, own_tree);
    Ok(Some(BranchFact { tip, elsewhere, integrated, unmerged, target: target.map(|target| target.name.clone()) }))
}

fn beyond(repo: &Repository, tip: &CommitId, without: &[&Target]) -> Result<usize> {
    let without: Vec<&str> = without.iter().map(|target| target.tip.as_str()).collect();
    let text = repo.bare(["rev-list", "--count", tip.as_str(), "--not"]).args(without).arg("--").text()?;
    Ok(text.parse().unwrap_or(0))
}

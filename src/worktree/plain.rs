//! Apply: makes a person's workspace, plain or sealed, and unmakes what is half made.
//!
//! The name is claimed in the store first, then the branch is created by compare-and-swap, then the tree. Nothing is
//! written to shared configuration, so any number can be made at once.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::checkouts;
use super::copy::{self, Copied, CopyProgress, CopyTarget};
use super::disk;
use super::error::{Result, WorktreeError};
use super::filled::{self, Empty};
use super::hooks;
use super::import::update_ref;
use super::repository::Repository;
use super::run_store::RunStore;
use super::sealed::{self, Identity, SealRequest, Sealed, SealedPaths};
use super::sparse;
use super::submodules::{self, Submodule};
use crate::model::record::{Filled, WorkspaceRecord, WorkspaceState};
use crate::model::sparse::Patterns;
use crate::model::{BaseReport, BranchName, Directory, Submodules, WorkspaceName};
use crate::store::{Intent, Store, StoreError};
use crate::sys::git::fill::Beside;
use crate::sys::git::{GitError, Settings};
use crate::sys::interrupt::Held;
use crate::sys::lock::FileLock;
use crate::sys::{clock, fs, proc, random};

/// The lock of who registers a worktree.
const ADDING: &str = "worktree-add";

/// A workspace that is to be made.
#[derive(Clone, Debug)]
pub struct NewWorkspace<'a> {
    /// Its name.
    pub name: &'a WorkspaceName,
    /// Its branch, new.
    pub branch: &'a BranchName,
    /// Its base, resolved and accepted.
    pub base: BaseReport,
    /// The template of its path.
    pub template: &'a str,
    /// With a private git dir.
    pub sealed: bool,
    /// Which submodules come along.
    pub submodules: Submodules,
    /// Patterns of ignored files that come along, besides those of the project's list.
    pub copy: &'a [String],
    /// The directories that are all it has, where not everything is asked for.
    pub sparse: &'a [Directory],
    /// The configuration of the repository as such, where it was read for this.
    pub settings: Option<&'a Settings>,
}

/// A workspace that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its record.
    pub record: WorkspaceRecord,
    /// What came along.
    pub along: Along,
}

/// What came along into a new workspace.
#[derive(Clone, Debug, Default)]
pub struct Along {
    /// The ignored files.
    pub copied: Copied,
    /// The submodules that the repository has initialised.
    pub submodules: Vec<Submodule>,
}

/// Makes the workspace; `observe` hears how far the copying of ignored files is.
pub fn create(
    repo: &Repository,
    store: &Store,
    request: &NewWorkspace<'_>,
    observe: &dyn Fn(CopyProgress),
) -> Result<Made> {
    let sealed_paths = if request.sealed { Some(named_sealed(repo, request.template, request.name)?) } else { None };
    let tree = match &sealed_paths {
        Some(paths) => paths.tree.clone(),
        None => repo.named_tree(request.template, request.name)?,
    };
    refuse_occupied(&tree)?;
    sparse::require(repo, &request.base.commit, request.sparse)?;
    let disk = disk::other_disk(repo, &tree)?;
    let mut record = WorkspaceRecord {
        name: request.name.clone(),
        state: WorkspaceState::Creating,
        path: tree,
        branch: request.branch.clone(),
        base: request.base.clone(),
        sealed: request.sealed,
        strategy: "git-worktree".into(),
        strategy_why: String::new(),
        lease: random::token().map_err(WorktreeError::Random)?,
        created_at: clock::now(),
        order: next_order(store)?,
        owner: proc::own(),
        imported: None,
        disk,
        sparse: request.sparse.to_vec(),
    };
    // Whoever has enough of waiting wants nothing half made.
    let held = Held::hold().map_err(WorktreeError::Signals)?;
    let intent = claim(store, &record)?;
    let (filled, along) = match make(repo, &record, sealed_paths.as_ref(), request, observe, &held) {
        Ok(made) => made,
        Err(error) => {
            store.forget_workspace(&record.name, "it could not be made")?;
            store.failed(intent, json!({"why": error.to_string()}))?;
            return Err(error);
        }
    };
    record.state = WorkspaceState::Ready;
    (record.strategy, record.strategy_why) = (filled.strategy, filled.why);
    record.owner = None;
    store.put_workspace("workspace.ready", &record)?;
    store.done(intent, json!({"lease": record.lease}))?;
    Ok(Made { record, along })
}

/// Behind every workspace that is there, and every one that was: each making is a line of the journal.
fn next_order(store: &Store) -> Result<i64> {
    let last = store.workspaces()?.iter().map(|record| record.order).max().unwrap_or(0);
    Ok(store.newest_entry()?.map_or(0, |(seq, _)| seq).max(last).saturating_add(1))
}

/// Where the parts of a sealed workspace of this name are.
pub fn named_sealed(repo: &Repository, template: &str, name: &WorkspaceName) -> Result<SealedPaths> {
    let private = repo.sealed_root()?.join("named").join(name.path_part());
    SealedPaths::at(repo, template, &name.path_part(), private)
}

fn refuse_occupied(tree: &Path) -> Result<()> {
    if fs::exists(tree)? {
        let message = format!("{} is there already", tree.display());
        return Err(WorktreeError::refused(message, "choose another name, or move it away"));
    }
    Ok(())
}

fn claim(store: &Store, record: &WorkspaceRecord) -> Result<Intent> {
    match store.claim_workspace(record) {
        Err(StoreError::Exists { id, .. }) => Err(WorktreeError::refused(
            format!("there is a workspace `{id}` already"),
            format!("enter it: cd \"$(treehand path {id})\", or remove it: treehand rm {id}"),
        )),
        other => Ok(other?),
    }
}

fn make(
    repo: &Repository,
    record: &WorkspaceRecord,
    sealed: Option<&SealedPaths>,
    request: &NewWorkspace<'_>,
    observe: &dyn Fn(CopyProgress),
    held: &Held,
) -> Result<(Filled, Along)> {
    let (branch, commit) = (&record.branch, &record.base.commit);
    create_branch(repo, branch, commit)?;
    let made = match sealed {
        None => add_tree(repo, record, request.settings, held).map(|filled| (filled, Vec::new())),
        Some(paths) => seal(repo, record, paths, request.submodules, held).map(|made| (made.filled, made.submodules)),
    };
    // A signal of the terminal ends the git that was at work, too.
    let made = made.map_err(|error| obey(held).err().unwrap_or(error)).and_then(|(filled, submodules)| {
        let along = bring_along(repo, record, sealed, request, submodules, observe, held);
        if along.is_err() {
            match sealed {
                None => remove_half_made(repo, &record.path)?,
                Some(paths) => sealed::remove(paths)?,
            }
        }
        along.map(|along| (filled, along))
    });
    if made.is_err() {
        update_ref(repo, &branch.full_ref(), None, Some(commit), "treehand: workspace not made")?;
    }
    made
}

fn bring_along(
    repo: &Repository,
    record: &WorkspaceRecord,
    sealed: Option<&SealedPaths>,
    request: &NewWorkspace<'_>,
    mut submodules: Vec<Submodule>,
    observe: &dyn Fn(CopyProgress),
    held: &Held,
) -> Result<Along> {
    obey(held)?;
    if let (Submodules::Local, None) = (request.submodules, sealed)
        && let Some(checkout) = checkouts::at(repo, &record.path)?
    {
        submodules = submodules::bring(repo, &record.path, &checkout.git_dir)?;
    }
    obey(held)?;
    let target = CopyTarget {
        tree: &record.path,
        git_dir: sealed.map_or(&repo.common_dir, |paths| &paths.git_dir),
        template: request.template,
        sealed: request.sealed,
        patterns: request.copy,
    };
    let copied = copy::bring(repo, &target, observe)?;
    obey(held)?;
    Ok(Along { copied, submodules })
}

/// Ends what is being made when a signal asks for that.
fn obey(held: &Held) -> Result<()> {
    match held.noticed().map_err(WorktreeError::Signals)? {
        Some(signal) => Err(WorktreeError::Interrupted { signal }),
        None => Ok(()),
    }
}

/// Creates a branch that must not exist.
pub fn create_branch(repo: &Repository, branch: &BranchName, commit: &crate::model::CommitId) -> Result<()> {
    let created = update_ref(repo, &branch.full_ref(), Some(commit), None, "treehand: workspace created");
    match created {
        Err(WorktreeError::Busy { .. }) => Err(WorktreeError::refused(
            format!("there is a branch `{branch}` already"),
            "choose another with --branch, or another name",
        )),
        Err(WorktreeError::Git(error)) => Err(why_not_created(repo, branch, error)?),
        other => other,
    }
}

/// What keeps git from making a branch: another one, or the right to write.
fn why_not_created(repo: &Repository, branch: &BranchName, error: GitError) -> Result<WorktreeError> {
    let (reader, name) = (repo.reader(), branch.full_ref());
    let mut others = !reader.refs_below(&format!("{name}/"))?.is_empty();
    for (end, _) in name.match_indices('/').skip(2) {
        others |= reader.ref_commit(&name[..end])?.is_some();
    }
    if others {
        return Ok(WorktreeError::refused(
            format!("git cannot create the branch `{branch}`: {error}"),
            "a branch whose name is a leading part of another cannot be; choose another with --branch",
        ));
    }
    let place = repo.common_dir.join(&name);
    match place.ancestors().skip(1).find(|directory| directory.is_dir()).map(fs::require_writable) {
        Some(Err(refused)) => Ok(refused.into()),
        _ => Ok(error.into()),
    }
}

fn add_tree(repo: &Repository, record: &WorkspaceRecord, settings: Option<&Settings>, held: &Held) -> Result<Filled> {
    let (tree, commit): (&Path, _) = (&record.path, &record.base.commit);
    // Before git does: nobody removes the directory around it then.
    fs::create_dir_all(tree)?;
    // One that is given patterns gets settings of its own with them; one on a disk where everything is somebody else's git may refuse.
    let known = record.sparse.is_empty() && fs::is_own_directory(tree)?;
    let settings = settings.filter(|settings| known && settings.hold_everywhere());
    let (registered, beside) = std::thread::scope(|scope| {
        let beside = settings.map(|settings| scope.spawn(|| Beside::ask(settings, repo.bare([""; 0]))));
        let registered = register(repo, record);
        let beside = beside.map(|asked| asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (registered, beside.flatten())
    });
    let added = registered.and_then(|()| {
        let beside = beside.as_ref();
        let git = |args: &[&str]| repo.git.within(tree, args);
        let filled = filled::write(
            repo,
            &Empty { git_dir: &repo.common_dir, tree, commit, git: &git, beside, counts: true, held: Some(held) },
        )?;
        hooks::post_checkout(repo, settings, (tree, commit), held)?;
        obey(held).map(|()| filled)
    });
    if added.is_err() {
        remove_half_made(repo, tree)?;
    }
    added
}

/// The tree was not there when the name was claimed, so what is there now is ours and holds no work.
fn remove_half_made(repo: &Repository, tree: &Path) -> Result<()> {
    for checkout in checkouts::scan(repo)?.into_iter().filter(|c| c.tree.as_deref() == Some(tree)) {
        fs::remove_tree(&checkout.git_dir)?;
    }
    fs::remove_tree(tree)?;
    sealed::remove_if_empty(tree.parent());
    if tree.file_name().is_some_and(|name| name.to_string_lossy() == repo.name) {
        sealed::remove_if_empty(tree.parent().and_then(Path::parent));
    }
    Ok(())
}

/// Removes the directory of all entries when the last of them is gone, unless somebody is just registering one: git does
/// not make it again when it goes under its hands.
pub fn remove_entries_dir_if_empty(repo: &Repository) {
    match FileLock::try_acquire(&repo.lock(ADDING), &format!("pid {}, tidying", std::process::id())) {
        Ok(_lock) => sealed::remove_if_empty(Some(&repo.common_dir.join("worktrees"))),
        Err(error) => tracing::trace!(%error, "kept"),
    }
}

/// Registers a worktree without files. One at a time: git looks into every entry to see where the branch is checked out,
/// and fails on one that another git is just writing ("failed to read …/commondir").
fn register(repo: &Repository, record: &WorkspaceRecord) -> Result<()> {
    let (tree, branch) = (&record.path, &record.branch);
    let _lock = FileLock::acquire(&repo.lock(ADDING), &format!("pid {}, registering a worktree", std::process::id()))?;
    for attempt in 1.. {
        // Started where the person stands: git gives the new one that worktree's own settings and sparse checkout.
        let add = repo.git.bare(&repo.git_dir, ["worktree", "add", "--quiet", "--no-checkout"]);
        match add.arg(tree).arg(branch.as_str()).run() {
            Err(GitError::Failed { stderr, .. }) if attempt < REGISTRATIONS && is_pruned(&stderr) => {}
            other => {
                other?;
                break;
            }
        }
    }
    match record.sparse.as_slice() {
        [] => Ok(()),
        directories => sparse::set(repo, tree, &filled::admin_of(tree)?, &Patterns::of(directories)),
    }
}

/// How often a worktree is registered whose entry somebody takes away meanwhile.
const REGISTRATIONS: usize = 5;

/// True when git lost the entry that it was writing: a `git gc` prunes an entry that does not say yet where its tree is, however
/// young that is. git itself has put away then what it had begun.
fn is_pruned(said: &str) -> bool {
    said.contains("/worktrees/") && said.contains("No such file or directory")
}

fn seal(
    repo: &Repository,
    record: &WorkspaceRecord,
    paths: &SealedPaths,
    submodules: Submodules,
    held: &Held,
) -> Result<Sealed> {
    let lender = RunStore::at(repo, &paths.private, &record.base.commit)?;
    lender.fetch(&repo.common_dir, &record.base.commit)?;
    let lenders: Vec<PathBuf> = vec![lender.objects()];
    let base_name = BranchName::parse(&record.base.reference).ok();
    let sparse = match record.sparse.as_slice() {
        [] => sparse::of_here(repo)?,
        directories => Some(Patterns::of(directories)),
    };
    let request = SealRequest {
        base: &record.base.commit,
        branch: &record.branch,
        base_name: base_name.as_ref(),
        lenders: &lenders,
        identity: &Identity::of_user(repo)?,
        lock_reason: Some(format!("treehand sealed workspace {}", record.name)),
        submodules,
        sparse: sparse.as_ref(),
        held: Some(held),
    };
    sealed::create(repo, paths, &request)
}

//! Apply: saves to refs what a removal would lose, and proves that it can be read back, before anything is removed.
//!
//! A plain worktree is saved as commits below one prefix: `head`, `index` (what is staged, when that differs), `conflict` (all
//! versions of the files in conflict, when there are any) and `worktree` (every change, untracked files included, ignored ones
//! not), and what an operation in progress refers to. Its own index is never written. A sealed one is captured and imported
//! like a result. A part that cannot be saved is an error, and stops the removal.

use std::path::{Path, PathBuf};

use super::error::{CleanupError, Result};
use super::ref_names::SALVAGE_PREFIX;
use super::saved::CONFLICT;
use super::sides;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::{GitCommand, Reader};
use crate::worktree::apart::Touch;
use crate::worktree::capture::{CaptureRequest, Captured, capture, capture_commits};
use crate::worktree::import::{ImportRequest, RefChange, changes, import, update_ref, update_refs};
use crate::worktree::import_submodules::{self, import_alone};
use crate::worktree::index_copy::IndexCopy;
use crate::worktree::private_refs::private_refs;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::{Identity, SealedPaths};
use crate::worktree::{Repository, result_policy};

/// Most bytes that a salvage from a sealed workspace may bring.
const SALVAGE_MAX: u64 = 20 << 30;

/// Commits that an operation in progress refers to and nothing else may hold.
const PSEUDO_REFS: [&str; 6] =
    ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "MERGE_AUTOSTASH"];

/// Where a rebase keeps the changes that it has put away.
const AUTOSTASH: [&str; 2] = ["rebase-merge/autostash", "rebase-apply/autostash"];

/// A ref that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Its full name.
    pub name: String,
    /// What it holds.
    pub commit: CommitId,
}

/// A plain worktree that is to be saved.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Its git dir.
    pub git_dir: &'a Path,
    /// Its root; `None` when the directory is gone and only HEAD can be saved.
    pub tree: Option<&'a Path>,
    /// Where the refs go, without the last part.
    pub prefix: &'a str,
}

/// Saves a plain worktree.
pub fn plain(repo: &Repository, source: &Source<'_>) -> Result<Vec<Saved>> {
    let mut saved = Vec::new();
    let reader = Reader::open(&repo.git, source.git_dir);
    let head = reader.revision("HEAD")?;
    // HEAD first: from then on it holds everything that the other two build on.
    if let Some(head) = &head {
        saved.push(keep(repo, source.prefix, "head", head)?);
    }
    for name in PSEUDO_REFS {
        if fs::exists(&source.git_dir.join(name))?
            && let Some(commit) = reader.revision(name)?.filter(|commit| Some(commit) != head.as_ref())
        {
            saved.push(keep(repo, source.prefix, name, &commit)?);
        }
    }
    if let Some(commit) = autostash(source.git_dir, &reader)? {
        saved.push(keep(repo, source.prefix, "autostash", &commit)?);
    }
    if let Some(tree) = source.tree {
        saved.extend(changes_of(repo, source, tree, head.as_ref())?);
    }
    verify(repo, &saved)?;
    Ok(saved)
}

fn autostash(git_dir: &Path, reader: &Reader) -> Result<Option<CommitId>> {
    for name in AUTOSTASH {
        let path = git_dir.join(name);
        if fs::exists(&path)? {
            let text = std::fs::read(&path).map_err(fs::at("read", &path))?;
            return Ok(reader.revision(String::from_utf8_lossy(&text).trim())?);
        }
    }
    Ok(None)
}

/// Makes a ref for a commit that is in the repository already.
pub fn keep(repo: &Repository, prefix: &str, part: &str, commit: &CommitId) -> Result<Saved> {
    let name = format!("{prefix}/{part}");
    update_ref(repo, &name, Some(commit), None, "treehand: saved before a removal")?;
    Ok(Saved { name, commit: commit.clone() })
}

/// Lets go of everything that was saved below a prefix, for a removal that did not happen.
pub fn forget(repo: &Repository, prefix: &str) -> Result<()> {
    let saved = repo.reader().refs_below(&format!("{prefix}/"))?;
    let change = |(reference, commit): &(String, CommitId)| RefChange {
        reference: reference.clone(),
        new: None,
        expected: Some(commit.clone()),
    };
    update_refs(repo, &saved.iter().map(change).collect::<Vec<_>>(), "treehand: nothing was removed")?;
    for (reference, commit) in &saved {
        import_submodules::discard(repo, reference, commit)?;
    }
    Ok(())
}

/// The refs that one operation made, by the name of its trash.
pub fn of_stamp(repo: &Repository, stamp: &str) -> Result<Vec<(String, CommitId)>> {
    let all = repo.reader().refs_below(SALVAGE_PREFIX)?;
    Ok(all.into_iter().filter(|(name, _)| name.split('/').any(|part| part == stamp)).collect())
}

/// Uncommitted changes as commits, made in a quarantine so that no gc can take their objects before a ref holds them.
fn changes_of(repo: &Repository, source: &Source<'_>, tree: &Path, head: Option<&CommitId>) -> Result<Vec<Saved>> {
    let like = match head {
        Some(head) => head.clone(),
        None => repo.git.bare(source.git_dir, ["hash-object", "-t", "tree", "/dev/null"]).object_id()?,
    };
    let quarantine = Quarantine::create(repo, &like)?;
    let saved = commit_changes(repo, &quarantine, source, tree, head);
    let discarded = quarantine.discard();
    let saved = saved?;
    discarded?;
    Ok(saved)
}

fn commit_changes(
    repo: &Repository,
    quarantine: &Quarantine,
    source: &Source<'_>,
    tree: &Path,
    head: Option<&CommitId>,
) -> Result<Vec<Saved>> {
    let copy = IndexCopy::take(repo, source.git_dir, tree, quarantine.git_dir())?;
    let git = |args: &[&str]| copy.git(args).env("GIT_OBJECT_DIRECTORY", quarantine.objects());
    let head_tree = head.map(|head| repo.reader().tree_of(head)).transpose()?;
    let identity = identity(repo);
    let commit = |tree: &CommitId, what: &str| -> Result<CommitId> {
        let command = quarantine.command(["commit-tree", tree.as_str()]);
        let command = command.args(head.into_iter().flat_map(|head| ["-p", head.as_str()]));
        Ok(signed(command, &identity).stdin(format!("treehand: {what} before a removal\n")).object_id()?)
    };
    let mut made = Vec::new();
    let conflict = sides::of(&copy, quarantine)?;
    let staged = match &conflict {
        Some(conflict) => conflict.staged.clone(),
        None => git(&["write-tree"]).object_id()?,
    };
    if Some(&staged) != head_tree.as_ref() {
        made.push(("index", commit(&staged, "what was staged")?));
    }
    copy.unhide()?;
    git(&["add", "--all", "--", "."]).run()?;
    let whole = git(&["write-tree"]).object_id()?;
    if Some(&whole) != head_tree.as_ref() {
        made.push(("worktree", commit(&whole, "what lay in the worktree")?));
    }
    if let (Some(head), Some((_, whole))) = (head, made.last()) {
        refuse_nested(quarantine, head, whole, tree)?;
    }
    if let Some(conflict) = conflict {
        made.push((CONFLICT, commit(&conflict.sides, "what was in conflict")?));
    }
    let tips: Vec<CommitId> = made.iter().map(|(_, commit)| commit.clone()).collect();
    if tips.is_empty() {
        return Ok(Vec::new());
    }
    let kept = quarantine.migrate(&tips, head.map(std::slice::from_ref).unwrap_or_default())?;
    let saved = made.iter().map(|(part, commit)| keep(repo, source.prefix, part, commit)).collect::<Result<Vec<_>>>();
    kept.release()?;
    saved
}

/// git takes a repository inside the worktree as a link to a commit, without its files: those would not be saved.
fn refuse_nested(quarantine: &Quarantine, head: &CommitId, whole: &CommitId, tree: &Path) -> Result<()> {
    let changed = changes(quarantine.command([] as [&str; 0]), head, whole)?;
    let nobody = result_policy::compile(&[]).unwrap_or_default();
    match result_policy::judge(&changed, &[], &nobody) {
        None => Ok(()),
        Some(refusal) => Err(CleanupError::refused(
            format!(
                "{} holds another repository, whose files cannot be saved: {}",
                tree.display(),
                refusal.paths.join(", ")
            ),
            "move it away first",
        )),
    }
}

fn verify(repo: &Repository, saved: &[Saved]) -> Result<()> {
    for Saved { name, commit } in saved {
        let kind = repo.bare(["cat-file", "-t", name]).text()?;
        // Everything that nothing else holds must be there; what other refs hold is theirs to prove.
        let others = format!("--exclude={}*", name.rsplit_once('/').map_or("", |(prefix, _)| prefix));
        let walk = ["rev-list", "--objects", "--quiet", commit.as_str(), "--not", &others, "--all"];
        let whole = repo.bare(walk).output()?.status.success();
        if kind != "commit" || !whole {
            let message = format!("what was saved under {name} cannot be read back");
            return Err(CleanupError::refused(message, "look at the repository with `git fsck`"));
        }
    }
    Ok(())
}

/// Who commits what is saved: the user, or a stand-in where git knows no user.
pub fn identity(repo: &Repository) -> Identity {
    let stand_in = || Identity { name: "treehand".into(), email: "treehand@localhost".into() };
    Identity::of_user(repo).unwrap_or_else(|_| stand_in())
}

fn signed(command: GitCommand, identity: &Identity) -> GitCommand {
    let command = command.env("GIT_AUTHOR_NAME", &identity.name).env("GIT_AUTHOR_EMAIL", &identity.email);
    command.env("GIT_COMMITTER_NAME", &identity.name).env("GIT_COMMITTER_EMAIL", &identity.email)
}

/// What a sealed workspace holds, captured and not yet imported.
pub fn capture_sealed(repo: &Repository, paths: &SealedPaths, store_dir: &Path, base: &CommitId) -> Result<Captured> {
    let lenders = lenders(repo, paths, store_dir, base)?;
    let identity = identity(repo);
    let message = "treehand: what lay in the worktree\n";
    Ok(capture(
        repo,
        paths,
        &CaptureRequest { base, lenders: &lenders, identity: &identity, message, touch: Touch::Nothing, at: None },
    )?)
}

/// What was committed in a sealed workspace whose tree is gone.
pub fn commits_of_sealed(
    repo: &Repository,
    paths: &SealedPaths,
    store_dir: &Path,
    base: &CommitId,
) -> Result<Captured> {
    Ok(capture_commits(repo, paths, base, &lenders(repo, paths, store_dir, base)?)?)
}

fn lenders(repo: &Repository, paths: &SealedPaths, store_dir: &Path, base: &CommitId) -> Result<Vec<PathBuf>> {
    if !fs::exists(&store_dir.join("base.git"))? {
        let message =
            format!("the objects that {} borrows from are gone: {}", paths.tree.display(), store_dir.display());
        return Err(CleanupError::refused(message, "copy what is needed out of it by hand"));
    }
    Ok(vec![RunStore::at(repo, store_dir, base)?.objects()])
}

/// Imports what was captured onto a ref.
pub fn import_sealed(
    repo: &Repository,
    captured: &Captured,
    base: &CommitId,
    reference: &str,
    expected: Option<&CommitId>,
) -> Result<Saved> {
    let message = "treehand: work of a sealed workspace";
    let request = ImportRequest { base, reference, expected, paths: &[], max_bytes: SALVAGE_MAX, message };
    import(repo, captured, &request)?;
    // The import has proved that everything it reaches is there.
    Ok(Saved { name: reference.to_owned(), commit: captured.commit.clone() })
}

/// True for a capture of what a commit has already: the same files on the same parents, whatever moment it says.
pub fn is_same_work(repo: &Repository, captured: &Captured, commit: &CommitId) -> Result<bool> {
    if captured.commit == *commit {
        return Ok(true);
    }
    let parts = |commit: &CommitId| [format!("{commit}^{{tree}}"), format!("{commit}^@")];
    let now = captured.git().bare(&captured.scratch, ["rev-parse"]).args(parts(&captured.commit)).text()?;
    Ok(repo.reader().has_commit(commit)? && now == repo.bare(["rev-parse"]).args(parts(commit)).text()?)
}

/// Saves what a sealed workspace has committed beside its HEAD and no ref of the repository holds.
pub fn others_of_sealed(
    repo: &Repository,
    paths: &SealedPaths,
    captured: &Captured,
    base: &CommitId,
    prefix: &str,
) -> Result<Vec<Saved>> {
    let mut saved = Vec::new();
    for (name, commit) in private_refs(&paths.git_dir) {
        let peeled = format!("{commit}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled];
        let output = captured.git().bare(&captured.scratch, args).output()?;
        // A ref without its commit has nothing that could be saved.
        let Ok(commit) = CommitId::parse(String::from_utf8_lossy(&output.stdout).trim()) else { continue };
        if repo.reader().has_commit(&commit)? {
            let args = ["rev-list", "--max-count=1", commit.as_str(), "--not", "--all", "--"];
            if repo.bare(args).run()?.stdout.is_empty() {
                continue;
            }
        }
        let part: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
        let one = Captured { commit, submodules: Vec::new(), ..captured.clone() };
        let name = format!("{prefix}/private-{}-{}", one.commit.short(), part.trim_matches('-'));
        saved.push(import_sealed(repo, &one, base, &name, None)?);
    }
    Ok(saved)
}

/// Imports what was captured in submodules alone: the commit around them is known.
pub fn import_submodules(
    repo: &Repository,
    captured: &Captured,
    base: &CommitId,
    reference: &str,
    expected: Option<&CommitId>,
) -> Result<()> {
    let message = "treehand: work of a sealed workspace";
    let request = ImportRequest { base, reference, expected, paths: &[], max_bytes: SALVAGE_MAX, message };
    Ok(import_alone(repo, captured, &request)?)
}

/// The tree of what was captured.
pub fn captured_tree(captured: &Captured) -> Result<CommitId> {
    let rev = format!("{}^{{tree}}", captured.commit);
    Ok(captured.git().bare(&captured.scratch, ["rev-parse", "--verify", "--end-of-options", &rev]).object_id()?)
}

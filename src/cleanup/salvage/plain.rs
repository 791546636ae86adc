//! Apply: saves what a removal would lose, and proves that it can be read back, before anything is removed.
//!
//! A plain worktree is saved as commits below one prefix: `head`, `index` (what is staged, when that differs), `conflict` (all
//! versions of the files in conflict, when there are any) and `worktree` (every change, untracked files included, ignored ones
//! not), and what an operation in progress refers to. Its own index is never written. What would be more objects than
//! `clean.salvage_max` is in a bundle (`bundles`), on top of `head`, which is a ref in any case. A part that cannot be saved is
//! an error, and stops the removal. What sealed workspaces hold is `sealed`.

use std::path::Path;

use super::bundled::{self, Holder};
use super::bundles::{self, Content};
use super::part::{Saved, commit_tree, keep};
use super::saved::CONFLICT;
use super::{ignored, sides};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::Reader;
use crate::worktree::import::{RefChange, changes, update_refs};
use crate::worktree::index_copy::IndexCopy;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::{Repository, import_submodules, result_policy};

/// Commits that an operation in progress refers to and nothing else may hold.
const PSEUDO_REFS: [&str; 6] =
    ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "MERGE_AUTOSTASH"];

/// Where a rebase keeps the changes that it has put away.
const AUTOSTASH: [&str; 2] = ["rebase-merge/autostash", "rebase-apply/autostash"];

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
    let mut bundled = Vec::new();
    if let Some(tree) = source.tree {
        let make = |quarantine: &Quarantine| commit_changes(repo, quarantine, source, tree, head.as_ref());
        let (changes, holder) = in_quarantine(repo, source, head.as_ref(), make)?;
        match holder {
            Holder::Refs => saved.extend(changes),
            // Read back as it was written.
            Holder::Bundle => bundled = changes,
        }
    }
    verify(repo, &saved)?;
    saved.extend(bundled);
    Ok(saved)
}

/// Saves the ignored files that the configuration names, of a plain worktree of which nothing else has to be saved.
pub fn ignored_alone(repo: &Repository, source: &Source<'_>) -> Result<Vec<Saved>> {
    let Some(tree) = source.tree.filter(|_| !repo.salvage_ignored.is_empty()) else { return Ok(Vec::new()) };
    let head = Reader::open(&repo.git, source.git_dir).revision("HEAD")?;
    let (mut saved, holder) = in_quarantine(repo, source, head.as_ref(), |quarantine| {
        let copy = IndexCopy::take(repo, source.git_dir, tree, quarantine.git_dir())?;
        Ok(ignored::commit(repo, quarantine, &copy, head.as_ref())?.into_iter().collect())
    })?;
    if holder == Holder::Refs {
        verify(repo, &saved)?;
    }
    if let (Some(head), false) = (&head, saved.is_empty()) {
        saved.push(keep(repo, source.prefix, "head", head)?);
    }
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
    bundles::forget(repo, prefix)
}

/// What one operation saved, in refs and in bundles, by the name of its trash.
pub fn of_stamp(repo: &Repository, stamp: &str) -> Result<Vec<(String, CommitId)>> {
    let mut all = refs_of_stamp(repo, stamp)?;
    all.extend(bundles::of_stamp(repo, stamp)?);
    Ok(all)
}

/// The refs among it.
pub fn refs_of_stamp(repo: &Repository, stamp: &str) -> Result<Vec<(String, CommitId)>> {
    let all = repo.reader().refs_below(SALVAGE_PREFIX)?;
    Ok(all.into_iter().filter(|(name, _)| name.split('/').any(|part| part == stamp)).collect())
}

/// Commits made in a quarantine, so that no gc can take their objects before a ref holds them.
fn in_quarantine(
    repo: &Repository,
    source: &Source<'_>,
    head: Option<&CommitId>,
    make: impl FnOnce(&Quarantine) -> Result<Vec<(String, CommitId)>>,
) -> Result<(Vec<Saved>, Holder)> {
    let like = match head {
        Some(head) => head.clone(),
        None => repo.git.bare(source.git_dir, ["hash-object", "-t", "tree", "/dev/null"]).object_id()?,
    };
    let quarantine = Quarantine::create(repo, &like)?;
    let saved = make(&quarantine).and_then(|made| hold_changes(repo, &quarantine, source.prefix, &made, head));
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
) -> Result<Vec<(String, CommitId)>> {
    let copy = IndexCopy::take(repo, source.git_dir, tree, quarantine.git_dir())?;
    let git = |args: &[&str]| copy.git(args).env("GIT_OBJECT_DIRECTORY", quarantine.objects());
    let head_tree = head.map(|head| repo.reader().tree_of(head)).transpose()?;
    let commit = |tree: &CommitId, what: &str| commit_tree(repo, quarantine, head, tree, what);
    let mut made = Vec::new();
    let conflict = sides::of(&copy, quarantine)?;
    let staged = match &conflict {
        Some(conflict) => conflict.staged.clone(),
        None => git(&["write-tree"]).object_id()?,
    };
    if Some(&staged) != head_tree.as_ref() {
        made.push(("index".to_owned(), commit(&staged, "what was staged")?));
    }
    copy.unhide()?;
    git(&["add", "--all", "--sparse", "--", "."]).run()?;
    let whole = git(&["write-tree"]).object_id()?;
    if Some(&whole) != head_tree.as_ref() {
        made.push(("worktree".to_owned(), commit(&whole, "what lay in the worktree")?));
    }
    if let (Some(head), Some((_, whole))) = (head, made.last()) {
        refuse_nested(quarantine, head, whole, tree)?;
    }
    if let Some(conflict) = conflict {
        made.push((CONFLICT.to_owned(), commit(&conflict.sides, "what was in conflict")?));
    }
    if !repo.salvage_ignored.is_empty() {
        made.extend(ignored::commit(repo, quarantine, &copy, head)?);
    }
    Ok(made)
}

/// Has what was made in a quarantine held by refs, or by a bundle where it is too much.
fn hold_changes(
    repo: &Repository,
    quarantine: &Quarantine,
    prefix: &str,
    made: &[(String, CommitId)],
    head: Option<&CommitId>,
) -> Result<(Vec<Saved>, Holder)> {
    let tips: Vec<CommitId> = made.iter().map(|(_, commit)| commit.clone()).collect();
    if tips.is_empty() {
        return Ok((Vec::new(), Holder::Refs));
    }
    let known = head.map(std::slice::from_ref).unwrap_or_default();
    let bytes = bundles::new_bytes(repo, quarantine, &tips.iter().collect::<Vec<_>>())?;
    let holder = bundled::holder(bytes, repo.salvage_max);
    if holder == Holder::Bundle {
        let content = Content { prefix, parts: made, known, submodules: false };
        return Ok((bundles::write(repo, quarantine, content)?, holder));
    }
    let kept = quarantine.migrate(&tips, known)?;
    let saved = made.iter().map(|(part, commit)| keep(repo, prefix, part, commit)).collect::<Result<Vec<_>>>();
    kept.release()?;
    Ok((saved?, holder))
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

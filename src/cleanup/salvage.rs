//! Apply: saves what lies uncommitted in a workspace, and commits that a removal would make unreachable, under
//! `refs/treehand/salvage/`, verified readable before anything goes.
//!
//! Up to three refs a time: `head` (the commit), `index` (what was staged), `worktree` (everything, untracked included).

use std::path::Path;

use super::error::{CleanupError, Result};
use crate::model::CommitId;
use crate::model::record::WorkspaceRecord;
use crate::sys::{clock, fs, random};
use crate::worktree::checkouts::Checkout;
use crate::worktree::import::update_ref;
use crate::worktree::merge::{Signature, commit_tree};
use crate::worktree::quarantine::Quarantine;
use crate::worktree::{Repository, WorktreeError};

/// The names of what was saved.
pub type Saved = Vec<String>;

/// Saves a plain workspace as it is.
pub fn save_plain(repo: &Repository, record: &WorkspaceRecord, checkout: &Checkout, head: &CommitId) -> Result<Saved> {
    let quarantine = Quarantine::create(repo, head)?;
    let saved = save_through(repo, record, checkout, head, &quarantine);
    quarantine.discard()?;
    saved
}

fn save_through(
    repo: &Repository,
    record: &WorkspaceRecord,
    checkout: &Checkout,
    head: &CommitId,
    quarantine: &Quarantine,
) -> Result<Saved> {
    let (current, copy) = (checkout.git_dir.join("index"), quarantine.git_dir().join("index"));
    if fs::exists(&current)? {
        std::fs::copy(&current, &copy).map_err(fs::at("copy", &current))?;
    }
    let here = |args: &[&str]| {
        let command = repo.git.tree(&checkout.git_dir, &record.path, args).env("GIT_INDEX_FILE", &copy);
        command.env("GIT_OBJECT_DIRECTORY", quarantine.objects())
    };
    let subject = |what: &str| format!("treehand: {what} of workspace {}\n", record.name);
    let commit = |tree: &CommitId, what: &str| -> Result<CommitId> {
        Ok(commit_tree(quarantine, tree, &[head], &subject(what), &Signature::default())?)
    };
    let mut tips = vec![("head", head.clone())];
    // An index in the middle of a merge has no tree; the worktree commit then holds what there is.
    let staged = here(&["write-tree"]).output()?;
    if staged.status.success() {
        let tree = CommitId::parse(String::from_utf8_lossy(&staged.stdout).trim());
        let tree = tree.map_err(|error| CleanupError::refused(error.to_string(), "this is a bug"))?;
        tips.push(("index", commit(&tree, "index")?));
    }
    here(&["add", "--all", "--", "."]).run()?;
    let tree = here(&["write-tree"]).object_id()?;
    tips.push(("worktree", commit(&tree, "worktree")?));
    keep(repo, quarantine, record.name.path_part().as_str(), head, &tips)
}

/// Names commits that are in the repository already.
pub fn save_commit(repo: &Repository, part: &str, commit: &CommitId) -> Result<Saved> {
    let quarantine = Quarantine::create(repo, commit)?;
    let saved = keep(repo, &quarantine, part, commit, &[("head", commit.clone())]);
    quarantine.discard()?;
    saved
}

fn keep(
    repo: &Repository,
    quarantine: &Quarantine,
    part: &str,
    head: &CommitId,
    tips: &[(&str, CommitId)],
) -> Result<Saved> {
    let new: Vec<CommitId> = tips.iter().map(|(_, tip)| tip.clone()).filter(|tip| tip != head).collect();
    let kept = if new.is_empty() { None } else { Some(quarantine.migrate(&new, std::slice::from_ref(head))?) };
    let token = random::token().map_err(WorktreeError::Random)?;
    let below = format!("refs/treehand/salvage/{part}/{}-{}", clock::now().0, token.short());
    let mut saved = Vec::new();
    for (what, tip) in tips {
        let name = format!("{below}/{what}");
        update_ref(repo, &name, Some(tip), None, "treehand: salvage")?;
        saved.push(name);
    }
    if let Some(kept) = kept {
        kept.release()?;
    }
    for (_, tip) in tips {
        // Walks every object once more: what cannot be read back is not saved.
        repo.bare(["rev-list", "--objects", "--quiet", tip.as_str(), "--not", head.as_str()]).run()?;
    }
    Ok(saved)
}

/// True when something is at this path; an error when that cannot be known.
pub fn present(path: &Path) -> Result<bool> {
    Ok(fs::exists(path)?)
}

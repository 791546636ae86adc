//! Apply: refs deleted, one or many in one transaction: each by compare-and-swap, with what it was at and its reflog within reach of
//! `undo`.
//!
//! Where a transaction does not go through, or refs are in tables, each goes by itself, and what moved is kept and named. Each
//! step can be repeated.

use std::collections::BTreeMap;

use super::error::Result;
use super::ref_names::UNDO_PREFIX;
use super::traces::kept_as;
use super::{branch_log, traces};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::worktree::import::{RefChange, update_ref, update_refs};
use crate::worktree::{Repository, WorktreeError};

/// A ref that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoomedRef {
    /// Its full name.
    pub name: String,
    /// Where it must be.
    pub commit: CommitId,
    /// Something else holds the commit, so that `undo` finds it.
    pub held: bool,
}

/// A ref that was not deleted after all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptRef {
    /// Its full name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Deletes them; those that are kept after all.
pub(super) fn delete_refs(repo: &Repository, stamp: &str, doomed: &[DoomedRef]) -> Result<Vec<KeptRef>> {
    if doomed.len() > 1 {
        match all_at_once(repo, stamp, doomed) {
            Ok(true) => return Ok(Vec::new()),
            Ok(false) => {}
            Err(error) => tracing::debug!("refs go one by one: {}", chain(&error)),
        }
    }
    let mut kept = Vec::new();
    for doomed in doomed {
        kept.extend(delete_ref(repo, stamp, doomed)?);
    }
    Ok(kept)
}

/// False where this repository's refs cannot be treated so.
fn all_at_once(repo: &Repository, stamp: &str, doomed: &[DoomedRef]) -> Result<bool> {
    let mut logged = Vec::new();
    for one in doomed {
        match branch_log::is_file(repo, &one.name)? {
            Some(is_there) => logged.push(is_there),
            None => return Ok(false),
        }
    }
    let there: BTreeMap<String, CommitId> =
        repo.reader().refs_below(&format!("{UNDO_PREFIX}{stamp}/"))?.into_iter().collect();
    let mut made = Vec::new();
    for (one, logged) in doomed.iter().zip(&logged) {
        let reference = kept_as(stamp, &one.name);
        if (*logged || !one.held) && there.get(&reference) != Some(&one.commit) {
            made.push(RefChange { reference, new: Some(one.commit.clone()), expected: None });
        }
    }
    update_refs(repo, &made, "treehand: tip of a deleted ref")?;
    for (one, _) in doomed.iter().zip(&logged).filter(|(_, logged)| **logged) {
        branch_log::keep(repo, &one.name, &kept_as(stamp, &one.name), &one.commit)?;
    }
    let gone =
        |one: &DoomedRef| RefChange { reference: one.name.clone(), new: None, expected: Some(one.commit.clone()) };
    update_refs(repo, &doomed.iter().map(gone).collect::<Vec<_>>(), "treehand: removed")?;
    Ok(true)
}

/// Deletes a ref if it is where it must be, keeping its commit within reach, and the reflog of a branch.
pub(super) fn delete_ref(repo: &Repository, stamp: &str, doomed: &DoomedRef) -> Result<Option<KeptRef>> {
    let DoomedRef { name, commit, held } = doomed;
    let undo = traces::kept_as(stamp, name);
    traces::keep_log(repo, stamp, name, commit)?;
    let held = *held || repo.reader().ref_commit(&undo)?.as_ref() == Some(commit);
    if !held {
        update_ref(repo, &undo, Some(commit), None, "treehand: tip of a deleted ref")?;
    }
    match update_ref(repo, name, None, Some(commit), "treehand: removed") {
        Ok(()) => Ok(None),
        Err(WorktreeError::Busy { holder, .. }) => {
            if repo.reader().ref_commit(&undo)?.as_ref() == Some(commit) {
                update_ref(repo, &undo, None, Some(commit), "treehand: not needed")?;
            }
            Ok(Some(KeptRef { name: name.clone(), why: format!("it moved meanwhile: {holder}") }))
        }
        Err(error) => Err(error.into()),
    }
}

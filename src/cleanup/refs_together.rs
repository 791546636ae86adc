//! Apply: many refs deleted, and made again, in one transaction, as `batch` deletes one: each by compare-and-swap, with what it was at and its
//! reflog within reach of `undo`.
//!
//! Where the transaction does not go through, or refs are in tables, each goes by itself, and what moved is kept and named. Each
//! step can be repeated.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{DoomedRef, KeptRef, delete_ref};
use super::branch_log;
use super::error::Result;
use super::ref_names::UNDO_PREFIX;
use super::traces::kept_as;
use crate::model::cause::chain;
use crate::model::record::RemovedItem;
use crate::model::{CommitId, Hooks};
use crate::worktree::Repository;
use crate::worktree::import::{RefChange, update_refs};

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

/// Makes those again that can be made at once; whoever puts back one after the other passes over those that this names.
pub(super) fn make_again<'a>(repo: &Repository, items: &'a [RemovedItem]) -> Result<BTreeSet<&'a str>> {
    let (reader, mut lines, mut made) = (repo.reader(), String::new(), BTreeMap::new());
    for item in items {
        let RemovedItem::Ref { name, commit, traces: Some(traces), .. } = item else { continue };
        let is_plain = branch_log::is_file(repo, &traces.log)? == Some(true) && traces.sections.is_empty();
        if is_plain && reader.ref_commit(name)?.is_none() {
            lines.push_str(&format!("create {name}\0{commit}\0"));
            made.insert(name.as_str(), traces.log.as_str());
        }
    }
    if made.len() < 2 {
        return Ok(BTreeSet::new());
    }
    // Without a line in the reflogs: those of before come back.
    let args = ["-c", "core.logAllRefUpdates=false", "update-ref", "--stdin", "-z"];
    let command = repo.bare(args).stdin(lines);
    let command = if repo.hooks == Hooks::Unconfined { command.with_hooks() } else { command };
    if let Err(error) = command.run() {
        tracing::debug!("refs come back one by one: {}", chain(&error));
        return Ok(BTreeSet::new());
    }
    for (name, log) in &made {
        branch_log::copy(repo, log, name)?;
    }
    Ok(made.into_keys().collect())
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
    if !made.is_empty() {
        update_refs(repo, &made, "treehand: tip of a deleted ref")?;
    }
    for (one, _) in doomed.iter().zip(&logged).filter(|(_, logged)| **logged) {
        branch_log::keep(repo, &one.name, &kept_as(stamp, &one.name), &one.commit)?;
    }
    let gone =
        |one: &DoomedRef| RefChange { reference: one.name.clone(), new: None, expected: Some(one.commit.clone()) };
    update_refs(repo, &doomed.iter().map(gone).collect::<Vec<_>>(), "treehand: removed")?;
    Ok(true)
}

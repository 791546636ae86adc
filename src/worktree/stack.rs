//! Stacked workspaces: one whose base is the branch of another. When the lower one's work has landed, by whatever strategy, or
//! its branch is gone, the upper one goes on against what the lower one was based on.
//!
//! Looks and decides; the base on record changes only with an update.

use std::collections::BTreeMap;

use super::error::Result;
use super::merge::{Merged, merge_trees};
use super::quarantine::Quarantine;
use super::repository::Repository;
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, BranchName, CommitId};

/// What there is to know of the workspaces that others may be stacked on: branch, and the base on record.
pub type Lower = BTreeMap<String, BaseReport>;

/// The workspaces of the repository, by branch.
pub fn lower(records: &[WorkspaceRecord]) -> Lower {
    records.iter().map(|record| (record.branch.to_string(), record.base.clone())).collect()
}

/// The bases below a base, nearest first; none when it is no workspace's branch.
pub fn below(lower: &Lower, reference: &str) -> Vec<String> {
    let Some(base) = lower.get(reference) else { return Vec::new() };
    let mut stack = vec![base.reference.clone()];
    stack.extend(base.stack.iter().filter(|name| *name != reference).cloned());
    stack
}

/// The place in `[base, stack…]` that a workspace is to be held against now, and why that is not its base.
pub fn standing_on(repo: &Repository, lower: &Lower, base: &BaseReport) -> Result<(usize, Option<String>)> {
    let names: Vec<&String> = base.references().collect();
    let mut why = None;
    for (at, pair) in names.windows(2).enumerate() {
        match passed(repo, lower, pair[0], pair[1])? {
            Some(reason) => why = Some(reason),
            None => return Ok((at, why)),
        }
    }
    Ok((names.len() - 1, why))
}

/// Why nothing is to be expected of a lower branch any more; `None` while it has work of its own, or has not begun.
fn passed(repo: &Repository, lower: &Lower, name: &str, onto: &str) -> Result<Option<String>> {
    let reader = repo.reader();
    let branch = BranchName::parse(name)?;
    let Some(tip) = reader.ref_commit(&branch.full_ref())? else {
        return Ok(Some(format!("its base `{name}` is gone; it stands on `{onto}` now")));
    };
    let Some(target) = reader.revision(onto)? else { return Ok(None) };
    if lower.get(name).is_some_and(|base| base.commit == tip) {
        return Ok(None);
    }
    let landed = reader.is_ancestor(&tip, &target)? || adds_nothing(repo, &target, &tip)?;
    Ok(landed.then(|| format!("its base `{name}` has landed on `{onto}`, where it stands now")))
}

/// True when merging a branch would change nothing: it was squashed, or picked commit by commit.
fn adds_nothing(repo: &Repository, target: &CommitId, tip: &CommitId) -> Result<bool> {
    let quarantine = Quarantine::create(repo, tip)?;
    let merged = merge_trees(&quarantine, None, target, tip);
    quarantine.discard()?;
    let tree = repo.reader().tree_of(target)?;
    Ok(matches!(merged?, Merged::Clean(merged) if merged == tree))
}

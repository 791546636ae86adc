//! A base whose branch here and whose counterpart on the remote both have commits of their own, brought together in memory:
//! what `git pull` would make of it, without touching either.
//!
//! The same two tips give the same commit whoever asks, unless commits are signed. No ref names it until the caller's does.

use super::base::ResolvedBase;
use super::base_name::BaseTarget;
use super::error::{Result, WorktreeError};
use super::merge::{self, Merged, Signature, merge_trees};
use super::quarantine::{Kept, Quarantine};
use super::repository::Repository;
use crate::model::{BaseReport, CommitId, Freshness};
use crate::sys::git::Reader;

/// A base that lacks nothing any more.
#[derive(Debug)]
pub struct Together {
    /// What is known of it, its commit included.
    pub report: BaseReport,
    /// What keeps the commit until a ref holds it.
    pub kept: Option<Kept>,
}

/// Brings a diverged base together; any other is as it was.
pub fn together(repo: &Repository, base: &ResolvedBase) -> Result<Together> {
    let Some(sides) = &base.diverged else { return Ok(Together { report: base.report.clone(), kept: None }) };
    let quarantine = Quarantine::create(repo, &sides.local)?;
    let made = merged(&quarantine, base, &sides.local, &sides.remote);
    let made = made.and_then(|commit| {
        let kept = quarantine.migrate(std::slice::from_ref(&commit), &[sides.local.clone(), sides.remote.clone()])?;
        Ok((commit, kept))
    });
    quarantine.discard()?;
    let (commit, kept) = made?;
    let (ahead, _) = repo.reader().ahead_behind(&commit, &sides.remote)?;
    let report = BaseReport {
        commit,
        freshness: Freshness::Fresh,
        ahead,
        behind: 0,
        missing: Vec::new(),
        ..base.report.clone()
    };
    Ok(Together { report, kept: Some(kept) })
}

fn merged(quarantine: &Quarantine, base: &ResolvedBase, local: &CommitId, remote: &CommitId) -> Result<CommitId> {
    let BaseTarget::Branch { local: Some(branch), remote: Some(counterpart) } = &base.target else {
        return Err(WorktreeError::NotFound { kind: "branch", name: base.report.reference.clone() });
    };
    let theirs = format!("{}/{}", counterpart.remote, counterpart.branch);
    let tree = match merge_trees(quarantine, None, local, remote)? {
        Merged::Clean(tree) => tree,
        Merged::Conflict(paths) => {
            let message = format!("`{branch}` and `{theirs}` have diverged and conflict: {}", paths.join(", "));
            return Err(WorktreeError::Conflict { message, paths });
        }
    };
    let message = format!("Merge remote-tracking branch '{theirs}' into {branch}\n");
    let newest = date_of(quarantine, local)?.max(date_of(quarantine, remote)?);
    merge::commit_tree(quarantine, &tree, &[local, remote], &message, &Signature::at(newest))
}

/// When a commit was committed, in seconds of Unix time.
fn date_of(quarantine: &Quarantine, commit: &CommitId) -> Result<i64> {
    let text =
        quarantine.command(["show", "-s", "--no-show-signature", "--format=%ct", commit.as_str(), "--"]).text()?;
    Ok(text.trim().parse().unwrap_or_default())
}

/// How a commit stands to both sides of a diverged base: ahead, behind, and the subjects of what it lacks.
pub fn standing(
    reader: &Reader,
    tip: &CommitId,
    sides: [&CommitId; 2],
    limit: usize,
) -> Result<(usize, usize, Vec<String>)> {
    let ahead = reader.count(&[tip], &sides)?;
    let behind = reader.count(&sides, &[tip])?;
    let missing = if behind == 0 { Vec::new() } else { reader.subjects(&sides, &[tip], limit)? };
    Ok((ahead, behind, missing))
}

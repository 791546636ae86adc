//! Scan: how a workspace stands now: its tip, its freshness, whether it is dirty, how old and how big it is.
//!
//! git is run only in plain workspaces; in a sealed one a child could have planted what git would start.

use super::base::{self, Lookup, ResolvedBase};
use super::checkouts;
use super::error::{Result, WorktreeError};
use super::repository::Repository;
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, CommitId, Proof};
use crate::sys::fs;

/// How a workspace stands.
#[derive(Clone, Debug)]
pub struct WorkspaceStatus {
    /// The tip of its branch, or its detached HEAD.
    pub tip: Option<CommitId>,
    /// Its base, with freshness, ahead and behind as of its tip.
    pub base: BaseReport,
    /// Why the remote gave no full answer.
    pub remote_error: Option<String>,
    /// Uncommitted changes; `None` when that must not be looked at from outside (sealed) or cannot be (gone).
    pub dirty: Option<bool>,
    /// Its directory is there.
    pub present: bool,
}

/// Looks at a workspace.
pub fn status(repo: &Repository, record: &WorkspaceRecord, lookup: Lookup) -> Result<WorkspaceStatus> {
    let present = fs::exists(&record.path)?;
    let tip = tip(repo, record)?;
    let (base, remote_error) = freshness(repo, record, tip.as_ref(), lookup)?;
    let dirty = if record.sealed || !present { None } else { Some(is_dirty(repo, record)?) };
    Ok(WorkspaceStatus { tip, base, remote_error, dirty, present })
}

/// What a workspace's HEAD is: its branch's tip in general, something else when a person switched.
pub fn tip(repo: &Repository, record: &WorkspaceRecord) -> Result<Option<CommitId>> {
    if !record.sealed
        && let Some(checkout) = checkouts::scan(repo)?.into_iter().find(|c| c.tree.as_ref() == Some(&record.path))
    {
        return Ok(crate::sys::git::Reader::open(&repo.git, &checkout.git_dir).revision("HEAD")?);
    }
    Ok(repo.reader().ref_commit(&record.branch.full_ref())?)
}

/// How fresh a workspace is against the newest tip of its base.
pub fn freshness(
    repo: &Repository,
    record: &WorkspaceRecord,
    tip: Option<&CommitId>,
    lookup: Lookup,
) -> Result<(BaseReport, Option<String>)> {
    let resolved = match base::resolve(repo, Some(&record.base.reference), lookup) {
        Ok(resolved) => resolved,
        // The base is gone: nothing can be said about freshness, and that is what is said.
        Err(WorktreeError::NotFound { kind, name }) => {
            let report =
                BaseReport { freshness: crate::model::Freshness::Unknown, proof: Proof::None, ..record.base.clone() };
            return Ok((report, Some(format!("there is no {kind} `{name}` any more"))));
        }
        Err(error) => return Err(error),
    };
    let ResolvedBase { report: newest, remote_error, .. } = resolved;
    let tip = tip.unwrap_or(&record.base.commit).clone();
    let standing = base::report(&repo.reader(), &newest.reference, tip, &newest.commit, newest.proof)?;
    let report = BaseReport {
        commit: record.base.commit.clone(),
        remote_commit: newest.remote_commit,
        fetched_at: newest.fetched_at.or(record.base.fetched_at),
        ..standing
    };
    Ok((report, remote_error))
}

/// True when something in a plain workspace is staged, changed or untracked.
pub fn is_dirty(repo: &Repository, record: &WorkspaceRecord) -> Result<bool> {
    let Some(checkout) = checkouts::scan(repo)?.into_iter().find(|c| c.tree.as_ref() == Some(&record.path)) else {
        let message = format!("{} is no worktree of this repository any more", record.path.display());
        return Err(WorktreeError::refused(message, "see `git worktree list`; `git worktree repair` mends moved ones"));
    };
    let args = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=none"];
    let output = repo.git.tree(&checkout.git_dir, &record.path, args).run()?;
    Ok(!output.stdout.is_empty())
}

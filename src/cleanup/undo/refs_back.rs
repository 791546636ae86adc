//! Scan: whether the refs of a removal are as it left them, so that what it took can come back to them.
//!
//! A branch that went comes back where it was; one that stayed must be there still, for the index of what comes back is that
//! of its commit. Where it is gone by now, it comes back too. What is in the way is told in sentences, with the commits.

use std::path::Path;

use super::decide::moved_on;
use super::redo_scan::in_use;
use super::upon::on_top;
use crate::cleanup::error::Result;
use crate::cleanup::salvage::saved::in_the_way;
use crate::model::CommitId;
use crate::model::operation::{RefFate, RemovedItem};
use crate::sys::fs;
use crate::worktree::Repository;

const BRANCHES: &str = "refs/heads/";

/// Everything that keeps these refs from being as they were.
pub fn obstacles(repo: &Repository, items: &[RemovedItem]) -> Result<Vec<String>> {
    let (reader, mut found, mut absent) = (repo.reader(), Vec::new(), Vec::new());
    for item in items {
        let RemovedItem::Ref { name, commit, fate, .. } = item else { continue };
        match reader.ref_commit(name)? {
            Some(now) => found.extend(obstacle(repo, items, name, (commit, now), *fate)?),
            None if !reader.has_commit(commit)? => {
                found.push(format!("the commit {} of {name} is gone", commit.short()))
            }
            None => absent.push(name.clone()),
        }
    }
    if !absent.is_empty() {
        let there = reader.refs_below(BRANCHES)?;
        let there = || there.iter().map(|(name, _)| name.as_str());
        // One by one only where there is something to say.
        let is_free = in_the_way(&absent, there()).is_none();
        for name in absent.iter().filter(|_| !is_free) {
            let beside = in_the_way(std::slice::from_ref(name), there());
            found.extend(beside.map(|other| format!("{name} cannot come back beside {other}")));
        }
    }
    Ok(found)
}

/// The branches that a removal left and that are gone by now.
pub fn gone(repo: &Repository, items: &[RemovedItem]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for item in items {
        if let RemovedItem::Ref { name, fate: RefFate::Kept | RefFate::Shared, .. } = item
            && repo.reader().ref_commit(name)?.is_none()
        {
            found.push(name.clone());
        }
    }
    Ok(found)
}

fn obstacle(
    repo: &Repository,
    items: &[RemovedItem],
    name: &str,
    (commit, now): (&CommitId, CommitId),
    fate: RefFate,
) -> Result<Option<String>> {
    let short = name.strip_prefix(BRANCHES).unwrap_or(name);
    if now != *commit {
        let moved = moved_on(short, &now, commit, &on_top(repo, commit, &now, None)?);
        return Ok(Some(if fate.is_deleted() { format!("{name} is there again: {moved}") } else { moved }));
    }
    let on_it = match fate {
        RefFate::Kept => true,
        RefFate::Shared => false,
        RefFate::Deleted => comes_back_on(repo, items, name)?,
    };
    if on_it { in_use(repo, name, items) } else { Ok(None) }
}

/// True when a worktree that comes back is on this branch.
fn comes_back_on(repo: &Repository, items: &[RemovedItem], name: &str) -> Result<bool> {
    for item in items {
        if let RemovedItem::Directory { trash, .. } = item
            && head(repo, trash)?.as_deref() == Some(name)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The branch that a removed git dir is on; `None` for every other directory.
fn head(repo: &Repository, trash: &Path) -> Result<Option<String>> {
    if !fs::exists(&trash.join("commondir"))? {
        return Ok(None);
    }
    // In the trash the way to the common dir that it names leads nowhere.
    let asked = repo.git.bare(trash, ["symbolic-ref", "--quiet", "HEAD"]).env("GIT_COMMON_DIR", &repo.common_dir);
    let output = asked.output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Some(text).filter(|_| output.status.success()))
}

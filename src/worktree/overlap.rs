//! Which files both a workspace and the commits that it lacks have changed: where bringing them in may conflict.
//!
//! Of the workspace all counts that is committed, staged or changed, and what git does not track where those commits write.
//! Nothing is touched.

use std::collections::BTreeSet;

use super::checkouts;
use super::error::Result;
use super::folding::folds;
use super::gitlinks::KEEP_OUT;
use super::import::changes;
use super::in_the_way::in_the_way;
use super::index_copy::require_no_trap;
use super::index_lock::present;
use super::repository::Repository;
use crate::model::CommitId;
use crate::model::record::WorkspaceRecord;
use crate::sys::fs;
use crate::sys::git::GitCommand;

/// Most files that are named.
const NAMED_MAX: usize = 50;

/// The files, in order, at most 50; git's names, lossy where they are not UTF-8.
pub fn overlap(repo: &Repository, record: &WorkspaceRecord, newest: &CommitId) -> Result<Vec<String>> {
    let reader = repo.reader();
    let Some(tip) = reader.ref_commit(&record.branch.full_ref())? else { return Ok(Vec::new()) };
    let Some(fork) = reader.merge_base(&tip, newest)? else { return Ok(Vec::new()) };
    let names = ["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff"];
    let lacking = changed(repo.bare(names).args([fork.as_str(), newest.as_str(), "--"]))?;
    let mut own = changed(repo.bare(names).args([fork.as_str(), tip.as_str(), "--"]))?;
    let mut blocked = BTreeSet::new();
    if !record.sealed
        && fs::exists(&record.path)?
        && let Some(checkout) = checkouts::at(repo, &record.path)?
    {
        require_no_trap(&record.path)?;
        own.extend(changed(repo.git.tree(&checkout.git_dir, &record.path, names).args([KEEP_OUT, "HEAD", "--"]))?);
        // As it is asked when they are brought in.
        let raw = changes(repo.bare([] as [&str; 0]), &fork, newest)?.raw;
        blocked.extend(in_the_way(&raw, &own, folds(repo)?, |path| present(&record.path, path)));
    }
    blocked.extend(lacking.intersection(&own).cloned());
    Ok(blocked.iter().take(NAMED_MAX).map(|path| String::from_utf8_lossy(path).into_owned()).collect())
}

fn changed(command: GitCommand) -> Result<BTreeSet<Vec<u8>>> {
    Ok(command.run()?.records().map(<[u8]>::to_vec).collect())
}

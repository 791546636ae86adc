//! Apply: branches made again many in one transaction, with the reflogs that were kept of them.
//!
//! Where that does not go through, or refs are in tables, nothing is done, and each comes back by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::cleanup::branch_log;
use crate::cleanup::error::Result;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::model::operation::RemovedItem;
use crate::worktree::Repository;

/// Makes those again that can be made at once; whoever puts back one after the other passes over those that this names.
pub(super) fn make_again<'a>(repo: &Repository, items: &'a [RemovedItem]) -> Result<BTreeSet<&'a str>> {
    let (reader, mut made) = (repo.reader(), BTreeMap::new());
    for item in items {
        let RemovedItem::Ref { name, commit, traces: Some(traces), .. } = item else { continue };
        let is_plain = branch_log::is_file(repo, &traces.log)? == Some(true) && traces.sections.is_empty();
        if is_plain && reader.ref_commit(name)?.is_none() {
            made.insert(name.as_str(), (commit, traces.log.as_str()));
        }
    }
    if made.len() < 2 {
        return Ok(BTreeSet::new());
    }
    let refs: Vec<(&str, &CommitId)> = made.iter().map(|(name, (commit, _))| (*name, *commit)).collect();
    if let Err(error) = branch_log::create_silently(repo, &refs) {
        tracing::debug!("refs come back one by one: {}", chain(&error));
        return Ok(BTreeSet::new());
    }
    for (name, (_, log)) in &made {
        branch_log::copy(repo, log, name)?;
    }
    Ok(made.into_keys().collect())
}

//! Apply: branches made again many in one transaction, with the reflogs that were kept of them.
//!
//! Where that does not go through, or refs are in tables, nothing is done, and each comes back by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::branch_log;
use super::error::Result;
use crate::model::Hooks;
use crate::model::cause::chain;
use crate::model::record::RemovedItem;
use crate::worktree::Repository;

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

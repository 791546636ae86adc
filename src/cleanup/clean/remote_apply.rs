//! Apply: branches of one remote that `clean` takes, many in one push: one look at the remote, one entry in the journal.
//!
//! Each is looked at once more and skipped by itself where it, or what its work was found in, is not as expected. The remote itself
//! refuses what has moved after that.

use std::collections::{BTreeMap, BTreeSet};

use super::refs::in_use;
use super::types::DoomedRemoteBranch;
use crate::cleanup::batch::Batch;
use crate::cleanup::done::Done;
use crate::cleanup::error::Result;
use crate::model::CommitId;
use crate::worktree::Repository;
use crate::worktree::remote_push::RemoteTip;
use crate::worktree::remote_refs::{Advertised, advertised, fetch};

/// Takes these away, which are all on one remote; how each came out, in their order.
pub(super) fn take(
    repo: &Repository,
    batch: &mut Batch<'_>,
    doomed: &[&DoomedRemoteBranch],
    summary: &str,
) -> Result<Vec<Done>> {
    let Some(DoomedRemoteBranch { remote, deadline, .. }) = doomed.first() else { return Ok(Vec::new()) };
    let now = advertised(repo, remote, *deadline)?;
    let (in_use, lost) = (in_use(repo)?, lost_targets(repo, doomed, &now)?);
    let mut why: BTreeMap<&str, String> = BTreeMap::new();
    for one in doomed {
        let name = one.branch.as_str();
        if let Some(target) = one.targets.iter().find(|target| lost.contains(target)) {
            why.insert(name, format!("`{}` on {remote} does not have what it had", target.0));
        } else if let Some(place) = in_use.get(&format!("refs/heads/{name}")) {
            why.insert(name, format!("it is in use in {place}"));
        } else {
            match now.branches.get(name) {
                None => drop(why.insert(name, "it is gone there already".to_owned())),
                Some(tip) if *tip != one.tip => drop(why.insert(name, "it is elsewhere now".to_owned())),
                Some(_) => {}
            }
        }
    }
    let tips: Vec<RemoteTip> = doomed
        .iter()
        .filter(|one| !why.contains_key(one.branch.as_str()))
        .map(|one| (one.branch.clone(), one.tip.clone()))
        .collect();
    for ((branch, _), pushed) in tips.iter().zip(batch.delete_on_remote(remote, &tips, *deadline, summary)?) {
        if let (Err(refused), Some(one)) = (pushed, doomed.iter().find(|one| one.branch == *branch)) {
            why.insert(&one.branch, format!("{remote} does not let it go: {refused}"));
        }
    }
    let done =
        |one: &&DoomedRemoteBranch| why.get(one.branch.as_str()).cloned().map_or_else(Done::plain, Done::Skipped);
    Ok(doomed.iter().map(done).collect())
}

/// The targets that are no longer what they were and what was added to that.
fn lost_targets(repo: &Repository, doomed: &[&DoomedRemoteBranch], now: &Advertised) -> Result<BTreeSet<RemoteTip>> {
    let all: BTreeSet<&RemoteTip> = doomed.iter().flat_map(|one| &one.targets).collect();
    let moved: Vec<(&RemoteTip, Option<&CommitId>)> = all
        .into_iter()
        .map(|target| (target, now.branches.get(&target.0)))
        .filter(|(target, tip)| *tip != Some(&target.1))
        .collect();
    let anew: Vec<(&str, &CommitId)> =
        moved.iter().filter_map(|(target, tip)| Some((target.0.as_str(), (*tip)?))).collect();
    if let Some(first) = doomed.first() {
        fetch(repo, &first.remote, &anew, first.deadline)?;
    }
    let reader = repo.reader();
    let mut lost = BTreeSet::new();
    for (target, tip) in moved {
        let goes_on = match tip {
            Some(tip) => reader.has_commit(tip)? && reader.is_ancestor(&target.1, tip)?,
            None => false,
        };
        if !goes_on {
            lost.insert(target.clone());
        }
    }
    Ok(lost)
}

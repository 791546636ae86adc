//! Apply: where a round lands: on the branch here, or on its counterpart on a remote, which the branch here then follows.
//!
//! A remote is asked anew in each round: what others landed there, with the same results or with other ones, is where this
//! round begins.

use std::time::Duration;

use serde_json::json;

use super::stack::Link;
use crate::model::cause::chain;
use crate::model::{BranchName, CommitId, PushTarget, QueueEntry};
use crate::orchestrator::context::{Context, RunError};
use crate::orchestrator::kept;
use crate::store::EntryDraft;
use crate::worktree::advance::{Advance, Advanced, advance, advance_with};
use crate::worktree::import::RefChange;
use crate::worktree::remote_landing::{self, Pushed, There};
use crate::worktree::{Repository, WorktreeError};

/// What is there when a round begins.
pub struct Ground {
    /// The tip to land on; `None` where the branch is gone.
    pub tip: Option<CommitId>,
    /// Results that have landed there already, by another machine, and as what.
    pub landed: Vec<(QueueEntry, CommitId)>,
}

/// Looks at where these are to land.
pub fn look(context: &Context, entries: &[QueueEntry]) -> Result<Ground, RunError> {
    let Some(target) = &context.run.push else {
        return Ok(Ground { tip: tip_here(&context.repo, &context.run.into)?, landed: Vec::new() });
    };
    let results: Vec<&CommitId> = entries.iter().map(|entry| &entry.commit).collect();
    let There { tip, landed } = remote_landing::look(&context.repo, target, &results)?;
    let one = |entry: &QueueEntry| Some((entry.clone(), landed.get(&entry.commit)?.clone()));
    Ok(Ground { tip, landed: entries.iter().filter_map(one).collect() })
}

/// True while that is still where a round began; of a remote only the push itself can say it.
pub fn stands(context: &Context, tip: &CommitId) -> Result<bool, RunError> {
    Ok(context.run.push.is_some() || tip_here(&context.repo, &context.run.into)?.as_ref() == Some(tip))
}

/// The tip of a branch here.
pub fn tip_here(repo: &Repository, branch: &BranchName) -> Result<Option<CommitId>, RunError> {
    Ok(repo.reader().ref_commit(&branch.full_ref()).map_err(WorktreeError::from)?)
}

/// How moving it went.
pub enum Moved {
    /// It is there.
    Done,
    /// Not, or not wholly.
    Not(Advanced),
    /// The remote does not want it.
    Refused(String),
}

/// Moves it from one commit to another, which these results are, if all of `standing` is as it says.
pub fn move_on(
    context: &Context,
    (from, to): (&CommitId, &CommitId),
    (links, standing): (&[Link], &[RefChange]),
    message: &str,
) -> Result<Moved, RunError> {
    let Some(target) = &context.run.push else {
        let (branch, lock_wait) = (&context.run.into, context.run.lock_wait.0);
        let captured: Vec<_> = links.iter().map(|link| link.subject.captured()).collect();
        let mut also = kept::missing(&context.repo, &captured)?;
        also.extend_from_slice(standing);
        return match advance_with(&context.repo, &Advance { branch, from, to, message, lock_wait }, &also) {
            Ok(Advanced::Done) => Ok(Moved::Done),
            Ok(other) => Ok(Moved::Not(other)),
            Err(_) if !kept::stand(&context.repo, standing)? => Ok(Moved::Not(Advanced::Raced)),
            Err(error) => Err(error.into()),
        };
    };
    let landed: Vec<(CommitId, CommitId)> =
        links.iter().map(|link| (link.subject.entry.commit.clone(), link.after.clone())).collect();
    Ok(match remote_landing::push(&context.repo, target, (from, to), &landed)? {
        Pushed::Done => Moved::Done,
        Pushed::Raced => Moved::Not(Advanced::Raced),
        Pushed::Refused(why) => Moved::Refused(why),
    })
}

/// Brings the branch here to what has landed on the remote, where nothing of anybody's is in the way. It has landed, whatever comes
/// of that; why the branch stays is on record, for who asks.
pub fn follow(context: &Context, landed: &CommitId, message: &str) -> Result<(), RunError> {
    let Some(target) = &context.run.push else { return Ok(()) };
    let (into, lock_wait) = (&context.run.into, context.run.lock_wait.0);
    let why = match bring_along(&context.repo, into, landed, (message, lock_wait)) {
        Ok(None) => return Ok(()),
        Ok(Some(why)) => why,
        Err(error) => chain(&error),
    };
    let data = json!({"into": into, "pushed": target.to_string(), "why": why});
    let draft = EntryDraft::new(LEFT, data).of_run(&context.run.id);
    context.store(|store| store.note(&draft))?;
    Ok(())
}

/// What the journal calls a branch here that did not follow.
pub const LEFT: &str = "landing.left";

/// Moves a branch here to a commit that has landed on a remote; why it stays, if it does.
pub fn bring_along(
    repo: &Repository,
    into: &BranchName,
    landed: &CommitId,
    (message, lock_wait): (&str, Duration),
) -> Result<Option<String>, RunError> {
    let Some(here) = tip_here(repo, into)? else { return Ok(Some(format!("there is no branch `{into}` here"))) };
    let reader = repo.reader();
    let is_below = |one: &CommitId, other: &CommitId| reader.is_ancestor(one, other).map_err(WorktreeError::from);
    if is_below(landed, &here)? {
        return Ok(None);
    }
    if !is_below(&here, landed)? {
        return Ok(Some(format!("`{into}` has commits here that are not there")));
    }
    let moved = advance(repo, &Advance { branch: into, from: &here, to: landed, message, lock_wait })?;
    Ok(match moved {
        Advanced::Done => None,
        Advanced::Raced => Some(format!("`{into}` moved here at the same moment")),
        Advanced::InTheWay(obstacle) => Some(obstacle.message),
        Advanced::Busy { lock } => Some(format!("{} is held by another git process", lock.display())),
        Advanced::Behind { message } => Some(message),
    })
}

/// Why a remote that was asked did not answer.
pub fn silence(target: &PushTarget, error: &WorktreeError) -> String {
    format!("{}: {}", target.remote, crate::worktree::remote_refs::silence(error))
}

//! Apply: what a person asks of the queue: that an entry waits, goes first or goes, that nothing lands on a branch for now.
//!
//! It is on record before anybody acts on it, so that it holds whoever has the turn. An entry that is being judged is judged to
//! its end; it lands only if it still may then.

use serde_json::json;

use super::order::Obstacle;
use super::{bell, scan};
use crate::model::{BranchName, QueueEntry, QueuePause, Reason, ReasonKind, RunId, TaskId};
use crate::orchestrator::client;
use crate::orchestrator::context::RunError;
use crate::orchestrator::control::Command;
use crate::store::Store;
use crate::sys::clock;
use crate::worktree::Repository;

/// Holds entries back, for this reason.
pub fn hold(repo: &Repository, store: &Store, entries: &[QueueEntry], why: &str) -> Result<(), RunError> {
    let change = |entry: &mut QueueEntry| entry.held = Some(why.to_owned());
    store.edit_queue(entries, "queue.held", &json!({"reason": why}), change)?;
    bell::ring(repo)
}

/// Lets entries land again.
pub fn release(repo: &Repository, store: &Store, entries: &[QueueEntry]) -> Result<(), RunError> {
    store.edit_queue(entries, "queue.released", &json!({}), |entry| entry.held = None)?;
    bell::ring(repo)
}

/// Puts entries before everything else on their branch, in the order in which they are named.
pub fn bump(repo: &Repository, store: &Store, entries: &[QueueEntry]) -> Result<(), RunError> {
    for entry in entries.iter().rev() {
        let others = store.queue(Some(&entry.target))?;
        let highest = others.iter().filter(|other| other.number != entry.number).map(|other| other.priority).max();
        let priority = highest.map_or(0, |highest| highest.saturating_add(1)).max(entry.priority);
        let change = |entry: &mut QueueEntry| entry.priority = priority;
        store.edit_queue(std::slice::from_ref(entry), "queue.bumped", &json!({"priority": priority}), change)?;
    }
    bell::ring(repo)
}

/// Takes entries out of the queue: their tasks are rejected, and keep their branches. Where somebody waits for one, that is done
/// there. It is an operation, which can be taken back.
pub fn drop_out(repo: &Repository, store: &Store, entries: &[QueueEntry], why: &str) -> Result<(), RunError> {
    let words = if why.is_empty() { String::new() } else { format!(": {why}") };
    let reason = Reason::new(ReasonKind::Cancelled, format!("it was dropped from the queue{words}"));
    store.drop_from_queue(entries, &reason, scan::is_attended)?;
    bell::ring(repo)
}

/// How often it is looked anew whether a run is over.
const ROUNDS: usize = 5;

/// Has a run attend to results of it that were dropped and are in the queue again. One that nobody supervised before stays so.
pub fn attend_again(
    repo: &Repository,
    store: &Store,
    (run, tasks): (&RunId, &[TaskId]),
    was_over: bool,
) -> Result<(), RunError> {
    bell::ring(repo)?;
    for round in 1..=ROUNDS {
        if store.run(run)?.state.is_terminal() {
            client::reopen_to_land(repo, store, run, tasks)?;
            return client::ensure_supervised(repo, store, run);
        }
        if !was_over && !client::is_supervised(repo, run)? {
            return Ok(());
        }
        match client::command(repo, store, run, &Command::Accept { tasks: tasks.to_vec() }, |_| Ok(())) {
            // It was about to end.
            Err(RunError::Refused { .. }) if round < ROUNDS => {}
            done => return done,
        }
    }
    Ok(())
}

/// Lets nothing land on a branch from now on, for this reason.
pub fn pause(repo: &Repository, store: &Store, target: &BranchName, reason: &str) -> Result<(), RunError> {
    store.pause_queue(&QueuePause { target: target.clone(), reason: reason.to_owned(), at: clock::now() })?;
    bell::ring(repo)
}

/// Lets things land on it again; false when nothing kept them from it.
pub fn resume(repo: &Repository, store: &Store, target: &BranchName) -> Result<bool, RunError> {
    let resumed = store.resume_queue(target)?;
    bell::ring(repo)?;
    Ok(resumed)
}

/// How an entry stands, in a word and why.
pub fn standing(entry: &QueueEntry, obstacle: Option<&Obstacle>, pause: Option<&QueuePause>) -> (&'static str, String) {
    match obstacle {
        Some(Obstacle::Refused) => {
            ("refused", entry.refused.as_ref().map_or_else(String::new, |reason| reason.message.clone()))
        }
        Some(Obstacle::Held(why)) if why.is_empty() => ("held", "a person holds it back".into()),
        Some(Obstacle::Held(why)) => ("held", why.clone()),
        Some(Obstacle::RunPaused) => ("blocked", format!("run {} is paused", entry.run)),
        Some(Obstacle::Unattended) => {
            ("unattended", format!("run {} has no supervisor: treehand resume {}", entry.run, entry.run))
        }
        Some(Obstacle::Needs(need)) => ("blocked", format!("{need} lands first")),
        None if entry.judged_since.is_some() => ("judged", String::new()),
        None => ("waiting", pause.map_or_else(String::new, ToString::to_string)),
    }
}

/// Every branch on which something waits, or nothing lands for now, each with its queue.
pub fn all(store: &Store) -> Result<Vec<(BranchName, scan::Queue)>, RunError> {
    let mut targets: Vec<BranchName> = store.queue(None)?.into_iter().map(|entry| entry.target).collect();
    targets.extend(store.queue_pauses()?.into_iter().map(|pause| pause.target));
    targets.sort();
    targets.dedup();
    let one = |target: BranchName| Ok((target.clone(), scan::queue(store, &target)?));
    targets.into_iter().map(one).collect()
}

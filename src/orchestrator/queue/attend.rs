//! The part of a supervisor in the queue: it hands in results of its run, lands what is first when that is judged as one of its
//! own is and nobody else is at it, and hears what became of its own, whoever landed them.
//!
//! A run lands also what others handed in, with the same gates and surroundings, so that many small runs are judged together. What
//! is judged in another way is left to its own run.

use std::sync::Arc;

use tokio::sync::Notify;

use super::round::{self, Round};
use super::{bell, order};
use super::{scan, terms, turn};
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{QueueEntry, Reason, ReasonKind, TaskId, TaskState};
use crate::orchestrator::context::{Context, RunError, blocking};
use crate::orchestrator::refusal::{cancel, reject, reject_dependent};
use crate::orchestrator::resolve;
use crate::sys::{clock, proc};

/// Most results that are judged together.
const BATCH: usize = 64;

/// How often a remote may say nothing before it is given up.
const SILENCES: u32 = 3;

/// How often the target may move under one landing before it is given up as busy.
const RACES: u32 = 50;

/// Hands in the result of a task. A state is the answer where it cannot be: that is what it comes to.
pub fn hand_in(context: &Context, id: &TaskId) -> Result<Option<TaskState>, RunError> {
    let task = context.task(id)?;
    if task.state.is_terminal() {
        // A person has dropped it again before it was handed in.
        return Ok(Some(task.state));
    }
    let Some(entry) = entry_of(&context.run, &task) else {
        let reason = Reason::new(ReasonKind::Empty, "there is no captured result to land");
        return reject(context, id, reason).map(Some);
    };
    context.store(|store| store.enter_queue(&entry))?;
    context.handed_in(|waiting| waiting.insert(id.clone()));
    bell::ring(&context.repo)?;
    Ok(None)
}

/// The entry of a task's result, as this process hands it in; `None` where there is no result.
pub fn entry_of(run: &RunRecord, task: &TaskRecord) -> Option<QueueEntry> {
    Some(QueueEntry {
        number: 0,
        target: run.into.clone(),
        run: run.id.clone(),
        task: task.id.clone(),
        base: task.base.clone()?,
        commit: task.commit.clone()?,
        terms: terms::of(run, &task.spec),
        needs: task.spec.needs.clone(),
        priority: 0,
        submitted_at: clock::now(),
        owner: proc::own(),
        held: None,
        judged_since: None,
        refused: None,
    })
}

/// Waits, and works on the queue, until something of what this run handed in is in it no longer; that is the answer. Nothing when
/// nothing is handed in.
pub async fn attend(context: Arc<Context>) -> Result<Vec<TaskId>, RunError> {
    let rung = Arc::new(Notify::new());
    let _for_as_long_as_it_attends = context.watch_directory(&bell::place(&context.repo)?, &rung);
    let mut stop = context.stop_news();
    let (mut races, mut silent, mut singly, mut in_vain) = (0, 0, 0_usize, false);
    loop {
        let ended = {
            let context = Arc::clone(&context);
            blocking(move || settle(&context)).await??
        };
        if !ended.is_empty() || context.handed_in(|waiting| waiting.is_empty()) {
            return Ok(ended);
        }
        let most = if singly > 0 { 1 } else { BATCH };
        if !in_vain && let Some(outcome) = work(&context, most).await? {
            match outcome {
                Round::Progress => (races, silent, singly) = (0, 0, singly.saturating_sub(1)),
                Round::Silent(why) => {
                    silent += 1;
                    if silent == SILENCES {
                        silent = 0;
                        give_up(&context, ReasonKind::Failed, why)?;
                        continue;
                    }
                    // The bell that it has rung itself is no news of the remote.
                    tokio::select! {
                        () = tokio::time::sleep(bell::LOOK_AGAIN) => {}
                        _ = stop.changed() => {}
                    }
                }
                // Whoever changed it rings, or it is this run's own doing.
                Round::Changed => in_vain = true,
                Round::Raced => {
                    races += 1;
                    if races == RACES {
                        let into = &context.run.into;
                        let why = format!("`{into}` moved {RACES} times while the result was to land");
                        give_up(&context, ReasonKind::Busy, why)?;
                    }
                }
                Round::Divide(count) => singly = count,
            }
            continue;
        }
        in_vain = false;
        tokio::select! {
            () = rung.notified() => {}
            () = tokio::time::sleep(bell::LOOK_AGAIN) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Tries what is first, if that is for this run to try and nobody else is at it.
async fn work(context: &Arc<Context>, most: usize) -> Result<Option<Round>, RunError> {
    if first(context, most)?.is_none() {
        return Ok(None);
    }
    let Some(turn) = turn::take(&context.repo, &context.run.into)? else { return Ok(None) };
    // Whoever had the turn before may have changed everything.
    let outcome = match first(context, most)? {
        Some(entries) => Some(round::round(context, entries).await),
        None => None,
    };
    drop(turn);
    bell::ring(&context.repo)?;
    outcome.transpose()
}

/// The batch that is first in the queue, where this run can judge it.
fn first(context: &Context, most: usize) -> Result<Option<Vec<QueueEntry>>, RunError> {
    let queue = context.store(|store| scan::queue(store, &context.run.into))?;
    if queue.pause.is_some() {
        return Ok(None);
    }
    let line = order::line(&queue.waiting);
    let batch = order::batch(&line, most);
    let own = batch.iter().any(|entry| entry.run == context.run.id);
    Ok(own.then(|| batch.into_iter().cloned().collect()))
}

/// What is first of what this run can land is refused.
fn give_up(context: &Context, kind: ReasonKind, why: String) -> Result<(), RunError> {
    let entries: Vec<QueueEntry> = first(context, 1)?.into_iter().flatten().collect();
    round::refuse(context, &entries, &Reason::new(kind, why))
}

/// What of this run's is over: landed by whomever, refused, cancelled, or without what it needs.
fn settle(context: &Context) -> Result<Vec<TaskId>, RunError> {
    let mut ended = Vec::new();
    for id in context.handed_in(|waiting| waiting.clone()) {
        if state_of(context, &id)?.is_some() {
            context.handed_in(|waiting| waiting.remove(&id));
            ended.push(id);
        }
    }
    if !ended.is_empty() {
        bell::ring(&context.repo)?;
    }
    Ok(ended)
}

fn state_of(context: &Context, id: &TaskId) -> Result<Option<TaskState>, RunError> {
    let task = context.task(id)?;
    if task.state != TaskState::Candidate {
        return Ok(Some(task.state));
    }
    if context.has_to_stop(id) {
        return cancel(context, id).map(Some);
    }
    for need in &task.spec.needs {
        let state = context.task(need)?.state;
        if state.is_terminal() && !matches!(state, TaskState::Landed | TaskState::NoChange) {
            return reject_dependent(context, id, need).map(Some);
        }
    }
    match context.store(|store| store.queued(&context.run.id, id))? {
        Some(QueueEntry { refused: Some(reason), .. }) => resolve::refuse(context, id, &reason),
        Some(_) => Ok(None),
        // A store that was mended may have lost it.
        None => hand_in(context, id),
    }
}

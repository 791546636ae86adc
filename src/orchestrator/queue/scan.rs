//! Scan: what waits for a branch, and how it is about each of them: whether anybody waits for it, what it needs, whether its run
//! is paused. Reads the store and the process table, and changes nothing.

use std::collections::BTreeMap;

use super::order::Waiting;
use super::stack::Subject;
use crate::model::record::RunRecord;
use crate::model::{BranchName, QueueEntry, QueuePause, RunId, TaskId, TaskState};
use crate::store::{Store, StoreError};
use crate::sys::proc;

/// The queue of a branch at one moment.
#[derive(Clone, Debug)]
pub struct Queue {
    /// What waits, in the order of submission.
    pub waiting: Vec<Waiting>,
    /// That nothing lands on the branch for now.
    pub pause: Option<QueuePause>,
}

/// Looks at the queue of a branch.
pub fn queue(store: &Store, target: &BranchName) -> Result<Queue, StoreError> {
    let pause = store.queue_pauses()?.into_iter().find(|pause| pause.target == *target);
    let entries = store.queue(Some(target))?;
    let runs = runs_of(store, &entries)?;
    let mut waiting = Vec::new();
    for entry in entries {
        waiting.push(Waiting {
            attended: is_attended(&entry),
            run_paused: runs.get(&entry.run).is_some_and(|run| run.paused),
            open_needs: open_needs(store, &entry)?,
            entry,
        });
    }
    Ok(Queue { waiting, pause })
}

/// The runs of entries, each read once.
fn runs_of(store: &Store, entries: &[QueueEntry]) -> Result<BTreeMap<RunId, RunRecord>, StoreError> {
    let mut runs = BTreeMap::new();
    for QueueEntry { run, .. } in entries {
        if !runs.contains_key(run) {
            runs.insert(run.clone(), store.run(run)?);
        }
    }
    Ok(runs)
}

/// True when who waits for an entry lives.
pub fn is_attended(entry: &QueueEntry) -> bool {
    entry.owner.as_ref().is_some_and(proc::is_alive)
}

/// What an entry needs that has not landed.
fn open_needs(store: &Store, entry: &QueueEntry) -> Result<Vec<TaskId>, StoreError> {
    let mut open = Vec::new();
    for need in &entry.needs {
        if !matches!(store.task(&entry.run, need)?.state, TaskState::Landed | TaskState::NoChange) {
            open.push(need.clone());
        }
    }
    Ok(open)
}

/// Entries with what decides how each lands.
pub fn subjects(store: &Store, entries: &[QueueEntry]) -> Result<Vec<Subject>, StoreError> {
    let runs = runs_of(store, entries)?;
    let mut subjects = Vec::new();
    for entry in entries {
        if let Some(run) = runs.get(&entry.run) {
            subjects.push(Subject::of(entry.clone(), run, store.task(&entry.run, &entry.task)?));
        }
    }
    Ok(subjects)
}

/// True when all of these may still land: each is the entry that it was, nobody holds it back, and the branch is open.
pub fn still_wanted(store: &Store, target: &BranchName, entries: &[QueueEntry]) -> Result<bool, StoreError> {
    let queue = queue(store, target)?;
    if queue.pause.is_some() {
        return Ok(false);
    }
    let stands = |entry: &QueueEntry| {
        let same = |one: &&Waiting| one.entry.number == entry.number && one.entry.commit == entry.commit;
        let now = queue.waiting.iter().find(same);
        now.is_some_and(|now| now.entry.held.is_none() && now.entry.refused.is_none() && !now.run_paused)
    };
    Ok(entries.iter().all(stands))
}

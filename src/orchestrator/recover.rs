//! Recovery of landings whose process died between the intent and its end: the truth is read again from the repository.
//!
//! A branch that never moved lets the intent fall. One that moved is a landing: its files are completed, and it is recorded
//! with what it takes to undo it. Repeating it changes nothing; a living process's landing is left to it.

use std::time::Duration;

use serde_json::json;

use super::context::RunError;
use super::kept;
use crate::model::{BranchName, CommitId, RunId, TaskId};
use crate::store::{Entry, Landing, Store};
use crate::sys::lock::FileLock;
use crate::sys::{clock, proc};
use crate::worktree::Repository;
use crate::worktree::advance::Advance;
use crate::worktree::resume::{Recovered, Resumed, contains, resume};

/// The kind of a landing's journal entries.
pub const KIND: &str = "land";

/// Completes or drops every landing whose process is dead.
pub fn recover(repo: &Repository, store: &Store) -> Result<Recovered, RunError> {
    let mut recovered = Recovered::default();
    if open(store)?.is_empty() {
        return Ok(recovered);
    }
    let lock = repo.lock("recover");
    let _one_at_a_time = FileLock::acquire(&lock, &format!("pid {}, recovering landings", std::process::id()))?;
    // Looked up again: another process may have settled them while this one waited.
    for entry in open(store)? {
        one(repo, store, &entry, &mut recovered)?;
    }
    Ok(recovered)
}

/// Landings that a dead process left open.
pub fn open(store: &Store) -> Result<Vec<Entry>, RunError> {
    Ok(store
        .open_intents()?
        .into_iter()
        .filter(|entry| entry.kind == KIND && proc::is_known_dead(entry.owner().as_ref()))
        .collect())
}

fn one(repo: &Repository, store: &Store, entry: &Entry, recovered: &mut Recovered) -> Result<(), RunError> {
    let Some(Meant { run, task, into, before, after }) = Meant::read(entry) else {
        recovered.blocked.push(format!("journal entry {} cannot be read", entry.seq));
        return Ok(());
    };
    let name = format!("{run}/{task} on `{into}`");
    let message = format!("treehand: land {run}/{task}");
    let request = Advance { branch: &into, from: &before, to: &after, message: &message, lock_wait: Duration::ZERO };
    let landing = Landing { run: &run, task: &task, into: &into, before: &before, after: &after, at: clock::now() };
    let resumed = resume(repo, &request)?;
    let landed = match &resumed {
        Resumed::Complete | Resumed::InTheWay(_) => true,
        Resumed::MovedOn => contains(repo, &into, &after)?,
        Resumed::NotMoved | Resumed::Busy { .. } => false,
    };
    if landed && let Some(commit) = store.task(&run, &task)?.commit {
        kept::keep(repo, &run, &task, &commit)?;
    }
    match resumed {
        Resumed::NotMoved => {
            store.failed(entry.intent(), json!({"why": "its process died before the branch moved"}))?;
            recovered.settled.push(format!("{name}: the branch never moved"));
        }
        Resumed::Complete => {
            store.record_landing(&landing, Some(&entry.intent()))?;
            recovered.settled.push(format!("{name}: completed"));
        }
        Resumed::MovedOn if landed => {
            store.record_landing(&landing, Some(&entry.intent()))?;
            recovered.settled.push(format!("{name}: landed, and the branch has moved on since"));
        }
        Resumed::MovedOn => {
            store.failed(entry.intent(), json!({"why": "the branch is elsewhere, without it"}))?;
            recovered.settled.push(format!("{name}: the branch is elsewhere, without it"));
        }
        Resumed::InTheWay(obstacle) => {
            store.record_landing(&landing, None)?;
            recovered.blocked.push(format!("{name}: {}: {}", obstacle.message, obstacle.paths.join(", ")));
        }
        Resumed::Busy { lock } => recovered.blocked.push(format!("{name}: {} is held", lock.display())),
    }
    Ok(())
}

/// What an intent says.
struct Meant {
    run: RunId,
    task: TaskId,
    into: BranchName,
    before: CommitId,
    after: CommitId,
}

impl Meant {
    fn read(entry: &Entry) -> Option<Meant> {
        let text = |key: &str| entry.data[key].as_str();
        Some(Meant {
            run: RunId::parse(entry.run.as_deref()?).ok()?,
            task: TaskId::parse(entry.task.as_deref()?).ok()?,
            into: BranchName::parse(text("into")?).ok()?,
            before: CommitId::parse(text("before")?).ok()?,
            after: CommitId::parse(text("after")?).ok()?,
        })
    }
}

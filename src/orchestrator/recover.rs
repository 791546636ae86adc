//! Recovery of landings whose process died between the intent and its end: the truth is read again from the repository.
//!
//! A branch that never moved lets the intent fall. One that moved is a landing: its files are completed, and it is recorded
//! with what it takes to undo it. Repeating it changes nothing; a living process's landing is left to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::RunError;
use super::kept::{self, Captured};
use super::queue::{bell, place};
use crate::model::{BranchName, CommitId, PushTarget, RunId, TaskId, Timestamp};
use crate::store::{Entry, EntryDraft, Landing, Store};
use crate::sys::lock::FileLock;
use crate::sys::{clock, proc};
use crate::worktree::Repository;
use crate::worktree::advance::Advance;
use crate::worktree::remote_landing;
use crate::worktree::remote_refs;
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
    let Some(meant) = Meant::read(entry) else {
        recovered.blocked.push(format!("journal entry {} cannot be read", entry.seq));
        return Ok(());
    };
    if let Some(target) = &meant.push {
        return pushed(repo, store, (entry, &meant, target), recovered);
    }
    let Meant { into, before, after, landed: meant, .. } = meant;
    let names: Vec<String> = meant.iter().map(|one| format!("{}/{}", one.run, one.task)).collect();
    let (message, name) = (reflog(&names), format!("{} on `{into}`", names.join(", ")));
    let request = Advance { branch: &into, from: &before, to: &after, message: &message, lock_wait: Duration::ZERO };
    let at = clock::now();
    let landings: Vec<Landing<'_>> = meant.iter().map(|one| one.on(&into, at)).collect();
    let resumed = resume(repo, &request)?;
    let landed = match &resumed {
        Resumed::Complete | Resumed::InTheWay(_) => true,
        Resumed::MovedOn => contains(repo, &into, &after)?,
        Resumed::NotMoved | Resumed::Busy { .. } => false,
    };
    if landed {
        kept::keep(repo, &captured(store, &meant)?)?;
    }
    match resumed {
        Resumed::NotMoved => {
            store.failed(entry.intent(), json!({"why": "its process died before the branch moved"}))?;
            recovered.settled.push(format!("{name}: the branch never moved"));
        }
        Resumed::Complete => {
            store.record_landings(&landings, Some(&entry.intent()))?;
            recovered.settled.push(format!("{name}: completed"));
        }
        Resumed::MovedOn if landed => {
            store.record_landings(&landings, Some(&entry.intent()))?;
            recovered.settled.push(format!("{name}: landed, and the branch has moved on since"));
        }
        Resumed::MovedOn => {
            store.failed(entry.intent(), json!({"why": "the branch is elsewhere, without it"}))?;
            recovered.settled.push(format!("{name}: the branch is elsewhere, without it"));
        }
        Resumed::InTheWay(obstacle) => {
            store.record_landings(&landings, None)?;
            recovered.blocked.push(format!("{name}: {}: {}", obstacle.message, obstacle.paths.join(", ")));
        }
        Resumed::Busy { lock } => recovered.blocked.push(format!("{name}: {} is held", lock.display())),
    }
    bell::ring(repo)
}

/// What was captured of each.
fn captured(store: &Store, landed: &[One]) -> Result<Vec<Captured>, RunError> {
    let mut captured = Vec::new();
    for One { run, task, .. } in landed {
        captured.extend(store.task(run, task)?.commit.map(|commit| ((run.clone(), task.clone()), commit)));
    }
    Ok(captured)
}

/// A landing on a remote: that knows whether it happened, and it alone. The branch here is brought along, where it can be.
fn pushed(
    repo: &Repository,
    store: &Store,
    (entry, meant, target): (&Entry, &Meant, &PushTarget),
    recovered: &mut Recovered,
) -> Result<(), RunError> {
    let names: Vec<String> = meant.landed.iter().map(|one| format!("{}/{}", one.run, one.task)).collect();
    let name = format!("{} on {target}", names.join(", "));
    let captured = captured(store, &meant.landed)?;
    let results: Vec<&CommitId> = captured.iter().map(|(_, commit)| commit).collect();
    let there = match remote_landing::look(repo, target, &results) {
        Ok(there) => there,
        Err(error) => {
            recovered.blocked.push(format!("{name}: {}: {}", target.remote, remote_refs::silence(&error)));
            return Ok(());
        }
    };
    // All of them have, or none.
    let landed = meant.landed.iter().zip(&results).all(|(one, result)| there.landed.get(*result) == Some(&one.after));
    if landed && !results.is_empty() {
        kept::keep(repo, &captured)?;
        let message = reflog(&names);
        if let Some(here) = &meant.here {
            let (into, after) = (&meant.into, &meant.after);
            let begun = Advance { branch: into, from: here, to: after, message: &message, lock_wait: Duration::ZERO };
            let why = match resume(repo, &begun)? {
                Resumed::Complete | Resumed::MovedOn => None,
                Resumed::NotMoved => place::bring_along(repo, into, after, (&message, Duration::ZERO))?,
                Resumed::InTheWay(obstacle) => Some(obstacle.message),
                Resumed::Busy { lock } => Some(format!("{} is held", lock.display())),
            };
            if let Some(why) = why {
                recovered.settled.push(format!("{name}: the branch here stays: {why}"));
            }
        }
        let at = clock::now();
        let landings: Vec<Landing<'_>> = meant.landed.iter().map(|one| one.on(&meant.into, at)).collect();
        store.record_landings(&landings, Some(&entry.intent()))?;
        recovered.settled.push(format!("{name}: landed"));
    } else {
        store.failed(entry.intent(), json!({"why": "its process died, and the remote has not got it"}))?;
        recovered.settled.push(format!("{name}: the remote has not got it"));
    }
    bell::ring(repo)
}

/// What the reflog of a branch says of a landing of these.
pub fn reflog(names: &[String]) -> String {
    format!("treehand: land {}", names.join(", "))
}

/// One result of several that land by one move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct One {
    /// Its run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// What it is put on.
    pub before: CommitId,
    /// What that gives.
    pub after: CommitId,
}

impl One {
    fn on<'a>(&'a self, into: &'a BranchName, at: Timestamp) -> Landing<'a> {
        let One { run, task, before, after } = self;
        Landing { run, task, into, before, after, at }
    }
}

/// What an intent says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meant {
    /// The branch.
    pub into: BranchName,
    /// Where it is.
    pub before: CommitId,
    /// Where it goes.
    pub after: CommitId,
    /// The branch of a remote that has to go there first.
    #[serde(default)]
    pub push: Option<PushTarget>,
    /// Where the branch here is then, which follows.
    #[serde(default)]
    pub here: Option<CommitId>,
    /// What that lands, from the lowest to the highest; of intents of the first version the one task that they are about.
    #[serde(default)]
    pub landed: Vec<One>,
}

impl Meant {
    /// The line of the journal that says it.
    pub fn draft(&self) -> EntryDraft<'_> {
        let Meant { into, before, after, push, here, landed } = self;
        let data = json!({
            "into": into, "before": before, "after": after, "push": push, "here": here, "landed": landed, "owner": proc::own(),
        });
        let draft = EntryDraft::new(KIND, data);
        match landed.as_slice() {
            [One { run, task, .. }, ..] => draft.of_task(run, task),
            [] => draft,
        }
    }

    fn read(entry: &Entry) -> Option<Meant> {
        let mut meant: Meant = serde_json::from_value(entry.data.clone()).ok()?;
        if meant.landed.is_empty() {
            meant.landed.push(One {
                run: RunId::parse(entry.run.as_deref()?).ok()?,
                task: TaskId::parse(entry.task.as_deref()?).ok()?,
                before: meant.before.clone(),
                after: meant.after.clone(),
            });
        }
        Some(meant)
    }
}

//! Recovery of what this room and the makers of workspaces began and did not live to finish, except removals, which `clean`
//! plans for.
//!
//! An undo, a redo or a revert is completed, for that is what was asked for; a removal that cannot be made again wholly is
//! put back wholly. An intent whose effect is told by the records is closed. Repeating it changes nothing; what a living
//! process is doing is left to it.

use std::time::Duration;

use serde_json::json;

use super::removal_again::{self, Removal};
use super::shift::sealed_update;
use super::{made_branch, restore};
use crate::cleanup::error::Result;
use crate::cleanup::{config_lock, held};
use crate::model::cause::chain;
use crate::model::operation::{OperationRecord, PutBack, UndoData};
use crate::model::record::WorkspaceState;
use crate::model::{BranchName, CommitId, Token, WorkspaceName};
use crate::store::{Entry, Store};
use crate::sys::lock::FileLock;
use crate::sys::proc;
use crate::worktree::advance::Advance;
use crate::worktree::resume::{Recovered, Resumed, contains, resume};
use crate::worktree::update_sealed::{self, Finished};
use crate::worktree::{Repository, update};

/// What was done about undos and creations that nobody had finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// In sentences.
    pub recovered: Recovered,
    /// Operations whose undo was completed.
    pub undone: Vec<i64>,
    /// Operations that were made again.
    pub redone: Vec<i64>,
    /// Operations that a commit took back, each with the number of that.
    pub reverted: Vec<(i64, i64)>,
}

/// The kind of a revert's journal entries.
pub const REVERT: &str = "revert";

/// The kinds of intents that are completed here.
const TAKING_BACK: [&str; 3] = ["undo", removal_again::KIND, REVERT];

/// Completes every update, undo, redo and revert whose process is dead, and closes the intents of workspaces that are made, or
/// gone.
pub fn recover(repo: &Repository, store: &Store) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    config_lock::break_dead(repo)?;
    let ours = |kind: &str| ["workspace.create", update::KIND].contains(&kind) || TAKING_BACK.contains(&kind);
    if !store.open_intents()?.iter().any(|entry| ours(&entry.kind)) {
        return Ok(recovery);
    }
    let lock = repo.lock("recover");
    let _one_at_a_time = FileLock::acquire(&lock, &format!("pid {}, recovering", std::process::id()))?;
    recovery.recovered = update::recover(repo, store)?;
    for entry in store.open_intents()? {
        match entry.kind.as_str() {
            kind if TAKING_BACK.contains(&kind) && is_abandoned(&entry) => one(repo, store, &entry, &mut recovery)?,
            "workspace.create" => close_creation(store, &entry, &mut recovery)?,
            _ => {}
        }
    }
    Ok(recovery)
}

/// Undos, redos and reverts that a dead process left open.
pub fn open_undos(store: &Store) -> Result<Vec<Entry>> {
    let open = |entry: &Entry| TAKING_BACK.contains(&entry.kind.as_str()) && is_abandoned(entry);
    Ok(store.open_intents()?.into_iter().filter(open).collect())
}

fn is_abandoned(entry: &Entry) -> bool {
    proc::is_known_dead(entry.owner().as_ref())
}

/// A workspace that is no longer being made by this intent needs it no more.
fn close_creation(store: &Store, entry: &Entry, recovery: &mut Recovery) -> Result<()> {
    let name: Option<WorkspaceName> = serde_json::from_value(entry.data["name"].clone()).ok();
    let lease: Option<Token> = serde_json::from_value(entry.data["lease"].clone()).ok();
    let record = name.as_ref().map(|name| store.workspace(name)).transpose()?.flatten();
    match record.filter(|record| Some(&record.lease) == lease.as_ref()) {
        Some(record) if record.state == WorkspaceState::Creating => return Ok(()),
        Some(_) => store.done(entry.intent(), json!({"why": "it is recorded as made"}))?,
        None => store.failed(entry.intent(), json!({"why": "it was taken away again"}))?,
    }
    let name = name.map(|name| name.to_string()).unwrap_or_default();
    recovery.recovered.settled.push(format!("creation of workspace {name}: closed"));
    Ok(())
}

/// How something that died half-way came out.
enum Ending {
    /// It is whole now, and recorded.
    Whole,
    /// Nothing of it happened, or nothing of it is left, for this reason.
    Never(String),
    /// A person has to look at it, for this reason.
    Blocked(String),
}

fn one(repo: &Repository, store: &Store, entry: &Entry, recovery: &mut Recovery) -> Result<()> {
    let Some(op) = entry.data["op"].as_i64() else { return Ok(()) };
    let operation = store.operation(op)?;
    let ending = match entry.kind.as_str() {
        "undo" => undo(repo, store, entry, &operation)?,
        removal_again::KIND => redo(repo, store, entry, &operation)?,
        _ => revert(repo, store, entry, &operation)?,
    };
    let what = format!("{} of operation {op}", entry.kind);
    match ending {
        Ending::Whole => {
            recovery.recovered.settled.push(format!("{what}: completed"));
            match entry.kind.as_str() {
                "undo" => recovery.undone.push(op),
                removal_again::KIND => recovery.redone.push(op),
                _ => {
                    recovery.reverted.extend(store.operation(op)?.taken_back.and_then(|how| how.by).map(|by| (op, by)))
                }
            }
        }
        Ending::Never(why) => {
            store.failed(entry.intent(), json!({"why": format!("its process died, and {why}")}))?;
            recovery.recovered.settled.push(format!("{what}: {why}"));
        }
        Ending::Blocked(why) => recovery.recovered.blocked.push(format!("{what}: {why}")),
    }
    Ok(())
}

fn undo(repo: &Repository, store: &Store, entry: &Entry, operation: &OperationRecord) -> Result<Ending> {
    let (op, intent) = (operation.op, entry.intent());
    let put_back = match (&operation.undo, operation.undo.moved()) {
        _ if operation.undone => {
            store.done(intent, json!({"why": "it was recorded already"}))?;
            return Ok(Ending::Whole);
        }
        (UndoData::Removal { items }, _) => {
            let mut obstacles = restore::obstacles(repo, store, items, true)?;
            obstacles.extend(held::gone(repo, items)?);
            if !obstacles.is_empty() {
                return Ok(Ending::Blocked(obstacles.join("; ")));
            }
            let renamed = restore::put_back(repo, store, items)?;
            restore::look(repo, items, &renamed)?
        }
        (_, Some((branch, before, after))) => match follow(repo, store, operation, (after, before))? {
            Ending::Whole => PutBack {
                // It may have gone before its process did.
                branch_gone: made_branch::drop_if_made(repo, store, operation)? || is_gone(repo, branch)?,
                ..PutBack::default()
            },
            ending => return Ok(ending),
        },
        (_, None) => PutBack::default(),
    };
    store.mark_undone(op, put_back, Some(&intent))?;
    Ok(Ending::Whole)
}

fn is_gone(repo: &Repository, branch: &BranchName) -> Result<bool> {
    Ok(repo.reader().ref_commit(&branch.full_ref())?.is_none())
}

fn redo(repo: &Repository, store: &Store, entry: &Entry, operation: &OperationRecord) -> Result<Ending> {
    let (op, intent) = (operation.op, entry.intent());
    if !operation.undone {
        store.done(intent, json!({"why": "it was recorded already"}))?;
        return Ok(Ending::Whole);
    }
    if let Some((_, before, after)) = operation.undo.moved() {
        let ending = follow(repo, store, operation, (before, after))?;
        if let Ending::Whole = ending {
            store.mark_redone(op, None, Some(&intent))?;
        }
        return Ok(ending);
    }
    let Some(removal) = Removal::meant(repo, store, operation, &entry.data) else {
        return Ok(Ending::Blocked(format!("journal entry {} cannot be read", entry.seq)));
    };
    let obstacles = removal.obstacles()?;
    if !obstacles.is_empty() {
        let why = format!("what it had removed was put back: {}", obstacles.join("; "));
        return Ok(Ending::Blocked(removal.give_up(intent, &why).err().map_or(why, |error| chain(&error))));
    }
    match removal.take() {
        Ok(()) => removal.record(&intent).map(|()| Ending::Whole),
        Err(error) => Ok(Ending::Blocked(chain(&error))),
    }
}

fn revert(repo: &Repository, store: &Store, entry: &Entry, operation: &OperationRecord) -> Result<Ending> {
    let Some((undo, summary)) = meant(entry) else {
        return Ok(Ending::Blocked(format!("journal entry {} cannot be read", entry.seq)));
    };
    let Some((branch, before, after)) = undo.moved() else { return Ok(Ending::Never("it moved nothing".into())) };
    let ending = moved(repo, branch, before, after, after)?;
    if let Ending::Whole = ending {
        store.record_revert(operation.op, undo.clone(), &summary, Some(&entry.intent()))?;
    }
    Ok(ending)
}

/// Completes the move of a branch; the later of the two commits tells of a branch that has gone on since whether it moved.
fn moved(repo: &Repository, branch: &BranchName, from: &CommitId, to: &CommitId, later: &CommitId) -> Result<Ending> {
    let request = Advance { branch, from, to, message: "treehand: completed", lock_wait: Duration::ZERO };
    Ok(match resume(repo, &request)? {
        Resumed::Complete => Ending::Whole,
        Resumed::MovedOn if contains(repo, branch, later)? == (later == to) => Ending::Whole,
        Resumed::NotMoved | Resumed::MovedOn => Ending::Never("the branch never moved".into()),
        Resumed::InTheWay(obstacle) => Ending::Blocked(format!("{}: {}", obstacle.message, obstacle.paths.join(", "))),
        Resumed::Busy { lock } => Ending::Blocked(format!("{} is held", lock.display())),
    })
}

/// Completes the move of what an operation had moved, from one of its ends to the other.
fn follow(
    repo: &Repository,
    store: &Store,
    operation: &OperationRecord,
    (from, to): (&CommitId, &CommitId),
) -> Result<Ending> {
    let Some((branch, before, after)) = operation.undo.moved() else { return Ok(Ending::Whole) };
    let Some((update, first, last)) = sealed_update(operation) else { return moved(repo, branch, from, to, after) };
    let (from, to) = if to == before { (&last, &first) } else { (&first, &last) };
    Ok(match update_sealed::finish(repo, store, update, from, to)? {
        Finished::Whole => Ending::Whole,
        Finished::Never => Ending::Never("the branch never moved".into()),
        Finished::Blocked(why) => Ending::Blocked(why),
    })
}

/// What an intent says: what it moves, and the words for it.
fn meant(entry: &Entry) -> Option<(UndoData, String)> {
    let undo = serde_json::from_value(entry.data["undo"].clone()).ok()?;
    Some((undo, entry.data["summary"].as_str()?.to_owned()))
}

//! Recovery of what this room and the makers of workspaces began and did not live to finish, except removals, which `clean`
//! plans for.
//!
//! An `undo`, a `redo` or a revert is completed, for that is what was asked for; an intent whose effect is told by the
//! records is closed. Repeating it changes nothing; what a living process is doing is left to it.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::Result;
use super::restore;
use crate::model::record::{OperationRecord, UndoData, WorkspaceState};
use crate::model::{BranchName, CommitId, Token, WorkspaceName};
use crate::store::{Entry, Store};
use crate::sys::lock::FileLock;
use crate::sys::{clock, proc};
use crate::worktree::advance::Advance;
use crate::worktree::resume::{Recovered, Resumed, contains, resume};
use crate::worktree::{Repository, update};

/// What was done about undos and creations that nobody had finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// In sentences.
    pub recovered: Recovered,
    /// Operations whose undo was completed.
    pub undone: Vec<i64>,
}

/// The kind of an undo's journal entries.
pub const UNDO: &str = "undo";

/// The kind of a redo's journal entries.
pub const REDO: &str = "redo";

/// The kind of a revert, in the journal and as an operation.
pub const REVERT: &str = "revert";

/// The kinds of intents that are settled here.
const KINDS: [&str; 5] = [UNDO, REDO, REVERT, "workspace.create", update::KIND];

/// Completes every undo and every update whose process is dead, and closes the intents of workspaces that are made, or gone.
pub fn recover(repo: &Repository, store: &Store) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    if !store.open_intents()?.iter().any(|entry| KINDS.contains(&entry.kind.as_str())) {
        return Ok(recovery);
    }
    let lock = repo.state_dir().join("locks").join("recover");
    let _one_at_a_time = FileLock::acquire(&lock, &format!("pid {}, recovering", std::process::id()))?;
    recovery.recovered = update::recover(repo, store)?;
    for entry in store.open_intents()? {
        match entry.kind.as_str() {
            UNDO if proc::is_known_dead(entry.owner().as_ref()) => complete_undo(repo, store, &entry, &mut recovery)?,
            REDO if proc::is_known_dead(entry.owner().as_ref()) => complete_redo(repo, store, &entry, &mut recovery)?,
            REVERT if proc::is_known_dead(entry.owner().as_ref()) => {
                complete_revert(repo, store, &entry, &mut recovery)?
            }
            "workspace.create" => close_creation(store, &entry, &mut recovery)?,
            _ => {}
        }
    }
    Ok(recovery)
}

/// The kinds that move a branch to take something back, or do it again.
const TAKES_BACK: [&str; 3] = [UNDO, REDO, REVERT];

/// Undos, redos and reverts that a dead process left open.
pub fn open_undos(store: &Store) -> Result<Vec<Entry>> {
    Ok(store
        .open_intents()?
        .into_iter()
        .filter(|entry| TAKES_BACK.contains(&entry.kind.as_str()) && proc::is_known_dead(entry.owner().as_ref()))
        .collect())
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

fn complete_undo(repo: &Repository, store: &Store, entry: &Entry, recovery: &mut Recovery) -> Result<()> {
    let Some(op) = entry.data["op"].as_i64() else { return Ok(()) };
    let operation = store.operation(op)?;
    let completed = match (&operation.undo, operation.undo.moved()) {
        _ if operation.undone => Ok(true),
        (UndoData::Removal { items }, _) => match restore::obstacles(repo, store, items, true)? {
            obstacles if obstacles.is_empty() => restore::put_back(repo, store, items).map(|()| Ok(true))?,
            obstacles => Err(obstacles.join("; ")),
        },
        (_, Some((branch, before, after))) => moved(repo, branch, after, before, Direction::Back)?,
        (_, None) => Ok(true),
    };
    let what = format!("undo of operation {op}");
    if completed == Ok(true) {
        recovery.undone.push(op);
    }
    settle(store, entry, &what, completed, || Ok(store.mark_undone(op)?), recovery)
}

fn complete_redo(repo: &Repository, store: &Store, entry: &Entry, recovery: &mut Recovery) -> Result<()> {
    let Some(op) = entry.data["op"].as_i64() else { return Ok(()) };
    let operation = store.operation(op)?;
    let completed = match operation.undo.moved() {
        Some((branch, before, after)) if operation.undone => moved(repo, branch, before, after, Direction::Forth)?,
        _ => Ok(true),
    };
    let record = || Ok(store.mark_redone(op)?);
    settle(store, entry, &format!("redo of operation {op}"), completed, record, recovery)
}

fn complete_revert(repo: &Repository, store: &Store, entry: &Entry, recovery: &mut Recovery) -> Result<()> {
    let read = |key: &str| entry.data[key].as_str().unwrap_or_default();
    let what = read("summary").to_owned();
    let (Ok(into), Ok(before), Ok(after)) =
        (BranchName::parse(read("into")), CommitId::parse(read("before")), CommitId::parse(read("after")))
    else {
        recovery.recovered.blocked.push(format!("journal entry {} cannot be read", entry.seq));
        return Ok(());
    };
    let completed = moved(repo, &into, &before, &after, Direction::Forth)?;
    let same = |operation: &OperationRecord| operation.undo.moved() == Some((&into, &before, &after));
    let known = store.operations()?.iter().any(|operation| operation.kind == REVERT && same(operation));
    let record = || if known { Ok(()) } else { record_revert(store, &entry.data).map(|_| ()) };
    settle(store, entry, &what, completed, record, recovery)
}

/// Closes an intent as its completion came out.
fn settle(
    store: &Store,
    entry: &Entry,
    what: &str,
    completed: std::result::Result<bool, String>,
    record: impl FnOnce() -> Result<()>,
    recovery: &mut Recovery,
) -> Result<()> {
    match completed {
        Ok(true) => {
            record()?;
            store.done(entry.intent(), json!({"why": "completed after its process had died"}))?;
            recovery.recovered.settled.push(format!("{what}: completed"));
        }
        Ok(false) => {
            store.failed(entry.intent(), json!({"why": "its process died before the branch moved"}))?;
            recovery.recovered.settled.push(format!("{what}: the branch never moved"));
        }
        Err(why) => recovery.recovered.blocked.push(format!("{what}: {why}")),
    }
    Ok(())
}

/// Which way a branch was to go.
#[derive(Clone, Copy)]
enum Direction {
    /// To an earlier commit.
    Back,
    /// To a later one.
    Forth,
}

/// Whether a branch was moved; a sentence when that cannot be completed now.
fn moved(
    repo: &Repository,
    branch: &BranchName,
    from: &CommitId,
    to: &CommitId,
    direction: Direction,
) -> Result<std::result::Result<bool, String>> {
    let request = Advance { branch, from, to, message: "treehand: completed", lock_wait: Duration::ZERO };
    Ok(match resume(repo, &request)? {
        Resumed::NotMoved => Ok(false),
        Resumed::Complete => Ok(true),
        // Others have worked on the branch since: whether it was moved first shows in which commit it has.
        Resumed::MovedOn => Ok(match direction {
            Direction::Back => !contains(repo, branch, from)?,
            Direction::Forth => contains(repo, branch, to)?,
        }),
        Resumed::InTheWay(obstacle) => Err(format!("{}: {}", obstacle.message, obstacle.paths.join(", "))),
        Resumed::Busy { lock } => Err(format!("{} is held", lock.display())),
    })
}

/// Records a revert from what its intent says.
pub(super) fn record_revert(store: &Store, data: &Value) -> Result<Option<i64>> {
    let read = |key: &str| data[key].as_str().unwrap_or_default();
    let (Ok(into), Ok(before), Ok(after)) =
        (BranchName::parse(read("into")), CommitId::parse(read("before")), CommitId::parse(read("after")))
    else {
        return Ok(None);
    };
    let undo = UndoData::Landing { into, before, after, run: None, task: None };
    Ok(Some(store.add_operation(REVERT, clock::now(), read("summary"), undo)?))
}

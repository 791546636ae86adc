//! Apply: brings a sealed workspace up to its base.
//!
//! Its work comes onto its branch first. What is committed in it is brought up to the base in memory, and what is not is put on
//! top of that: then the branch moves by compare-and-swap and the tree follows, where the same is uncommitted as before. A
//! conflict, or a process in it, leaves it as it was.

use serde_json::json;

use super::changes::import_work;
use super::error::{Result, WorktreeError};
use super::import::{changes, update_ref};
use super::quarantine::Quarantine;
use super::replay::{self, Replayed};
use super::repository::Repository;
use super::result_policy::GITLINK;
use super::sealed_move::{State, Still};
use super::stamp::stamp;
use super::update::{self, KIND, UpdateRequest, Updated};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::model::operation::{SealedHeads, UpdateRecord};
use crate::model::record::WorkspaceRecord;
use crate::store::{EntryDraft, Store};
use crate::sys::{clock, proc};

/// Brings the workspace up to its base.
pub(super) fn update(repo: &Repository, store: &Store, request: &UpdateRequest<'_>) -> Result<Updated> {
    let record = request.record;
    let name = &record.name;
    if record.base.commit == request.base.commit {
        return Ok(Updated::Already);
    }
    let still = Still::capture(repo, record)?;
    let work = import_work(repo, store, record, still.captured.clone()).map_err(|error| match error {
        WorktreeError::Busy { holder, .. } => WorktreeError::refused(
            format!("`{}` is not where the work of {name} was put last: {holder}", record.branch),
            format!("keep what it has under another name: git branch -m {} NAME", record.branch),
        ),
        error => error,
    })?;
    let now = State { head: still.head.clone(), work, index: None };
    if update::lacks_nothing(repo, request, &now.head)? {
        return update::already(store, request, &now.work);
    }
    refuse_lost_submodules(repo, request)?;
    let quarantine = Quarantine::create(repo, &now.work)?;
    let outcome = match make(&quarantine, repo, request, &now) {
        Ok(Ok(next)) => moved(repo, store, &quarantine, request, &still, &now, next),
        Ok(Err(conflict)) => Ok(conflict),
        Err(error) => Err(error),
    };
    quarantine.discard()?;
    outcome
}

/// A base that has no longer a submodule: its files in the tree would be nobody's.
fn refuse_lost_submodules(repo: &Repository, request: &UpdateRequest<'_>) -> Result<()> {
    let (old, new) = (&request.record.base.commit, &request.base.commit);
    let raw = changes(repo.bare([] as [&str; 0]), old, new)?.raw;
    let lost = raw.iter().filter(|change| change.old_mode == GITLINK && change.new_mode != GITLINK);
    let lost: Vec<String> = lost.map(|change| String::from_utf8_lossy(&change.path).into_owned()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let name = &request.record.name;
    let message = format!("the base of {name} has no longer submodules that it had: {}", lost.join(", "));
    let hint = format!(
        "bring its work onto its branch (treehand diff {name}), then start from that: --base {}",
        request.record.branch
    );
    Err(WorktreeError::refused(message, hint))
}

/// What is committed brought up to the base, and what is not put on top of it.
fn make(
    quarantine: &Quarantine,
    repo: &Repository,
    request: &UpdateRequest<'_>,
    now: &State,
) -> Result<std::result::Result<State, Updated>> {
    let head = match update::made(quarantine, repo, request, &now.head)? {
        Ok(head) => head,
        Err(conflict) => return Ok(Err(conflict)),
    };
    if now.work == now.head {
        return Ok(Ok(State { work: head.clone(), head, index: None }));
    }
    let picks = replay::picks(quarantine, &[&format!("{}..{}", now.head, now.work)])?;
    Ok(match replay::replay(quarantine, &picks, &head, None)? {
        Replayed::Done(work) => Ok(State { head, work, index: None }),
        Replayed::Conflict { commit, paths } => Err(Updated::Conflict { commit, paths }),
    })
}

fn moved(
    repo: &Repository,
    store: &Store,
    quarantine: &Quarantine,
    request: &UpdateRequest<'_>,
    still: &Still<'_>,
    now: &State,
    next: State,
) -> Result<Updated> {
    let kept =
        quarantine.migrate(std::slice::from_ref(&next.work), &[now.work.clone(), request.base.commit.clone()])?;
    if let Some(obstacle) = still.obstacle(&next)? {
        kept.release()?;
        return Ok(Updated::InTheWay(obstacle));
    }
    let sealed = SealedHeads { before: now.head.clone(), after: next.head.clone(), index: still.keep_index()? };
    let record = UpdateRecord { sealed: Some(sealed), ..update::record_of(request, &now.work, &next.work) };
    let mut data = json!(record);
    data["owner"] = json!(proc::own());
    let intent = store.intend(&EntryDraft::new(KIND, data))?;
    let message = format!("treehand: update {} by {}", request.record.name, request.by);
    let swapped = swap(repo, store, &record, (&now.work, &next.work), &message);
    kept.release()?;
    match swapped {
        Ok(()) => {}
        Err(WorktreeError::Busy { .. }) => {
            store.failed(intent, json!({"why": "the branch has moved"}))?;
            return Ok(Updated::Raced);
        }
        Err(error) => {
            store.failed(intent, json!({"why": chain(&error)}))?;
            return Err(error);
        }
    }
    let summary = update::summary(&record);
    // The intent stays open where the tree could not follow: recovery completes it.
    if let Err(error) = still.move_to(&next) {
        store.record_update(&record, clock::now(), &summary, None)?;
        let message = format!("the files of {} are behind `{}`: {}", record.workspace, record.branch, chain(&error));
        return Ok(Updated::Behind { message });
    }
    store.record_update(&record, clock::now(), &summary, Some(&intent))?;
    Ok(Updated::Done { before: now.work.clone(), after: next.work })
}

/// Moves the branch, and records that its work is there now.
pub fn swap(
    repo: &Repository,
    store: &Store,
    update: &UpdateRecord,
    (from, to): (&CommitId, &CommitId),
    message: &str,
) -> Result<()> {
    update_ref(repo, &update.branch.full_ref(), Some(to), Some(from), message)?;
    note_imported(store, update, to)
}

fn note_imported(store: &Store, update: &UpdateRecord, commit: &CommitId) -> Result<()> {
    if let Some(record) = store.workspace(&update.workspace)? {
        let imported = Some(commit.clone());
        store.put_workspace("workspace.imported", &WorkspaceRecord { imported, ..record })?;
    }
    Ok(())
}

/// The states that an update of a sealed workspace lies between; `None` for one of a plain one.
pub fn states(update: &UpdateRecord) -> Option<(State, State)> {
    let heads = update.sealed.as_ref()?;
    let (head, index) = (heads.before.clone(), heads.index.clone());
    let before = State { head, work: update.before.clone(), index };
    Some((before, State { head: heads.after.clone(), work: update.after.clone(), index: None }))
}

/// How something that died half-way stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The branch and the tree are where they were to go.
    Whole,
    /// The branch never moved, or has gone on.
    Never,
    /// A person has to look at it.
    Blocked(String),
}

/// Lets the tree follow a branch that has moved between two states, where the process that moved it died.
pub fn finish(repo: &Repository, store: &Store, update: &UpdateRecord, from: &State, to: &State) -> Result<Finished> {
    if repo.reader().ref_commit(&update.branch.full_ref())?.as_ref() != Some(&to.work) {
        return Ok(Finished::Never);
    }
    let Some(record) = store.workspace(&update.workspace)? else { return Ok(Finished::Never) };
    note_imported(store, update, &to.work)?;
    let still = match Still::capture(repo, &record) {
        Ok(still) => still,
        Err(error @ WorktreeError::Busy { .. }) => return Ok(Finished::Blocked(chain(&error))),
        Err(error) => return Err(error),
    };
    if still.head != from.head || still.is(to)? {
        // It was done, or worked on since.
        return Ok(Finished::Whole);
    }
    // Files that moved already make it differ from both: what it holds is kept before the rest of them move.
    if !still.is(from)? {
        let stamp = stamp()?;
        let name = format!("refs/treehand/salvage/{}/{stamp}/worktree", record.name);
        super::changes::import_beside(repo, &record, &still.captured, &name)?;
    }
    match still.obstacle(to)? {
        Some(obstacle) => Ok(Finished::Blocked(obstacle.message)),
        None => still.move_to(to).map(|()| Finished::Whole),
    }
}

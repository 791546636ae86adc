//! Apply: one action of `clean`: rechecks what it expects, saves, takes away.
//!
//! What is not as expected is skipped with the reason and left as it is. Nothing here decides what may go.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::facts::DirFact;
use super::types::{CleanAction, Step};
use super::{boxes, locks, refs, remote_apply};
use crate::cleanup::batch::{Batch, Takeaway};
use crate::cleanup::done::Done;
use crate::cleanup::error::Result;
use crate::cleanup::places::{children, is_of_the_run_alone};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::remove::decide::{DirId, RemovalPlan};
use crate::cleanup::remove::scan::dir_id;
use crate::cleanup::remove::{self, Attempt, BranchOutcome};
use crate::cleanup::salvage::bundles;
use crate::cleanup::undo::restore;
use crate::model::operation::RemovedItem;
use crate::model::record::{AttemptRecord, RunRecord, TaskRecord, WorkspaceRecord, WorkspaceState};
use crate::model::{CommitId, Token};
use crate::store::{Entry, Store};
use crate::sys::lock::FileLock;
use crate::sys::marks::Marks;
use crate::sys::{fs, proc};
use crate::worktree::import::update_ref;
use crate::worktree::pool::slot;
use crate::worktree::sealed::remove_if_empty;
use crate::worktree::{Repository, WorktreeError, abandoned, import_submodules, plain};

/// Why something is left as it is.
pub(super) const CHANGED: &str = "it has changed since it was looked at";

/// Carries out one action.
pub fn apply(
    repo: &Repository,
    store: &Store,
    batch: &mut Batch<'_>,
    template: &str,
    summary: &str,
    action: &CleanAction,
) -> Result<Done> {
    match &action.step {
        Step::Workspace(plan) => workspace(repo, store, batch, template, plan, summary),
        Step::Reset(plan) => reset(store, plan),
        Step::PutBack { entry, items } => put_back(repo, store, entry, items),
        Step::Close(entry) => {
            store.failed(entry.intent(), json!({"why": "it is recorded as an operation"}))?;
            Ok(Done::plain())
        }
        Step::Task { run, task, paths, enclosure, salvage } => {
            boxes::retire(repo, store, batch, (run, task, paths), (*enclosure, *salvage), summary)
        }
        Step::UnrecordedBox { found, base } => boxes::retire_unrecorded(repo, store, batch, (found, base), summary),
        Step::Orphans { run, task, token } => orphans(repo, store, run, task, token),
        Step::Entry(dir) => entry(repo, batch, dir, summary),
        Step::Ref(doomed) => {
            let mut done = refs::take(repo, batch, &[doomed], summary)?;
            done.pop().map_or_else(|| Done::skipped(CHANGED), Ok)
        }
        Step::RemoteBranch(doomed) => {
            let mut done = remote_apply::take(repo, batch, &[doomed], summary)?;
            done.pop().map_or_else(|| Done::skipped(CHANGED), Ok)
        }
        Step::RunDir { path, id } => run_dir(batch, path, *id, summary),
        Step::ExpireRef { name, commit } => expire_ref(repo, name, commit),
        Step::ExpireDir(dir) => expire_dir(dir),
        Step::ExpireBundle(dir) => expire_bundle(repo, dir),
        Step::Slot(path) => match slot::remove(path)? {
            true => Ok(Done::plain()),
            false => Done::skipped("somebody has it in hand now"),
        },
        Step::EmptyDir(dir) => empty_dir(dir),
        Step::Unkeep(path) => unkeep(path),
        Step::Lock(lock) => locks::take(repo, batch.stamp(), lock),
    }
}

fn workspace(
    repo: &Repository,
    store: &Store,
    batch: &mut Batch<'_>,
    template: &str,
    plan: &RemovalPlan,
    summary: &str,
) -> Result<Done> {
    Ok(match remove::attempt(batch, repo, store, plan, template, summary)? {
        Attempt::Skipped(why) => Done::Skipped(why),
        Attempt::Done(removed) => {
            let kept = removed.branch_outcome == BranchOutcome::Kept;
            let note = kept.then(|| format!("branch `{}` is kept: {}", removed.branch, removed.reason));
            Done::Yes { salvage: removed.salvage, note }
        }
    })
}

fn reset(store: &Store, plan: &RemovalPlan) -> Result<Done> {
    if store.workspace(&plan.record.name)?.as_ref() != Some(&plan.record) {
        return Done::skipped(CHANGED);
    }
    let record = WorkspaceRecord { state: WorkspaceState::Ready, owner: None, ..plan.record.clone() };
    store.put_workspace("workspace.kept", &record)?;
    Ok(Done::plain())
}

fn put_back(repo: &Repository, store: &Store, entry: &Entry, items: &[RemovedItem]) -> Result<Done> {
    if store.open_intents()?.iter().all(|open| open.seq != entry.seq) {
        return Done::skipped("somebody has put it back already");
    }
    restore::put_back(repo, store, items)?;
    store.failed(entry.intent(), json!({"why": "it died half-way; what it took was put back"}))?;
    Ok(Done::plain())
}

/// How long what nobody owns may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Ends what an attempt left running. Whoever holds the lock of a run supervises it: with it in hand nobody begins it again.
fn orphans(repo: &Repository, store: &Store, run: &RunRecord, task: &TaskRecord, token: &Token) -> Result<Done> {
    let holder = format!("pid {}, ending what nobody owns", std::process::id());
    let Ok(_right) = FileLock::try_acquire(&repo.run_lock(&run.id), &holder) else {
        return Done::skipped("its run has a supervisor now");
    };
    let now = store.task(&run.id, &task.id)?;
    let held = |attempt: &AttemptRecord| attempt.process.as_ref().is_some_and(proc::is_alive);
    if store.run(&run.id)?.state != run.state || now.attempts != task.attempts || now.attempts.iter().any(held) {
        return Done::skipped(CHANGED);
    }
    let at = |error| fs::at("end what is left in", "/proc".as_ref())(error);
    let marks = Marks::scan().map_err(at)?;
    if marks.own(token).next().is_some() {
        return Done::skipped("this command is one of them, or was started by one");
    }
    match marks.end(token, GRACE).map_err(at)? {
        0 => Ok(Done::Yes { salvage: Vec::new(), note: Some("they have ended by themselves".into()) }),
        _ => Ok(Done::plain()),
    }
}

fn entry(repo: &Repository, batch: &mut Batch<'_>, dir: &DirFact, summary: &str) -> Result<Done> {
    if dir_id(&dir.path)? != Some(dir.id) {
        return Done::skipped(CHANGED);
    }
    batch.take_away(&Takeaway { directories: vec![dir.path.clone()], ..Takeaway::default() }, summary)?;
    plain::remove_entries_dir_if_empty(repo);
    Ok(Done::plain())
}

fn run_dir(batch: &mut Batch<'_>, path: &Path, id: DirId, summary: &str) -> Result<Done> {
    if dir_id(path)? != Some(id) {
        return Done::skipped(CHANGED);
    }
    for child in children(path)? {
        let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_of_the_run_alone(&name) {
            return Done::skipped(format!("a part of a workspace is in it: {name}"));
        }
    }
    batch.take_away(&Takeaway { directories: vec![path.to_owned()], ..Takeaway::default() }, summary)?;
    Ok(Done::plain())
}

fn expire_ref(repo: &Repository, name: &str, commit: &CommitId) -> Result<Done> {
    match update_ref(repo, name, None, Some(commit), "treehand: its time is over") {
        Ok(()) => {
            if name.starts_with(SALVAGE_PREFIX) {
                import_submodules::discard(repo, name, commit)?;
            }
            Ok(Done::plain())
        }
        Err(WorktreeError::Busy { holder, .. }) => Done::skipped(holder),
        Err(error) => Err(error.into()),
    }
}

fn expire_dir(dir: &DirFact) -> Result<Done> {
    if dir_id(&dir.path)? != Some(dir.id) {
        return Done::skipped(CHANGED);
    }
    let freed = fs::remove_counting(&dir.path)?;
    remove_if_empty(dir.path.parent());
    Ok(Done::Freed(freed))
}

fn expire_bundle(repo: &Repository, dir: &DirFact) -> Result<Done> {
    if dir_id(&dir.path)? != Some(dir.id) {
        return Done::skipped(CHANGED);
    }
    bundles::expire(repo, dir)?;
    Ok(Done::plain())
}

fn empty_dir(dir: &DirFact) -> Result<Done> {
    if dir_id(&dir.path)? != Some(dir.id) || !children(&dir.path)?.is_empty() {
        return Done::skipped(CHANGED);
    }
    remove_if_empty(Some(&dir.path));
    remove_if_empty(dir.path.parent());
    Ok(Done::plain())
}

fn unkeep(path: &Path) -> Result<Done> {
    if !std::fs::read(path).is_ok_and(|content| content.starts_with(abandoned::KEEP.as_bytes())) {
        return Done::skipped(CHANGED);
    }
    fs::remove_file(path)?;
    Ok(Done::plain())
}

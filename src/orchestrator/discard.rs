//! Apply: what a run that is over left and nobody will want is put away: boxes to the trash, branches that are where the run left them.
//!
//! For a run that only tried something out. What an attempt made is in the trash, or, where it was captured, kept as what landed is:
//! both go when the retention ends. Whoever does this holds the run's lock, so that nobody begins it again meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::context::RunError;
use super::kept;
use crate::model::record::TaskRecord;
use crate::model::{CommitId, RunId};
use crate::store::Store;
use crate::sys::lock::FileLock;
use crate::sys::standing::Processes;
use crate::sys::{fs, random};
use crate::worktree::import::{RefChange, update_refs};
use crate::worktree::sealed::{self, SealedPaths};
use crate::worktree::{Repository, WorktreeError, import_submodules, ports};

/// How long the supervisor of a run that is over may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// Puts away what is left of the tasks of a run. Refused where the run is not over, or something still works in one of them.
pub fn discard(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    let holder = format!("pid {}, putting away what it left", std::process::id());
    let _right = FileLock::acquire_within(&repo.run_lock(run), &holder, LAST_MOMENTS)?;
    let record = store.run(run)?;
    if !record.state.is_terminal() {
        return Err(RunError::Refused { message: format!("run {run} is not over") });
    }
    for task in store.tasks(run)? {
        let paths = SealedPaths::of_task(repo, &record.template, run, &task.id)?;
        if let Some(process) = Processes::scan()?.inside(&paths.enclosure).first() {
            let message = format!("{} (pid {}) works in {run}/{}", process.name, process.pid, task.id);
            return Err(RunError::Refused { message });
        }
        put_away(repo, store, run, (&task, &paths))?;
    }
    Ok(fs::remove_tree(&repo.run_dir(run)?)?)
}

fn put_away(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    (task, paths): (&TaskRecord, &SealedPaths),
) -> Result<(), RunError> {
    if sealed::is_signed(paths)? {
        let data = json!({"trash": to_trash(repo, run, (task, paths))?});
        store.edit_task(run, &task.id, "workspace.trashed", data, |_| {})?;
    }
    ports::release(repo, &paths.tree);
    sealed::remove_if_empty(paths.enclosure.parent());
    take_branch(repo, run, task)?;
    if task.workspace.is_some() {
        let data = json!({"state": task.state});
        store.edit_task(run, &task.id, "task.reclaimed", data, |task| task.workspace = None)?;
    }
    Ok(())
}

/// Its branch goes only while it is where the run left it: commits that a person added to it stay.
fn take_branch(repo: &Repository, run: &RunId, task: &TaskRecord) -> Result<(), RunError> {
    let name = task.branch.full_ref();
    let tip = repo.reader().ref_commit(&name).map_err(WorktreeError::from)?;
    let expected = task.commit.as_ref().or(task.base.as_ref());
    let Some(tip) = tip.filter(|tip| expected == Some(tip)) else { return Ok(()) };
    let captured: Vec<((RunId, _), CommitId)> =
        task.commit.iter().map(|commit| ((run.clone(), task.id.clone()), commit.clone())).collect();
    let mut changes = kept::missing(repo, &captured)?;
    changes.push(RefChange { reference: name.clone(), new: None, expected: Some(tip) });
    update_refs(repo, &changes, "treehand: put away")?;
    if let Some(commit) = &task.commit {
        import_submodules::reclaim(repo, &name, commit)?;
    }
    Ok(())
}

/// Gives the box of a task another home and directory for temporary files; those that it had go to the trash. Done again after a
/// crash it comes to the same.
pub fn homes_to_trash(
    repo: &Repository,
    run: &RunId,
    (task, paths): (&TaskRecord, &SealedPaths),
) -> Result<(), RunError> {
    let trash = place_in_trash(repo, run, task)?;
    for (directory, name) in [(&paths.home, "home"), (&paths.tmp, "tmp")] {
        if fs::exists(directory)? {
            fs::move_path(directory, &trash.join(name))?;
        }
        fs::create_private_dir_all(directory)?;
    }
    Ok(())
}

/// A new directory in the trash.
fn place_in_trash(repo: &Repository, run: &RunId, task: &TaskRecord) -> Result<PathBuf, RunError> {
    let token = random::token().map_err(WorktreeError::Random)?;
    let name = format!("{run}.{}.{}.{}", task.id, task.attempts.len(), token.short());
    let trash = repo.state_dir().join("trash").join(name);
    fs::create_private_dir_all(&trash)?;
    Ok(trash)
}

/// Moves the box of a task to the trash as it is, with its private directory, and takes its entry away; where in the trash it is.
pub fn to_trash(
    repo: &Repository,
    run: &RunId,
    (task, paths): (&TaskRecord, &SealedPaths),
) -> Result<PathBuf, RunError> {
    let trash = place_in_trash(repo, run, task)?;
    fs::remove_tree(&paths.entry)?;
    for (from, name) in [(&paths.enclosure, "box"), (&paths.private, "private")] {
        if fs::exists(from)? {
            fs::move_path(from, &trash.join(name))?;
        }
    }
    Ok(trash)
}

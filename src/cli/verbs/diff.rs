//! `diff`: all that a workspace or a task changed since its base, committed or not, untracked included.
//!
//! A plain workspace is looked at through a temporary copy of its index, so that nothing in it changes; a task's
//! changes are those of its captured commit.

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::{plain, print_bytes};
use crate::cli::session::Session;
use crate::model::CommitId;
use crate::store::Store;
use crate::worktree::changes::{self, Changes, FileChange};
use crate::worktree::sealed::SealedPaths;

/// Prints a diff.
pub fn run(session: &Session, name: &str) -> Result<u8, CliError> {
    let store = session.look()?;
    let changes = match changes_of_workspace(session, &store, name)? {
        Some(changes) => changes,
        None => changes_of_task(session, &store, name)?,
    };
    if session.out.is_json() {
        session.out.answer("treehand/diff/v1", document(&changes), String::new)?;
    } else {
        print_bytes(&changes.patch)?;
    }
    Ok(0)
}

/// The files and the patch of changes.
pub fn document(changes: &Changes) -> Value {
    let file = |file: &FileChange| json!({"path": file.path, "status": file.status, "insertions": file.insertions, "deletions": file.deletions});
    let files: Vec<Value> = changes.files.iter().map(file).collect();
    json!({"files": files, "patch": String::from_utf8_lossy(&changes.patch)})
}

fn changes_of_workspace(session: &Session, store: &Store, name: &str) -> Result<Option<Changes>, CliError> {
    let record = match session.workspace(store, name) {
        Ok(record) => record,
        Err(error) if matches!(error.code, 3 | 4) && name.contains('/') => return Ok(None),
        Err(error) => return Err(error),
    };
    let changes = changes::of_workspace(&session.repo, store, &record, &session.settings.worktree.path)?;
    if let Some(why) = &changes.not_imported {
        session.out.warn(plain(why));
    }
    Ok(Some(changes))
}

fn changes_of_task(session: &Session, store: &Store, name: &str) -> Result<Changes, CliError> {
    let (run, task) = session.target(store, name)?;
    let Some(task) = task else { return Err(CliError::usage("name a task: RUN/TASK")) };
    let base: CommitId = task.base.clone().unwrap_or(run.base.commit.clone());
    if let (None, Some(_)) = (&task.commit, &task.workspace) {
        let paths = SealedPaths::of_task(&session.repo, &run.template, &run.id, &task.id)?;
        return Ok(changes::of_box(&session.repo, &paths, &session.repo.run_dir(&run.id)?, &base)?);
    }
    let Some(commit) = &task.commit else {
        return Err(CliError::not_found(format!(
            "task {}/{} has no captured result: it is {}",
            run.id,
            task.id,
            task.state.word()
        )));
    };
    Ok(changes::between(&session.repo, &base, commit)?)
}

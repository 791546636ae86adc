//! `ls`: every workspace, and every run task that has one, with branch, state and freshness.
//!
//! Asks no remote: freshness is as of what is known here.

use serde_json::{Value, json};

use crate::cli::document;
use crate::cli::error::CliError;
use crate::cli::output::{plain, table};
use crate::cli::session::Session;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord};
use crate::store::Store;
use crate::sys::{clock, fs, proc};
use crate::worktree::status::{Survey, WorkspaceStatus};

/// Lists workspaces.
pub fn run(session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let mut rows = vec![["", "NAME", "BRANCH", "STATE", "BASE", "PATH"].map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    let mut survey = Survey::begin(&session.repo, session.lookup(true))?;
    for record in store.workspaces()? {
        // One workspace that cannot be looked at must not hide the others: its row says why.
        let looked = survey.status(&record).map_err(|error| chain(&error));
        rows.push(workspace_row(session, &record, &looked));
        documents.push(workspace_document(&record, &looked));
    }
    task_rows(&store, &mut rows, &mut documents)?;
    session.out.answer("treehand/workspaces/v1", json!({"workspaces": documents}), || table(&rows))?;
    Ok(0)
}

fn workspace_row(session: &Session, record: &WorkspaceRecord, looked: &Result<WorkspaceStatus, String>) -> Vec<String> {
    let here = if session.repo.here.as_ref() == Some(&record.path) { "@" } else { "" };
    let (state, base) = match looked {
        Err(why) => (format!("unknown: {}", plain(why)), plain(&record.base.reference)),
        Ok(status) => {
            let state = match (status.present, status.dirty) {
                (false, _) => "gone",
                (true, Some(true)) => "dirty",
                (true, Some(false)) => "clean",
                (true, None) => "sealed",
            };
            let base = &status.base;
            (state.to_owned(), format!("{} +{} -{}", plain(&base.reference), base.ahead, base.behind))
        }
    };
    let path = plain(&record.path.to_string_lossy());
    vec![here.into(), record.name.to_string(), record.branch.to_string(), state, base, path]
}

fn workspace_document(record: &WorkspaceRecord, looked: &Result<WorkspaceStatus, String>) -> Value {
    let base = looked.as_ref().map_or(&record.base, |status| &status.base);
    let mut document = document::workspace(record, base, None);
    document["state"] = json!(record.state);
    document["present"] = json!(looked.as_ref().ok().map(|status| status.present));
    document["dirty"] = json!(looked.as_ref().ok().and_then(|status| status.dirty));
    document["error"] = json!(looked.as_ref().err());
    document["processes"] = json!([]);
    document["bytes"] = json!(fs::disk_usage(&record.path));
    document["age_s"] = json!(clock::now().since(record.created_at).as_secs());
    document["run"] = Value::Null;
    document["task"] = Value::Null;
    document
}

fn task_rows(store: &Store, rows: &mut Vec<Vec<String>>, documents: &mut Vec<Value>) -> Result<(), CliError> {
    for run in store.runs()? {
        for task in store.tasks(&run.id)? {
            let Some(path) = &task.workspace else { continue };
            let (name, path) = (format!("{}/{}", run.id, task.id), plain(&path.to_string_lossy()));
            let base = plain(&run.base.reference);
            rows.push(vec![String::new(), name, task.branch.to_string(), task.state.word().into(), base, path]);
            documents.push(task_document(&run, &task));
        }
    }
    Ok(())
}

fn task_document(run: &RunRecord, task: &TaskRecord) -> Value {
    let living: Vec<u32> = task
        .attempts
        .iter()
        .filter_map(|attempt| attempt.process.as_ref())
        .filter(|process| proc::is_alive(process))
        .map(|process| process.pid)
        .collect();
    json!({
        "name": format!("{}/{}", run.id, task.id),
        "path": task.workspace,
        "branch": task.branch,
        "base": run.base,
        "strategy": "git-worktree",
        "elapsed_ms": Value::Null,
        "sealed": true,
        "lease": Value::Null,
        "state": task.state,
        "present": task.workspace.as_ref().map(|path| path.exists()),
        "dirty": Value::Null,
        "error": Value::Null,
        "processes": living,
        "bytes": task.workspace.as_ref().map(|path| fs::disk_usage(path)),
        "age_s": clock::now().since(run.created_at).as_secs(),
        "run": run.id,
        "task": task.id,
    })
}

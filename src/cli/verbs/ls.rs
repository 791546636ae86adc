//! `ls`: every workspace, and every run task that has one: branch, state, freshness, processes, size, age.
//!
//! Asks no remote: freshness is as of what is known here.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::document;
use crate::cli::error::CliError;
use crate::cli::output::{age, plain, size, table};
use crate::cli::session::Session;
use crate::model::Standing;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord, WorkspaceRecord, WorkspaceState};
use crate::store::Store;
use crate::sys::standing::Processes;
use crate::sys::{clock, fs, proc};
use crate::worktree::remote::Lookup;
use crate::worktree::status::{Survey, WorkspaceStatus};

const HEAD: [&str; 10] = ["", "NAME", "BRANCH", "STATE", "FRESHNESS", "BASE", "PROCS", "SIZE", "AGE", "PATH"];

/// One line of the list.
enum Line {
    Workspace { record: Box<WorkspaceRecord>, looked: Box<Result<WorkspaceStatus, String>> },
    Task { run: Box<RunRecord>, task: Box<TaskRecord> },
}

/// Lists workspaces.
pub fn run(session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let lines = gather(session, &store)?;
    let processes = Processes::scan().map_err(crate::worktree::WorktreeError::from)?;
    let places: Vec<&Path> = lines.iter().map(Line::place).collect();
    let sizes = fs::disk_usages(&places);
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    for (line, bytes) in lines.iter().zip(sizes) {
        let standing = line.processes(&processes);
        rows.push(line.row(session, &standing, bytes));
        documents.push(line.document(&standing, bytes));
    }
    session.out.answer("treehand/workspaces/v1", json!({"workspaces": documents}), || table(&rows))?;
    Ok(0)
}

fn gather(session: &Session, store: &Store) -> Result<Vec<Line>, CliError> {
    let mut lines = Vec::new();
    let lookup = Lookup { recall: true, ..session.lookup(true) };
    let records = store.workspaces()?;
    let mut survey = Survey::begin(&session.repo, &records, lookup)?;
    for record in records {
        // One workspace that cannot be looked at must not hide the others: its row says why.
        let looked = survey.status(&record).map_err(|error| chain(&error));
        lines.push(Line::Workspace { record: Box::new(record), looked: Box::new(looked) });
    }
    for run in store.runs()? {
        let tasks = store.tasks(&run.id)?.into_iter().filter(|task| task.workspace.is_some());
        lines.extend(tasks.map(|task| Line::Task { run: Box::new(run.clone()), task: Box::new(task) }));
    }
    Ok(lines)
}

impl Line {
    fn place(&self) -> &Path {
        match self {
            Line::Workspace { record, .. } => &record.path,
            Line::Task { task, .. } => task.workspace.as_deref().unwrap_or(Path::new("")),
        }
    }

    /// Who works in it: whoever stands in it and, of a task, what its attempts started.
    fn processes(&self, all: &Processes) -> Vec<Standing> {
        let place = self.place();
        match self {
            Line::Workspace { .. } => all.inside(place),
            Line::Task { task, .. } => {
                let mut found = all.inside(place.parent().unwrap_or(place));
                let attempts = task.attempts.iter().filter_map(|attempt| attempt.process.as_ref());
                for process in attempts.filter(|process| proc::is_alive(process)) {
                    if found.iter().all(|standing| standing.pid != process.pid) {
                        found.push(Standing { pid: process.pid, name: "attempt".into() });
                    }
                }
                found
            }
        }
    }

    fn row(&self, session: &Session, processes: &[Standing], bytes: u64) -> Vec<String> {
        let path = plain(&self.place().to_string_lossy());
        let (processes, bytes) = (processes.len().to_string(), size(bytes));
        match self {
            Line::Workspace { record, looked } => {
                let here = if session.repo.here.as_ref() == Some(&record.path) { "@" } else { "" };
                let (state, freshness, base) = state(record, looked);
                let old = age(clock::now().since(record.created_at).as_secs());
                let elsewhere = looked.as_ref().as_ref().ok().and_then(|status| status.elsewhere.as_ref());
                let branch = elsewhere
                    .map_or(record.branch.to_string(), |branch| format!("{} (on {})", record.branch, plain(branch)));
                let name = record.name.to_string();
                vec![here.into(), name, branch, state, freshness, base, processes, bytes, old, path]
            }
            Line::Task { run, task } => {
                let (name, base) = (format!("{}/{}", run.id, task.id), plain(&run.base.reference));
                let (state, freshness) = (task.state.word().into(), run.base.freshness.word().to_owned());
                let old = age(clock::now().since(run.created_at).as_secs());
                vec![String::new(), name, task.branch.to_string(), state, freshness, base, processes, bytes, old, path]
            }
        }
    }

    fn document(&self, processes: &[Standing], bytes: u64) -> Value {
        match self {
            Line::Workspace { record, looked } => workspace_document(record, looked, processes, bytes),
            Line::Task { run, task } => task_document(run, task, processes, bytes),
        }
    }
}

fn state(record: &WorkspaceRecord, looked: &Result<WorkspaceStatus, String>) -> (String, String, String) {
    let reference = plain(&record.base.reference);
    match looked {
        _ if record.state == WorkspaceState::Creating => ("creating".into(), "unknown".into(), reference),
        _ if record.state == WorkspaceState::Removing => ("removing".into(), "unknown".into(), reference),
        Err(why) => (format!("unknown: {}", plain(why)), "unknown".into(), reference),
        Ok(status) => {
            let state = match (status.present, status.dirty) {
                (false, _) => "gone",
                (true, Some(true)) => "dirty",
                (true, Some(false)) => "clean",
                (true, None) => "sealed",
            };
            let mut state = state.to_owned();
            for operation in &status.operations {
                state.push_str(&format!(", in {operation}"));
            }
            let base = &status.base;
            let standing = format!("{} +{} -{}", plain(&base.reference), base.ahead, base.behind);
            (state, base.freshness.word().to_owned(), standing)
        }
    }
}

fn workspace_document(
    record: &WorkspaceRecord,
    looked: &Result<WorkspaceStatus, String>,
    processes: &[Standing],
    bytes: u64,
) -> Value {
    let base = looked.as_ref().map_or(&record.base, |status| &status.base);
    let mut document = document::workspace(record, base, None);
    document["state"] = json!(record.state);
    document["present"] = json!(looked.as_ref().ok().map(|status| status.present));
    document["dirty"] = json!(looked.as_ref().ok().and_then(|status| status.dirty));
    document["elsewhere"] = json!(looked.as_ref().ok().and_then(|status| status.elsewhere.clone()));
    document["operations"] = json!(looked.as_ref().map(|status| status.operations.clone()).unwrap_or_default());
    document["error"] = json!(looked.as_ref().err());
    document["processes"] = json!(processes);
    document["bytes"] = json!(bytes);
    document["age_s"] = json!(clock::now().since(record.created_at).as_secs());
    document["run"] = Value::Null;
    document["task"] = Value::Null;
    document
}

fn task_document(run: &RunRecord, task: &TaskRecord, processes: &[Standing], bytes: u64) -> Value {
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
        "processes": processes,
        "bytes": bytes,
        "age_s": clock::now().since(run.created_at).as_secs(),
        "run": run.id,
        "task": task.id,
    })
}

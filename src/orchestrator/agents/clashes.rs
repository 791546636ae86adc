//! Scan: which of the files that a task has changed others are changing, too: the tasks at work beside it, and the results that wait
//! to land on the same branch.
//!
//! Only names and times are looked at in trees in which somebody works: what a task could write is read by nobody for that. What is
//! deleted is seen in results alone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::model::record::TaskRecord;
use crate::model::{TaskId, TaskState, Timestamp};
use crate::orchestrator::context::{Context, RunError};
use crate::orchestrator::queue::scan;
use crate::sys::fs;
use crate::worktree::WorktreeError;

/// So many files of a task are looked at, and so many are named for one other.
const FILES_MAX: usize = 10_000;
const NAMED_MAX: usize = 50;

/// What a task is told.
pub fn of(context: &Context, id: &TaskId) -> Result<Value, RunError> {
    let task = context.task(id)?;
    let Some(begun) = begun(&task) else { return Ok(json!({"conflicts": []})) };
    let mine = written(&context.paths(id)?.tree, begun)?;
    let mut found = Vec::new();
    for other in context.store(|store| store.tasks(&context.run.id))? {
        if other.id == *id || !matches!(other.state, TaskState::Running | TaskState::Waiting) {
            continue;
        }
        if let Some(theirs) = self::begun(&other) {
            let tree = context.paths(&other.id)?.tree;
            let both = mine.iter().filter(|path| is_written(&tree, path, theirs));
            found.extend(told(&format!("{}/{}", context.run.id, other.id), "at work", both));
        }
    }
    let (reader, queue) = (context.repo.reader(), context.store(|store| scan::queue(store, &context.run.into))?);
    for entry in queue.waiting.iter().map(|waiting| &waiting.entry) {
        if entry.run == context.run.id && entry.task == *id {
            continue;
        }
        let theirs = reader.changed_files(&entry.base, &entry.commit).map_err(WorktreeError::from)?;
        found.extend(told(&entry.name(), "waits to land", mine.intersection(&theirs)));
    }
    Ok(json!({"conflicts": found, "changed": mine.len()}))
}

/// When the command of a task began: what its setup steps have written is none of its work.
fn begun(task: &TaskRecord) -> Option<Timestamp> {
    let attempt = task.attempts.last()?;
    Some(attempt.setup.iter().filter_map(|step| step.ended_at).max().unwrap_or(attempt.started_at))
}

fn is_written(tree: &Path, path: &[u8], begun: Timestamp) -> bool {
    let changed = fs::changed_beneath(tree, Path::new(OsStr::from_bytes(path)));
    changed.is_ok_and(|changed| changed.is_some_and(|changed| changed > begun))
}

/// The files of a tree that were written since then.
fn written(tree: &Path, begun: Timestamp) -> Result<BTreeSet<Vec<u8>>, RunError> {
    let of_git = |entry: &walkdir::DirEntry| entry.depth() == 1 && entry.file_name() == ".git";
    let entries = walkdir::WalkDir::new(tree).into_iter().filter_entry(|entry| !of_git(entry));
    let mut found = BTreeSet::new();
    // A directory that goes while it is looked at is gone.
    for entry in entries.filter_map(Result::ok).filter(|entry| !entry.file_type().is_dir()) {
        let Ok(path) = entry.path().strip_prefix(tree) else { continue };
        let path = path.as_os_str().to_owned().into_vec();
        if is_written(tree, &path, begun) {
            found.insert(path);
        }
        if found.len() == FILES_MAX {
            break;
        }
    }
    Ok(found)
}

fn told<'a>(name: &str, how: &str, files: impl Iterator<Item = &'a Vec<u8>>) -> Option<Value> {
    let mut files: Vec<String> = files.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    let count = files.len();
    files.truncate(NAMED_MAX);
    (count > 0).then(|| json!({"task": name, "how": how, "files": files, "count": count}))
}

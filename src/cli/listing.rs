//! The lines of `ls`: what each says in a table and in the document.
//!
//! A line is complete at once but for what has to be looked for in files: uncommitted changes and size. Those come later,
//! and change no column's width.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::document;
use super::fit::{self, Column};
use super::health;
use super::output::{Output, Paint, age, plain, size};
use crate::model::health::{HealthLevel, Seen};
use crate::model::record::{ConfineLevel, RunRecord, TaskRecord, WorkspaceRecord, WorkspaceState};
use crate::model::{Freshness, Standing, TaskFreshness, TaskState};
use crate::sys::standing::Processes;
use crate::sys::{clock, proc};
use crate::worktree::index_copy::{Dirt, LookedAt};
use crate::worktree::ports::decide::Lease;
use crate::worktree::status::WorkspaceStatus;

/// The columns.
pub const HEAD: [&str; 10] = ["", "NAME", "BRANCH", "STATE", "FRESHNESS", "BASE", "PROCS", "SIZE", "AGE", "PATH"];

/// What the signs mean; `--help` says it too.
pub const LEGEND: &str =
    "@ here  ^ main worktree  + staged  ! modified  ? untracked  x in conflict  +N commits of its own  -N it lacks";

/// Widest that a state with its signs, and a size, can be: the columns are printed before they are known.
const STATE_WIDTH: usize = 10;
const SIZE_WIDTH: usize = 5;

/// One line of the list.
pub enum Line {
    /// The main worktree; only in the table.
    Main {
        /// What it has checked out.
        branch: Option<String>,
        /// Where it is.
        looked_at: LookedAt,
    },
    /// A workspace, or why it cannot be looked at.
    Workspace {
        /// Its record.
        record: Box<WorkspaceRecord>,
        /// How it stands.
        looked: Box<Result<WorkspaceStatus, String>>,
    },
    /// The workspace of a task.
    Task {
        /// Its run.
        run: Box<RunRecord>,
        /// The task.
        task: Box<TaskRecord>,
        /// How its attempt is, where one is under way.
        seen: Option<Seen>,
        /// How its base stands, where that is looked at, or why it cannot be.
        fresh: Result<Option<TaskFreshness>, String>,
    },
}

/// What was found in the files.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Uncommitted changes; `None` where they are not looked for, an error where that failed.
    pub dirt: Option<Result<Dirt, String>>,
    /// Bytes on disk; `None` where they were not counted.
    pub bytes: Option<u64>,
}

impl Found {
    /// What takes most room: columns are as wide before anything is found.
    pub fn widest() -> Found {
        let dirt = Dirt { staged: true, modified: true, untracked: true, conflicted: true };
        Found { dirt: Some(Ok(dirt)), bytes: None }
    }
}

/// A cell of the table and its colour.
pub type Cell = (String, Option<Paint>);

impl Line {
    /// Its directory.
    pub fn place(&self) -> &Path {
        match self {
            Line::Main { looked_at, .. } => looked_at.tree(),
            Line::Workspace { record, .. } => &record.path,
            Line::Task { task, .. } => task.workspace.as_deref().unwrap_or(Path::new("")),
        }
    }

    /// Where uncommitted changes are to be looked for.
    pub fn looked_at(&self) -> Option<&LookedAt> {
        match self {
            Line::Main { looked_at, .. } => Some(looked_at),
            Line::Workspace { looked, .. } => looked.as_ref().as_ref().ok()?.looked_at.as_ref(),
            Line::Task { .. } => None,
        }
    }

    /// Who works in it: whoever stands in it and, of a task, what its attempts started.
    pub fn processes(&self, all: &Processes) -> Vec<Standing> {
        let Line::Task { task, .. } = self else { return all.inside(self.place()) };
        let mut found = task.workspace.as_deref().map(|enclosure| all.inside(enclosure)).unwrap_or_default();
        let attempts = task.attempts.iter().filter_map(|attempt| attempt.process.as_ref());
        for process in attempts.filter(|process| proc::is_alive(process)) {
            if found.iter().all(|standing| standing.pid != process.pid) {
                found.push(Standing { pid: process.pid, name: "attempt".into() });
            }
        }
        found
    }

    /// The cells of its line; the path as seen from a directory, where that is shorter.
    pub fn cells(&self, here: Option<&Path>, from: Option<&Path>, processes: &[Standing], found: &Found) -> Vec<Cell> {
        let is_here = here == Some(self.place());
        let (name, branch, since) = match self {
            Line::Main { branch, .. } => ("^".to_owned(), branch.clone().unwrap_or_else(|| "HEAD".into()), None),
            Line::Workspace { record, looked } => {
                let elsewhere = looked.as_ref().as_ref().ok().and_then(|status| status.elsewhere.as_ref());
                let branch = elsewhere
                    .map_or(record.branch.to_string(), |branch| format!("{} (on {})", record.branch, plain(branch)));
                (record.name.to_string(), branch, Some(record.created_at))
            }
            Line::Task { run, task, .. } => {
                (format!("{}/{}", run.id, task.id), task.branch.to_string(), Some(run.created_at))
            }
        };
        let (state, (freshness, base)) = (self.state(found), self.standing());
        let old = since.map_or(String::new(), |since| age(clock::now().since(since).as_secs()));
        let busy = if processes.is_empty() { None } else { Some(Paint::Green) };
        vec![
            (if is_here { "@" } else { "" }.to_owned(), Some(Paint::Green)),
            (name, is_here.then_some(Paint::Green)),
            (plain(&branch), None),
            state,
            freshness,
            base,
            (processes.len().to_string(), busy),
            (found.bytes.map_or("…".into(), size), None),
            (old, Some(Paint::Dim)),
            (plain(&seen_from(self.place(), from).to_string_lossy()), Some(Paint::Dim)),
        ]
    }

    fn state(&self, found: &Found) -> Cell {
        match self {
            Line::Task { run, task, seen, .. } => {
                let level =
                    if run.confine == ConfineLevel::Strict { String::new() } else { format!(", {}", run.confine) };
                let state = health::beside(task.state.word(), seen.as_ref().and_then(health::words));
                let is_well = seen.as_ref().is_none_or(|seen| seen.level < HealthLevel::Stalled);
                (format!("{state}{level}"), if is_well { task_paint(task.state) } else { Some(Paint::Red) })
            }
            Line::Workspace { record, .. } if record.state == WorkspaceState::Creating => ("creating".into(), None),
            Line::Workspace { record, .. } if record.state == WorkspaceState::Removing => ("removing".into(), None),
            Line::Main { .. } => dirtiness(found, &[]),
            Line::Workspace { looked, .. } => match looked.as_ref() {
                Err(why) => (format!("unknown: {}", plain(why)), Some(Paint::Red)),
                Ok(status) if !status.present => ("gone".into(), Some(Paint::Red)),
                Ok(status) if status.looked_at.is_none() => with_operations("sealed".into(), &status.operations, None),
                Ok(status) => dirtiness(found, &status.operations),
            },
        }
    }

    fn standing(&self) -> (Cell, Cell) {
        let (freshness, base) = match self {
            Line::Main { .. } => return ((String::new(), None), (String::new(), None)),
            Line::Task { run, fresh: Ok(Some(fresh)), .. } => {
                (fresh.state, format!("{} -{}", plain(run.into.as_str()), fresh.missing.len()))
            }
            Line::Task { run, fresh: Ok(None), .. } => (run.base.freshness, plain(&run.base.reference)),
            Line::Task { run, fresh: Err(_), .. } => (Freshness::Unknown, plain(run.into.as_str())),
            Line::Workspace { record, looked } => match looked.as_ref() {
                Ok(status) if record.state == WorkspaceState::Ready => {
                    let base = &status.base;
                    let below: String = base.stack.iter().map(|name| format!(" < {}", plain(name))).collect();
                    let text = format!("{}{below} +{} -{}", plain(&base.reference), base.ahead, base.behind);
                    (base.freshness, text)
                }
                _ => (Freshness::Unknown, plain(&record.base.reference)),
            },
        };
        let paint = match freshness {
            Freshness::Fresh => Paint::Green,
            Freshness::Stale | Freshness::Diverged => Paint::Yellow,
            Freshness::Unknown => Paint::Dim,
        };
        ((freshness.word().to_owned(), Some(paint)), (base, None))
    }

    /// The ports that a command in it is told, of all that are leased, where so many are wanted for a workspace.
    pub fn ports(&self, leases: &[Lease], wanted: u16) -> Vec<u16> {
        let (found, wanted) = match self {
            Line::Main { .. } => (None, 0),
            Line::Workspace { record, .. } => (leases.iter().find(|lease| lease.tree == record.path), wanted),
            Line::Task { run, task, .. } => {
                let enclosure = task.workspace.as_deref();
                let is_in = |lease: &&Lease| enclosure.is_some_and(|enclosure| lease.tree.starts_with(enclosure));
                (leases.iter().find(is_in), run.ports)
            }
        };
        found.map(|lease| lease.told(wanted)).unwrap_or_default()
    }

    /// Its document; the main worktree has none.
    pub fn document(&self, processes: &[Standing], ports: &[u16], found: &Found) -> Option<Value> {
        let shared = json!({"processes": processes, "ports": ports, "bytes": found.bytes});
        let mut document = match self {
            Line::Main { .. } => return None,
            Line::Workspace { record, looked } => workspace_document(record, looked, found),
            Line::Task { run, task, seen, fresh } => task_document(run, task, seen.as_ref(), fresh),
        };
        for (key, value) in shared.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        Some(document)
    }
}

/// A path relative to a directory, where that is shorter.
fn seen_from(path: &Path, from: Option<&Path>) -> PathBuf {
    let Some(from) = from else { return path.to_owned() };
    let shared = path.components().zip(from.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    let relative = if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative };
    if relative.as_os_str().len() < path.as_os_str().len() { relative } else { path.to_owned() }
}

fn dirtiness(found: &Found, operations: &[&str]) -> Cell {
    let (word, paint) = match &found.dirt {
        None => ("…".into(), Some(Paint::Dim)),
        Some(Err(why)) => (format!("unknown: {}", plain(why)), Some(Paint::Red)),
        Some(Ok(dirt)) if dirt.is_clean() => ("clean".into(), None),
        Some(Ok(dirt)) => {
            let signs = [(dirt.conflicted, 'x'), (dirt.staged, '+'), (dirt.modified, '!'), (dirt.untracked, '?')];
            let signs: String = signs.iter().filter(|(is, _)| *is).map(|(_, sign)| sign).collect();
            (format!("dirty {signs}"), Some(Paint::Yellow))
        }
    };
    with_operations(word, operations, paint)
}

fn with_operations(mut word: String, operations: &[&str], paint: Option<Paint>) -> Cell {
    for operation in operations {
        word.push_str(&format!(", in {operation}"));
    }
    (word, paint)
}

fn task_paint(state: TaskState) -> Option<Paint> {
    match state {
        TaskState::Landed | TaskState::NoChange => Some(Paint::Green),
        TaskState::Failed | TaskState::Rejected => Some(Paint::Red),
        TaskState::NeedsAttention => Some(Paint::Yellow),
        _ => None,
    }
}

/// How wide each column is, whatever is found yet: as wide as it has to be, on a terminal so that all of them fit.
pub fn widths(rows: &[Vec<Cell>], terminal: Option<usize>) -> Vec<usize> {
    let widths = full_widths(rows);
    let Some(terminal) = terminal else { return widths };
    let repeats = rows
        .iter()
        .skip(1)
        .all(|row| row[1].0 == "^" || row[2].0.strip_prefix("treehand/").unwrap_or(&row[2].0) == row[1].0);
    let column = |(at, width): (usize, usize)| {
        // The order in which they leave, and the least that is of use.
        let (leaves, least) = match HEAD[at] {
            "BRANCH" if repeats => (Some(0), usize::MAX),
            "AGE" => (Some(1), usize::MAX),
            "SIZE" => (Some(2), usize::MAX),
            "PATH" => (Some(3), 16),
            "PROCS" => (Some(4), usize::MAX),
            "BRANCH" => (Some(5), 12),
            "BASE" => (Some(6), 10),
            "FRESHNESS" => (Some(7), usize::MAX),
            "STATE" => (None, STATE_WIDTH),
            "NAME" => (None, 8),
            _ => (None, width),
        };
        Column { width, leaves, least }
    };
    fit::fit(&widths.into_iter().enumerate().map(column).collect::<Vec<_>>(), terminal, 2)
}

fn full_widths(rows: &[Vec<Cell>]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
        let least = match HEAD[column] {
            "STATE" => STATE_WIDTH,
            "SIZE" => SIZE_WIDTH,
            head => head.len(),
        };
        cells.max().unwrap_or(0).max(least)
    };
    (0..HEAD.len()).map(width).collect()
}

/// One line of the table.
pub fn line(out: &Output, cells: &[Cell], widths: &[usize]) -> String {
    let last = cells.len().saturating_sub(1);
    let cell = |(at, ((text, paint), width)): (usize, (&Cell, &usize))| {
        let text = if out.on_terminal() { &fit::cut(text, *width) } else { text };
        let gap = if at == last { 0 } else { width.saturating_sub(text.chars().count()) };
        let shown = paint.filter(|_| !text.is_empty()).map_or_else(|| text.clone(), |paint| out.paint(paint, text));
        format!("{shown}{}", " ".repeat(gap))
    };
    let shown = cells.iter().zip(widths).enumerate().filter(|(at, (_, width))| **width > 0 || *at == 0);
    let line: Vec<String> = shown.map(cell).collect();
    format!("{}\n", line.join("  ").trim_end())
}

fn workspace_document(record: &WorkspaceRecord, looked: &Result<WorkspaceStatus, String>, found: &Found) -> Value {
    let base = looked.as_ref().map_or(&record.base, |status| &status.base);
    let dirt = found.dirt.as_ref().and_then(|dirt| dirt.as_ref().ok());
    let error = looked.as_ref().err().or(found.dirt.as_ref().and_then(|dirt| dirt.as_ref().err()));
    let mut document = document::workspace(record, base, None);
    document["state"] = json!(record.state);
    document["present"] = json!(looked.as_ref().ok().map(|status| status.present));
    document["dirty"] = json!(dirt.map(|dirt| !dirt.is_clean()));
    document["changes"] = json!(dirt.map(|dirt| json!({"staged": dirt.staged, "modified": dirt.modified,
        "untracked": dirt.untracked, "conflicted": dirt.conflicted})));
    document["elsewhere"] = json!(looked.as_ref().ok().and_then(|status| status.elsewhere.clone()));
    document["operations"] = json!(looked.as_ref().map(|status| status.operations.clone()).unwrap_or_default());
    document["error"] = json!(error);
    document["age_s"] = json!(clock::now().since(record.created_at).as_secs());
    document["confine"] = Value::Null;
    document["health"] = Value::Null;
    document["fresh"] = Value::Null;
    document["run"] = Value::Null;
    document["task"] = Value::Null;
    document
}

fn task_document(
    run: &RunRecord,
    task: &TaskRecord,
    seen: Option<&Seen>,
    fresh: &Result<Option<TaskFreshness>, String>,
) -> Value {
    let filled = task.attempts.iter().rev().find_map(|attempt| attempt.filled.as_ref());
    json!({
        "name": format!("{}/{}", run.id, task.id),
        "path": task.workspace,
        "branch": task.branch,
        "base": run.base,
        "strategy": filled.map(|filled| &filled.strategy),
        "strategy_why": filled.map(|filled| &filled.why),
        "elapsed_ms": Value::Null,
        "sealed": true,
        "lease": Value::Null,
        "state": task.state,
        "present": task.workspace.as_ref().map(|path| path.exists()),
        "dirty": Value::Null,
        "changes": Value::Null,
        "elsewhere": Value::Null,
        "operations": [],
        "error": fresh.as_ref().err(),
        "fresh": fresh.as_ref().ok(),
        "age_s": clock::now().since(run.created_at).as_secs(),
        "run": run.id,
        "task": task.id,
        "confine": run.confine,
        "health": health::document(seen),
    })
}

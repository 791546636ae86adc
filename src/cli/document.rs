//! The JSON documents of the contract, made from records. What is not known is `null`, never left out.
//!
//! Field names are those of `docs/cli.md`; a change needs a new schema version.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::agents::in_runs;
use super::health;
use super::output::plain;
use crate::model::mail::Question;
use crate::model::record::{ConfineLevel, RunRecord, TaskRecord, WorkspaceRecord};
use crate::model::{BaseReport, Delay, ReasonKind, TaskFreshness, TaskId, TaskState, state};
use crate::orchestrator::health::Looked;

/// How the bases of tasks stand, as far as that was looked at.
pub type Standings = BTreeMap<TaskId, TaskFreshness>;

/// `treehand/run/v1`; `looked` is how its attempts are.
pub fn run(run: &RunRecord, tasks: &[TaskRecord], looked: &Looked, fresh: &Standings) -> Value {
    json!({
        "run": run.id,
        "state": run.state,
        "paused": run.paused,
        "goal": run.spec.goal,
        "base": run.base,
        "into": run.into,
        "strategy": run.strategy,
        "merge": run.merge,
        "jobs": run.jobs,
        "confine": run.confine,
        "tasks": tasks.iter().map(|one| task(one, looked, fresh)).collect::<Vec<_>>(),
        "usage": in_runs::usage(tasks.iter().flat_map(in_runs::all)),
        "usage_by_agent": in_runs::usage_by_agent(tasks),
        "gates": run.gates,
        "before": run.before,
        "after": run.after,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "error": run.error,
    })
}

/// One task of `treehand/run/v1`.
pub fn task(task: &TaskRecord, looked: &Looked, fresh: &Standings) -> Value {
    let attempts: Vec<Value> = task
        .attempts
        .iter()
        .map(|attempt| {
            json!({
                "n": attempt.n,
                "started_at": attempt.started_at,
                "ended_at": attempt.ended_at,
                "exit": attempt.exit,
                "signal": attempt.signal,
                "error": attempt.error,
                "usage": in_runs::usage(attempt.agent.iter()),
                "agent": in_runs::document(attempt),
                "log": attempt.log.to_string_lossy(),
                "setup": attempt.setup,
                "health": health::document(looked.of(attempt)),
            })
        })
        .collect();
    json!({
        "id": task.id,
        "state": task.state,
        "needs": task.spec.needs,
        "agent": task.spec.agent,
        "agents": task.spec.agents.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "usage": in_runs::usage(in_runs::all(task)),
        "attempts": attempts,
        "workspace": task.workspace,
        "branch": task.branch,
        "base": task.base,
        "commit": task.commit,
        "files_changed": task.changes.map(|c| c.files_changed),
        "insertions": task.changes.map(|c| c.insertions),
        "deletions": task.changes.map(|c| c.deletions),
        "landed": task.landed,
        "reason": task.reason,
        "waits_for": waits_for(task),
        "resolving": task.resolving.as_ref().map(|resolving| &resolving.reason),
        "question": question(task),
        "fresh": fresh.get(&task.id),
    })
}

/// The question with which a task is parked.
fn question(task: &TaskRecord) -> Option<&Question> {
    task.question.as_ref().filter(|_| task.state == TaskState::Waiting)
}

/// What a queued task waits for beside a place in its run and what it needs.
fn waits_for(task: &TaskRecord) -> Option<&Delay> {
    task.delay.as_ref().filter(|_| task.state == TaskState::Queued)
}

/// `treehand/workspace/v1`.
pub fn workspace(record: &WorkspaceRecord, base: &BaseReport, elapsed_ms: Option<u64>) -> Value {
    json!({
        "name": record.name,
        "path": record.path,
        "branch": record.branch,
        "base": base,
        "strategy": record.strategy,
        "strategy_why": record.strategy_why,
        "elapsed_ms": elapsed_ms,
        "sealed": record.sealed,
        "sparse": record.sparse,
        "lease": record.lease,
    })
}

/// The exit code of a run that is over.
pub fn run_exit_code(run: &RunRecord, tasks: &[TaskRecord]) -> u8 {
    let reasons: Vec<ReasonKind> = tasks.iter().filter_map(|task| task.reason.as_ref().map(|r| r.kind)).collect();
    match (state::run_exit_code(&reasons), &run.error) {
        (0, Some(_)) => 1,
        (code, _) => code,
    }
}

/// A run for people: what landed, what did not and why.
pub fn run_text(run: &RunRecord, tasks: &[TaskRecord], looked: &Looked, fresh: &Standings) -> String {
    let level = if run.confine == ConfineLevel::Strict { String::new() } else { format!(" (confine {})", run.confine) };
    let paused = if run.paused && !run.state.is_terminal() { " (paused)" } else { "" };
    let mut text = format!("run {} {}{paused}{level}", run.id, run.state.word());
    if let Some(goal) = &run.spec.goal {
        text.push_str(&format!(": {}", in_runs::one_line(goal)));
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let seen = looked.of_task(task);
            let state = health::beside(task.state.word(), seen.and_then(health::words));
            let behind = fresh.get(&task.id).and_then(|fresh| behind(run, fresh));
            let parts = seen.and_then(health::last_tool).into_iter().chain(task_detail(run, task)).chain(behind);
            vec![format!("  {}", task.id), state, parts.collect::<Vec<_>>().join("; ")]
        })
        .collect();
    text.push_str(&super::output::table(&rows));
    for gate in run.gates.iter().filter(|gate| !gate.cached) {
        let outcome =
            serde_json::to_value(gate.outcome).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        text.push_str(&format!(
            "  gate {outcome} on {} in {} ms: {}\n",
            gate.tree.short(),
            gate.ms,
            plain(&gate.command)
        ));
    }
    if let Some(after) = &run.after {
        text.push_str(&format!("  {} {} -> {}\n", run.into, run.before.short(), after.short()));
    }
    if let Some(error) = &run.error {
        text.push_str(&format!("  the supervisor gave up: {}\n", plain(error)));
    }
    text
}

/// What a task lacks, in words: `stale: main has 2 commits that it lacks: …`.
pub fn behind(run: &RunRecord, fresh: &TaskFreshness) -> Option<String> {
    let newest = fresh.missing.first()?;
    let (count, more) = (fresh.missing.len(), if fresh.missing.len() == 1 { "" } else { ", …" });
    let commits = if count == 1 { "commit" } else { "commits" };
    let touches = fresh.touches.as_deref().filter(|paths| !paths.is_empty());
    let touches = touches.map(|paths| format!("; both change {}", shorten_list(paths))).unwrap_or_default();
    let word = fresh.state.word();
    Some(format!("{word}: `{}` has {count} {commits} that it lacks: {}{more}{touches}", run.into, plain(newest)))
}

fn task_detail(run: &RunRecord, task: &TaskRecord) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(question) = question(task) {
        let until = question.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let default =
            question.default.as_ref().map(|default| format!(", else: {}", plain(default))).unwrap_or_default();
        parts.push(format!("asks{until}: {}{default}", plain(&question.text)));
    }
    if let Some(delay) = waits_for(task) {
        let until = delay.until.map(|until| format!(", until {until}")).unwrap_or_default();
        parts.push(format!("{}{until}", plain(&delay.why)));
    }
    if let Some(resolving) = &task.resolving {
        parts.push(format!("resolves a {}", plain(&resolving.reason.message)));
        parts.push(shorten_list(&resolving.reason.paths));
    }
    parts.extend(in_runs::words(task));
    if let Some(landed) = &task.landed {
        parts.push(format!("as {}", landed.commit.short()));
    }
    if let Some(changes) = &task.changes {
        parts.push(format!("{} files, +{} -{}", changes.files_changed, changes.insertions, changes.deletions));
    }
    if let Some(reason) = &task.reason {
        parts.push(plain(&reason.message));
        if !reason.paths.is_empty() {
            parts.push(shorten_list(&reason.paths));
        }
        if task.commit.is_some() {
            parts.push(format!("kept on {}", task.branch));
        }
        let stale = task.state == TaskState::Rejected && reason.kind == ReasonKind::Stale;
        if task.commit.is_some() && (stale || task.state == TaskState::NeedsAttention) {
            parts.push(format!("`treehand merge {}/{}` lands it", run.id, task.id));
        }
        if let Some(log) = &reason.log {
            parts.push(format!("log {}", plain(log)));
        }
    }
    parts
}

/// A list of files for one line.
pub fn shorten_list(paths: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = paths.iter().take(SHOWN).map(|path| plain(path)).collect();
    let more = paths.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

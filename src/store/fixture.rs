//! Records of a run and a task, for the tests of this room and of those above it.
//!
//! They name commits and paths that need not be there.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use crate::model::record::{AttemptRecord, RunRecord, TaskRecord};
use crate::model::{BaseReport, CommitId, QueueEntry, RunId, TaskId, Timestamp, Token};
use crate::sys::random;

/// The default template.
pub const TEMPLATE: &str = "../{repo}.trees/{workspace}/{repo}";

/// So that no two runs of one test share a moment, and with it perhaps their whole name.
static MADE: AtomicI64 = AtomicI64::new(0);

/// A run with one task, as the store keeps it.
pub fn run(base: &BaseReport, state: &str, task: &str, task_state: &str) -> (RunRecord, TaskRecord) {
    let moment = Timestamp(1_800_000_000_000 + MADE.fetch_add(1, Ordering::Relaxed));
    let id = RunId::new(moment, random::bits().expect("random"));
    let at = "2027-01-01T00:00:00Z";
    let run = json!({
        "id": id, "state": state, "spec": {"tasks": []}, "base": base, "into": "main", "strategy": "squash",
        "merge": "auto", "jobs": 1, "confine": "off", "lock_wait": "1s", "template": TEMPLATE, "output_limit": "1M",
        "before": base.commit, "after": null, "created_at": at, "started_at": at,
        "ended_at": if state == "running" { None } else { Some(at) },
        "supervisor": null, "cancel_requested": false, "gates": [], "error": null,
    });
    let task = json!({
        "id": task, "ordinal": 0, "state": task_state, "branch": format!("treehand/{id}/{task}"), "base": base.commit,
        "spec": {"id": task, "agent": "command", "command": ["true"]}, "workspace": null, "attempts": [], "commit": null,
        "changes": null, "landed": null, "reason": null,
    });
    (serde_json::from_value(run).expect("a run"), serde_json::from_value(task).expect("a task"))
}

/// The entry of a task's result in the queue.
pub fn entry(run: &RunRecord, task: &TaskRecord) -> QueueEntry {
    QueueEntry {
        number: 0,
        target: run.into.clone(),
        run: run.id.clone(),
        task: task.id.clone(),
        base: run.base.commit.clone(),
        commit: task.commit.clone().unwrap_or_else(|| run.base.commit.clone()),
        needs: task.spec.needs.clone(),
        terms: String::new(),
        priority: 0,
        submitted_at: Timestamp(1),
        owner: None,
        held: None,
        judged_since: None,
        refused: None,
    }
}

/// Tasks of a run: name, state and what each needs.
pub fn tasks(rows: &[(&str, &str, &[&str])]) -> Vec<TaskRecord> {
    let base = BaseReport::fixed("main", CommitId::parse(&"a".repeat(40)).expect("an id"));
    let one = |(name, state, needs): &(&str, &str, &[&str])| {
        let mut task = run(&base, "failed", name, state).1;
        task.spec.needs = needs.iter().map(|need| TaskId::parse(need).expect("a task id")).collect();
        task
    };
    rows.iter().map(one).collect()
}

/// An attempt that began.
pub fn attempt(n: u32) -> AttemptRecord {
    AttemptRecord {
        n,
        token: Token::parse(&"0".repeat(32)).expect("a token"),
        process: None,
        starter: None,
        started_at: Timestamp(8),
        ended_at: None,
        exit: None,
        signal: None,
        error: None,
        log: "log".into(),
        setup: Vec::new(),
        health: None,
        agent: None,
        filled: None,
    }
}

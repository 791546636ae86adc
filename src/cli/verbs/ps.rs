//! `ps`: the runs of this repository, newest first, with who supervises them and how their attempts are.
//!
//! Only looks: a run whose supervisor is dead is reported, not mended.

use serde_json::{Value, json};

use crate::cli::agents::in_runs;
use crate::cli::error::CliError;
use crate::cli::health;
use crate::cli::output::table;
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord};
use crate::orchestrator::client;
use crate::orchestrator::health::{self as attempts, Looked};

/// Lists runs.
pub fn run(session: &Session) -> Result<u8, CliError> {
    let store = session.look()?;
    let mut rows = vec![["RUN", "STATE", "SUPERVISOR", "TASKS", "STARTED", "GOAL"].map(str::to_owned).to_vec()];
    let mut documents: Vec<Value> = Vec::new();
    let mut runs = Vec::new();
    for run in store.runs()?.into_iter().rev() {
        let tasks = store.tasks(&run.id)?;
        runs.push((run, tasks));
    }
    let looked = attempts::look(&runs)?;
    for (run, tasks) in &runs {
        let supervisor = match (run.state.is_terminal(), client::is_supervised(&session.repo, &run.id)?) {
            (true, _) => "gone",
            (false, true) => "alive",
            (false, false) => "dead",
        };
        let waits = client::waits_for_room(&session.repo, &run.id).filter(|_| supervisor == "alive");
        let over = tasks.iter().filter(|task| task.state.is_terminal()).count();
        let goal = run.spec.goal.clone().unwrap_or_default();
        rows.push(vec![
            run.id.to_string(),
            state(run, tasks, &looked),
            waits.as_deref().unwrap_or(supervisor).into(),
            format!("{over}/{}", tasks.len()),
            run.created_at.to_string(),
            in_runs::one_line(&goal),
        ]);
        documents.push(json!({
            "run": run.id, "state": run.state, "supervisor": supervisor, "waits": waits, "paused": run.paused, "goal": run.spec.goal, "into": run.into,
            "tasks": tasks.len(), "tasks_over": over, "attempts": under_way(tasks, &looked), "created_at": run.created_at,
            "started_at": run.started_at, "ended_at": run.ended_at,
        }));
    }
    session.out.answer("treehand/runs/v1", json!({"runs": documents}), || table(&rows))?;
    Ok(0)
}

fn state(run: &RunRecord, tasks: &[TaskRecord], looked: &Looked) -> String {
    let word = if run.paused && !run.state.is_terminal() { "paused" } else { run.state.word() };
    health::beside(word, health::summary(tasks.iter().filter_map(|task| looked.of_task(task))))
}

/// The attempts that are under way.
fn under_way(tasks: &[TaskRecord], looked: &Looked) -> Vec<Value> {
    let document = |task: &TaskRecord| {
        let (attempt, seen) = (task.attempts.last()?, looked.of_task(task)?);
        Some(json!({"task": task.id, "n": attempt.n, "health": health::document(Some(seen))}))
    };
    tasks.iter().filter_map(document).collect()
}

//! What the agents of a run have used of its budget together: what an attempt that begins may use of it, and the one warning when
//! nearly all is used.
//!
//! Promises: no attempt alone uses more than was left when it began, and none begins when nothing is. Those that run at the same time
//! may use more together: they go on to their ends.

use serde_json::json;

use crate::model::agent::{AgentReport, Budget, Usage};
use crate::model::record::TaskRecord;
use crate::orchestrator::context::{Context, RunError};
use crate::store::StoreError;

/// What the journal calls it that nearly all of a run's budget is used.
pub const RUN_WARNED: &str = "run.budget";

/// Of so many of a hundred of a budget somebody is warned.
pub const NEARLY: u64 = 80;

/// What is left of the budget of the run; an error when that is nothing.
pub fn left(context: &Context) -> Result<Budget, RunError> {
    let budget = context.run.spec.budget;
    if budget == Budget::default() {
        return Ok(budget);
    }
    warn(context)?;
    let used = used(&context.store(|store| store.tasks(&context.run.id))?);
    match budget.reached(&used, 100) {
        Some(part) => Err(RunError::UsedUp { part }),
        None => Ok(budget.without(used.usage, used.turns)),
    }
}

/// Tells once that nearly all of the run's budget is used.
pub fn warn(context: &Context) -> Result<(), StoreError> {
    let (budget, run) = (context.run.spec.budget, &context.run.id);
    if budget == Budget::default() {
        return Ok(());
    }
    context.store(|store| {
        let nearly = budget.reached(&used(&store.tasks(run)?), NEARLY);
        if let (Some(part), None) = (nearly, store.run(run)?.warned) {
            let data = json!({"nearly_used_up": part});
            store.update_run(run, RUN_WARNED, data, |run| run.warned = Some(part))?;
        }
        Ok(())
    })
}

/// What the agents of all attempts say that they used.
fn used(tasks: &[TaskRecord]) -> AgentReport {
    let usage = tasks.iter().fold(Usage::default(), |sum, task| sum.plus(task.usage()));
    let agents = tasks.iter().flat_map(|task| &task.attempts).filter_map(|attempt| attempt.agent.as_ref());
    let turns = agents.fold(0u64, |sum, agent| sum.saturating_add(agent.report.turns));
    AgentReport { usage, turns, ..AgentReport::default() }
}

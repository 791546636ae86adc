//! Ends of tasks that do not land: refused, failed, cancelled, each with its reason, from which secrets are left out.
//! What landed is recorded where it lands.

use serde_json::json;

use super::context::{Context, RunError};
use super::{room, task_branch};
use crate::model::cause::chain;
use crate::model::conflict::Resolving;
use crate::model::record::TaskRecord;
use crate::model::{Reason, ReasonKind, TaskEvent, TaskId, TaskState};
use crate::worktree::WorktreeError;

/// Refuses the result of a task for this reason.
pub fn reject(context: &Context, id: &TaskId, reason: Reason) -> Result<TaskState, RunError> {
    let reason = context.without_secrets(reason)?;
    let data = json!({"reason": reason});
    end(context, id, (TaskEvent::Reject, data), reason)
}

/// Ends a task. One that had a conflict to resolve has its result as it was before.
fn end(
    context: &Context,
    id: &TaskId,
    (event, data): (TaskEvent, serde_json::Value),
    reason: Reason,
) -> Result<TaskState, RunError> {
    let task = context.task(id)?;
    if let Some(resolving) = &task.resolving {
        task_branch::put(context, &task, &resolving.commit, "treehand: the result as it was")?;
    }
    let change = |task: &mut TaskRecord| {
        if let Some(Resolving { commit, base, changes, .. }) = task.resolving.take() {
            (task.commit, task.base, task.changes) = (Some(commit), Some(base), changes);
        }
        task.reason = Some(reason);
    };
    Ok(context.store(|store| store.move_task(&context.run.id, id, event, data, change))?.state)
}

/// Refuses the result of a task that builds on another which did not land.
pub fn reject_dependent(context: &Context, id: &TaskId, need: &TaskId) -> Result<TaskState, RunError> {
    let message = format!("it builds on `{need}`, which did not land");
    reject(context, id, Reason::new(ReasonKind::Skipped, message))
}

/// Ends a task that has nothing to land, for this reason. A full disk is none: then the run waits for room.
pub fn fail(context: &Context, id: &TaskId, what: &str, error: RunError) -> Result<TaskState, RunError> {
    if room::is_full(&error) {
        return Err(error);
    }
    let kind = match &error {
        RunError::Worktree(WorktreeError::Locked { .. }) => ReasonKind::Busy,
        _ => ReasonKind::Failed,
    };
    let message = format!("{what}: {}", chain(&error));
    if let Some(resolving) = &context.task(id)?.resolving {
        return reject(context, id, resolving.in_vain(&message));
    }
    let reason = context.without_secrets(Reason::new(kind, message))?;
    let data = json!({"reason": reason});
    end(context, id, (TaskEvent::Fail, data), reason)
}

fn cancelled(words: Option<&str>) -> String {
    match words {
        None => "the run was cancelled".into(),
        Some("") => "it was cancelled".into(),
        Some(words) => format!("it was cancelled: {words}"),
    }
}

/// Cancels a task.
pub fn cancel(context: &Context, id: &TaskId) -> Result<TaskState, RunError> {
    let asked = context.task(id)?.stop;
    let reason = context.without_secrets(Reason::new(ReasonKind::Cancelled, cancelled(asked.as_deref())))?;
    end(context, id, (TaskEvent::Cancel, json!({})), reason)
}

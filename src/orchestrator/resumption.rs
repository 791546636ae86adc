//! A successor goes on with what a dead supervisor left: each task from where the journal says that it was.
//!
//! A workspace that was being made is made anew, an attempt whose shim lives is followed to its end, one that has ended is
//! judged by its record, and a result that was being taken is taken again, which gives the same commit. No attempt is
//! started twice: it was consumed before it began.

use std::sync::Arc;

use serde_json::json;

use super::agents::ears::TaskEars;
use super::agents::{equip, judge};
use super::attempt::{self, Adopted, Orphan};
use super::context::{Context, RunError, blocking};
use super::failure::{after_failure, is_unanswered};
use super::mail;
use super::refusal::fail;
use super::sockets;
use super::worker::{self, conclude};
use crate::model::agent::Budget;
use crate::model::record::{AttemptRecord, TaskRecord};
use crate::model::{TaskEvent, TaskId, TaskState};

/// Goes on with a task that was being worked on, until it comes to rest.
pub async fn resume(context: Arc<Context>, id: TaskId) -> Result<TaskState, RunError> {
    let task = context.task(&id)?;
    match (task.state, task.attempts.last()) {
        (TaskState::Leased, _) => {
            let released =
                context.store(|store| store.move_task(&context.run.id, &id, TaskEvent::Release, json!({}), |_| {}))?;
            Ok(released.state)
        }
        (TaskState::Running | TaskState::Waiting, Some(attempt)) => match (attempt.ended_at, &attempt.error) {
            (Some(_), Some(_)) if !is_unanswered(&task) => {
                mail::unpark(&context, &id, "its command ended")?;
                after_failure(&context, &id)
            }
            (ended, _) => go_on(&context, &task, attempt, ended.is_some()).await,
        },
        (TaskState::Running | TaskState::Waiting | TaskState::Captured, _) => {
            let error = RunError::Usage { message: "the journal does not say how far it was".into() };
            fail(&context, &id, "it cannot be gone on with", error)
        }
        (state, _) => Ok(state),
    }
}

async fn go_on(
    context: &Arc<Context>,
    task: &TaskRecord,
    attempt: &AttemptRecord,
    has_ended: bool,
) -> Result<TaskState, RunError> {
    let id = &task.id;
    let prepared = {
        let (context, id) = (Arc::clone(context), id.clone());
        blocking(move || worker::prepared_before(&context, &id)).await?
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(context, id, "the workspace cannot be found again", error),
    };
    if has_ended {
        mail::unpark(context, id, "its command ended")?;
        return worker::take(context, id, prepared).await;
    }
    let orphan = Orphan {
        socket: sockets::door(&attempt.token)?,
        epoch: context.epoch,
        shim: attempt.process.clone(),
        token: attempt.token.clone(),
        record: context.log_plan(&attempt.log).record,
        log: attempt.log.clone(),
        starter: attempt.starter.clone(),
    };
    let ears = TaskEars::new(context, (id, task.attempts.len()), budget(context, task));
    let timeout = attempt.agent.as_ref().and_then(|agent| equip::deadline_of(&context.run, task, agent));
    let adopted = attempt::adopt(orphan, context.stop_of(id), &ears);
    let adopted = ears.timed(adopted, (attempt.started_at, timeout));
    let ended = match mail::attended(context, id, prepared.paths.home.clone(), adopted).await {
        Ok(Adopted::NeverBegan) => {
            judge::take_back(context, task)?;
            return release(context, id, attempt.n);
        }
        Ok(Adopted::Ended(end)) => Ok(end),
        Err(error) => Err(error),
    };
    conclude(context, id, prepared, ended).await
}

/// What the agent of a task's last attempt may use up.
fn budget(context: &Context, task: &TaskRecord) -> Budget {
    let agent = task.attempts.last().and_then(|attempt| attempt.agent.as_ref());
    agent.and_then(|agent| equip::budget_of(&context.run, task, agent)).unwrap_or_default()
}

/// Puts a task back whose attempt never began: it is as if it had not been recorded.
fn release(context: &Context, id: &TaskId, attempt: u32) -> Result<TaskState, RunError> {
    let data = json!({"attempt": attempt, "why": "it never began"});
    let change = |task: &mut TaskRecord| task.attempts.retain(|recorded| recorded.n != attempt);
    Ok(context.store(|store| store.move_task(&context.run.id, id, TaskEvent::Release, data, change))?.state)
}

//! What a person asks of a run, written down: that it pauses, that a task stops, that tasks are done again.
//!
//! It is recorded before it is done, so that a successor of the supervisor knows it, too; where nobody supervises the run,
//! the client writes, with the run's lock in hand.

use serde_json::json;

use super::agents::find;
use crate::confine::environment;
use crate::model::mail::{Message, MessageKind};
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{RunId, TaskEvent, TaskId, TaskState};
use crate::store::{Store, StoreError};
use crate::sys::clock;

/// Records that a run is to stop.
pub fn note_cancel(store: &Store, run: &RunId) -> Result<(), StoreError> {
    store.update_run(run, "run.cancel", json!({}), |run| run.cancel_requested = true).map(drop)
}

/// Records that a run starts and lands nothing new, or that it goes on.
pub fn set_paused(store: &Store, run: &RunId, paused: bool) -> Result<(), StoreError> {
    let kind = if paused { "run.pause" } else { "run.unpause" };
    store.update_run(run, kind, json!({}), |run| run.paused = paused).map(drop)
}

/// Records that a task is to stop, with these words.
pub fn note_stop(store: &Store, run: &RunId, task: &TaskId, words: &str) -> Result<(), StoreError> {
    let (data, words) = (json!({"words": words}), words.to_owned());
    store.edit_task(run, task, "task.stop", data, |task| task.stop = Some(words)).map(drop)
}

/// Why a task does not hear what is said to it.
pub fn deaf(task: &TaskRecord, kind: MessageKind) -> Option<String> {
    let hears = match kind {
        MessageKind::Answer => task.state == TaskState::Waiting,
        MessageKind::Steer | MessageKind::Error => matches!(task.state, TaskState::Running | TaskState::Waiting),
    };
    let wants = if kind == MessageKind::Answer { "asks nothing" } else { "does not run" };
    (!hears).then(|| format!("{wants}: it is {}", task.state.word()))
}

/// What keeps these tasks from taking an event: who asked saw them as they were a moment ago.
pub fn hinders(store: &Store, run: &RunId, tasks: &[TaskId], event: TaskEvent) -> Result<Option<String>, StoreError> {
    let known = store.tasks(run)?;
    Ok(tasks.iter().find_map(|id| match known.iter().find(|task| task.id == *id) {
        None => Some(format!("run {run} has no task `{id}`")),
        Some(task) if task.state.next(event).is_ok() => None,
        Some(task) => Some(format!("{run}/{id} is {} by now", task.state.word())),
    }))
}

/// Records what is said to a task.
pub fn say(store: &Store, run: &RunId, task: &TaskId, said: (MessageKind, &str)) -> Result<(), StoreError> {
    let message = message(said);
    let data = json!({"message": message});
    store.edit_task(run, task, "task.message", data, |task| task.mail.push(message)).map(drop)
}

/// Records the answer to a task's question.
pub fn answer(store: &Store, run: &RunId, task: &TaskId, text: &str) -> Result<(), StoreError> {
    let message = message((MessageKind::Answer, text));
    let data = json!({"message": message});
    store.move_task(run, task, TaskEvent::Answer, data, |task| task.mail.push(message)).map(drop)
}

fn message((kind, text): (MessageKind, &str)) -> Message {
    Message { kind, text: text.to_owned(), at: clock::now() }
}

/// Puts tasks back into the queue. What their attempts came to does not count any more.
pub fn queue_again(store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskRecord>, StoreError> {
    let again = |task: &mut TaskRecord| {
        task.pardoned = u32::try_from(task.attempts.len()).unwrap_or(u32::MAX);
        (task.reason, task.stop, task.base, task.commit, task.changes) = (None, None, None, None, None);
        (task.delivered, task.question, task.unanswered, task.delay) = (0, None, false, None);
        task.mail.clear();
        task.tampered.clear();
        (task.accepted, task.told, task.forward) = (false, None, None);
        (task.resolving, task.resolutions) = (None, 0);
    };
    let one = |id: &TaskId| store.move_task(run, id, TaskEvent::Retry, json!({}), again);
    tasks.iter().map(one).collect()
}

/// Has results land that wait for a person, or did not land.
pub fn accept(store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskRecord>, StoreError> {
    let wanted = |task: &mut TaskRecord| (task.accepted, task.reason, task.stop) = (true, None, None);
    let one = |id: &TaskId| store.move_task(run, id, TaskEvent::Merge, json!({}), wanted);
    tasks.iter().map(one).collect()
}

/// Has results of a run that is over land.
pub fn reopen_to_land(store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<(), StoreError> {
    store.update_run(run, "run.merge", json!({"tasks": tasks}), RunRecord::begin_again)?;
    accept(store, run, tasks).map(drop)
}

/// Puts tasks of a run that is over back into the queue, and the run with them. The run comes first: a run whose tasks are all
/// over ends again by itself, one that is over with a task in the queue would wait for ever.
pub fn reopen(store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<(), StoreError> {
    // A person begins anew, perhaps with the program on PATH that was missing.
    let agents = find::again(&store.run(run)?.agents);
    store.update_run(run, "run.retry", json!({"tasks": tasks}), |run| {
        (run.environment, run.agents) = (environment::here(), agents);
        run.begin_again();
    })?;
    queue_again(store, run, tasks).map(drop)
}

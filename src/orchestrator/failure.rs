//! An attempt that ended, on record: how, and what follows where it failed: a rest and another attempt, or the end of its task.
//!
//! What follows is decided by `backoff`, from what is on record, so that a successor comes to the same end.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::attempt::AttemptEnd;
use super::backoff::{self, Failed};
use super::context::{Context, RunError};
use super::gates;
use super::refusal::{self, cancel};
use crate::confine::shim::Stopped;
use crate::model::agent::AgentFailure;
use crate::model::cause::chain;
use crate::model::record::{AttemptError, TaskRecord};
use crate::model::{Delay, FailureClass, Reason, ReasonKind, Span, TaskEvent, TaskId, TaskState};
use crate::sys::{clock, random};
use crate::worktree::WorktreeError;

/// What went wrong in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The kind that its record has.
    pub kind: &'static str,
    /// In words.
    pub message: String,
    /// Its class, where that is known without looking at what was said last.
    pub class: Option<FailureClass>,
}

impl Wrong {
    /// Something of this kind.
    pub fn new(kind: &'static str, message: String) -> Wrong {
        Wrong { kind, message, class: None }
    }
}

impl From<AgentFailure> for Wrong {
    fn from(AgentFailure { kind, message, class }: AgentFailure) -> Wrong {
        Wrong { kind, message, class: Some(class) }
    }
}

/// What kind of failure an end is; `None` for one that is none.
pub fn failure(end: &AttemptEnd) -> Option<Wrong> {
    let kind = match end.stopped {
        Some(Stopped::Asked) => CANCELLED,
        Some(Stopped::Timeout) => TIMEOUT,
        Some(Stopped::Idle) => IDLE,
        Some(Stopped::NoStart) => NO_START,
        Some(Stopped::Crashed) => "crashed",
        Some(Stopped::Orphaned) => "orphaned",
        Some(Stopped::Limit(_)) => "limit",
        Some(Stopped::Budget(_)) => BUDGET,
        None if end.exit == Some(0) => return None,
        None if end.signal.is_some() => "signal",
        None => "exit",
    };
    let class = (kind == BUDGET).then_some(FailureClass::Policy);
    Some(Wrong { class, ..Wrong::new(kind, gates::describe(end)) })
}

/// What is wrong with an attempt that did not get as far as an end.
pub fn without_end(error: RunError) -> Wrong {
    let class = match &error {
        RunError::Setup { .. } => return Wrong::new(SETUP, chain(&error)),
        RunError::Missing { .. } => Some(FailureClass::Missing),
        RunError::UsedUp { .. } | RunError::Profile { .. } | RunError::Instructions(_) => Some(FailureClass::Policy),
        _ => None,
    };
    let kind = match error {
        RunError::Missing { .. } => "missing",
        RunError::UsedUp { .. } => BUDGET,
        _ => SPAWN,
    };
    Wrong { class, ..Wrong::new(kind, chain(&error)) }
}

/// An attempt that ended well was none: its agent changed nothing, or said nothing.
pub fn judged(context: &Context, id: &TaskId, failed: AgentFailure) -> Result<TaskState, RunError> {
    let error = describe(context, id, None, failed.into())?;
    let data = json!({"error": error});
    context.store(|store| {
        store.edit_task(&context.run.id, id, "attempt.judged", data, |task| {
            if let Some(attempt) = task.attempts.last_mut() {
                attempt.error = Some(error);
            }
        })
    })?;
    after_failure(context, id)
}

/// Kinds of failure that something else follows than of a command that failed.
const CANCELLED: &str = "cancelled";
const TIMEOUT: &str = "timeout";
const IDLE: &str = "idle";
const NO_START: &str = "no_start";
/// A setup step failed, and the command never started.
const SETUP: &str = "setup";
/// The command could not be started.
const SPAWN: &str = "spawn";
/// It used up its budget, or that of its run was before it began.
const BUDGET: &str = "budget";

/// Goes on after an attempt whose failure is on record.
pub fn after_failure(context: &Context, id: &TaskId) -> Result<TaskState, RunError> {
    let task = context.task(id)?;
    let Some(error) = task.attempts.last().and_then(|attempt| attempt.error.as_ref()) else {
        return retry_or_fail(context, id, ReasonKind::Failed, "its attempt is not on record".into());
    };
    match error.kind.as_str() {
        CANCELLED => cancel(context, id),
        TIMEOUT | IDLE | NO_START => {
            retry_or_fail(context, id, ReasonKind::Timeout, format!("{} {}", who(&task), error.message))
        }
        SETUP | SPAWN | "missing" => retry_or_fail(context, id, ReasonKind::Failed, error.message.clone()),
        _ => retry_or_fail(context, id, ReasonKind::Failed, format!("{} {}", who(&task), error.message)),
    }
}

/// Who worked in the last attempt, in words.
fn who(task: &TaskRecord) -> &str {
    let agent = task.attempts.last().and_then(|attempt| attempt.agent.as_ref());
    agent.map_or("the command", |agent| &agent.profile)
}

/// True for a task whose command was ended because nobody answered its question in time: that is no failure of its own.
pub fn is_unanswered(task: &TaskRecord) -> bool {
    let error = task.attempts.last().and_then(|attempt| attempt.error.as_ref());
    task.unanswered && error.is_some_and(|error| error.kind == CANCELLED)
}

/// Writes down how an attempt ended, and of what class its failure is.
pub fn close_attempt(
    context: &Context,
    id: &TaskId,
    end: Option<&AttemptEnd>,
    wrong: Option<Wrong>,
) -> Result<(), RunError> {
    let error = wrong.map(|wrong| describe(context, id, end, wrong)).transpose()?;
    let report = end.and_then(|end| end.agent.as_deref());
    let left_behind = end.map_or(0, |end| end.left_behind);
    let network = end.map(|end| &end.network[..]).unwrap_or_default();
    let data = json!({"exit": end.and_then(|e| e.exit), "signal": end.and_then(|e| e.signal),
        "left_behind": left_behind, "network": network, "usage": report.map(|report| report.usage), "error": error});
    context.store(|store| {
        store.edit_task(&context.run.id, id, "attempt.ended", data, |task| {
            if let Some(attempt) = task.attempts.last_mut() {
                attempt.ended_at = Some(clock::now());
                attempt.exit = end.and_then(|end| end.exit);
                attempt.signal = end.and_then(|end| end.signal);
                attempt.error = error;
                if let (Some(agent), Some(report)) = (&mut attempt.agent, report) {
                    agent.report = report.clone();
                }
            }
        })
    })?;
    Ok(())
}

/// A failure as it is kept, without secrets.
fn describe(context: &Context, id: &TaskId, end: Option<&AttemptEnd>, wrong: Wrong) -> Result<AttemptError, RunError> {
    let Wrong { kind, message, class } = wrong;
    let message = context.masked(&message)?;
    let task = context.task(id)?;
    let said = task.attempts.last().map(|attempt| last_words(attempt.telling_log())).unwrap_or_default();
    let (exit, at) = (end.and_then(|end| end.exit), clock::now());
    let (guessed, asked) = backoff::classify(Failed { kind, exit, said: &said, at });
    let asked = match class {
        Some(FailureClass::RateLimit) => backoff::asked(&said, at),
        Some(_) => None,
        None => asked,
    };
    let class = Some(class.unwrap_or(guessed));
    Ok(AttemptError { kind: kind.to_owned(), message, class, retry_after: asked.map(Span) })
}

/// How much of what a command said last may tell why it failed.
const LAST_WORDS: u64 = 8 << 10;

/// What a command said last; nothing where there is no log: it only makes a rest longer.
fn last_words(log: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(log = %log.display(), %error, "what it said last is not known");
            String::new()
        }
    }
}

/// The message is from what is on record: it has no secrets.
fn retry_or_fail(context: &Context, id: &TaskId, kind: ReasonKind, message: String) -> Result<TaskState, RunError> {
    let task = context.task(id)?;
    let delay = next_attempt(context, &task)?.filter(|_| !context.has_to_stop(id));
    if let (None, Some(resolving)) = (&delay, &task.resolving) {
        let log = task.attempts.last().map(|attempt| attempt.telling_log().to_string_lossy().into_owned());
        return refusal::reject(context, id, Reason { log, ..resolving.in_vain(&message) });
    }
    let (event, reason) = match &delay {
        Some(_) => (TaskEvent::TryAgain, None),
        None => {
            let log = task.attempts.last().map(|attempt| attempt.telling_log().to_string_lossy().into_owned());
            (TaskEvent::Fail, Some(Reason { log, ..Reason::new(kind, message.clone()) }))
        }
    };
    let data = json!({"why": message, "delay": delay});
    let task = context.store(|store| {
        store.move_task(&context.run.id, id, event, data, |task| {
            task.reason = reason;
            task.delay = delay.flatten();
        })
    })?;
    Ok(task.state)
}

/// Whether there is to be another attempt, and the rest before it, if there is one.
fn next_attempt(context: &Context, task: &TaskRecord) -> Result<Option<Option<Delay>>, RunError> {
    let policy = &context.run.retry;
    if !task.may_try_again(policy) {
        return Ok(None);
    }
    let error = task.attempts.last().and_then(|attempt| attempt.error.as_ref());
    let class = error.and_then(|error| error.class).unwrap_or(FailureClass::Failure);
    if task.is_handed_over() {
        // The next agent has nothing to rest from.
        return Ok(Some(None));
    }
    let asked = error.and_then(|error| error.retry_after).map(|asked| asked.0);
    let jitter = f64::from(random::bits().map_err(WorktreeError::Random)?) / f64::from(u16::MAX);
    let Some(rest) = backoff::rest((class, asked), task.attempts_used(), policy, jitter) else { return Ok(None) };
    let now = clock::now();
    let why = format!("rests before attempt {}: {}", task.attempts.len() + 1, class.words());
    Ok(Some((rest > Duration::ZERO).then_some(Delay { why, since: now, until: Some(now.plus(rest)) })))
}

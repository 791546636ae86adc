//! How the attempts of runs are: kept as their shims tell it, and asked of them by whoever looks.
//!
//! Looking changes nothing and waits for nobody long: all shims are asked at once, and one that does not answer is told from the
//! record. What attempts take is read from the process table, once for all of them.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::client;
use super::context::{Context, end_record};
use super::error::RunError;
use super::sockets;
use crate::confine::shim::{Question, Report, receive_frame, send_frame};
use crate::model::health::{self, Health, HealthLevel, HealthRecord, Holder, Seen, Used, Work};
use crate::model::record::{AttemptRecord, ConfineLevel, RunRecord, TaskRecord};
use crate::model::{ProcId, TaskId, Token};
use crate::sys::socket::Address;
use crate::sys::{clock, fs, proc};

/// How long shims may take to answer, all together.
const PATIENCE: Duration = Duration::from_millis(200);

/// Most bytes of an answer.
const ANSWER_MAX: u32 = 4096;

/// Writes down how an attempt is. One change is written down once, whoever hears of it again; a store that does not take it
/// holds up no attempt.
pub fn note(context: &Context, id: &TaskId, told: &Health) {
    let record = HealthRecord::of(told, clock::now());
    let written = context.task(id).and_then(|task| {
        let Some(attempt) = task.attempts.last().filter(|attempt| !is_known(attempt, &record)) else { return Ok(()) };
        let used = told.used;
        let data = json!({
            "attempt": attempt.n, "level": record.level, "silent_ms": told.silent_ms, "last_output_at": record.last_output_at,
            "last_tool": record.last_tool,
            "cpu_ms": used.map(|used| used.cpu_ms), "memory_bytes": used.map(|used| used.memory_bytes),
            "processes": used.map(|used| used.processes),
        });
        let keep = |task: &mut TaskRecord| task.attempts.last_mut().map_or((), |last| last.health = Some(record));
        context.store(|store| store.edit_task(&context.run.id, id, "attempt.health", data, keep)).map(drop)
    });
    if let Err(error) = written {
        tracing::warn!(task = %id, %error, "how an attempt is could not be written down");
    }
}

fn is_known(attempt: &AttemptRecord, record: &HealthRecord) -> bool {
    attempt.health.as_ref().is_some_and(|known| known.is_same_change(record))
}

/// How attempts are, by their marks.
#[derive(Debug, Default)]
pub struct Looked(HashMap<Token, Seen>);

impl Looked {
    /// How an attempt is; `None` for one that has ended or has not begun.
    pub fn of(&self, attempt: &AttemptRecord) -> Option<&Seen> {
        self.0.get(&attempt.token)
    }

    /// How the attempt of a task is that is under way, if one is.
    pub fn of_task(&self, task: &TaskRecord) -> Option<&Seen> {
        self.of(task.attempts.last()?)
    }
}

/// An attempt that is under way.
struct Open<'a> {
    attempt: &'a AttemptRecord,
    holder: Holder,
    /// There is a process in its sandbox that is ours.
    sandboxed: bool,
}

/// How the attempts of these tasks are, as is on record.
pub fn on_record(run: &RunRecord, tasks: &[TaskRecord]) -> Looked {
    let now = clock::now();
    let seen = |open: &Open<'_>| health::seen(open.holder, open.attempt.health.as_ref(), None, None, now);
    let found = open_ones(run, tasks);
    Looked(found.iter().filter_map(|open| Some((open.attempt.token.clone(), seen(open)?))).collect())
}

/// How the attempts of these runs are now.
pub fn look(runs: &[(RunRecord, Vec<TaskRecord>)]) -> Result<Looked, RunError> {
    let found: Vec<Open<'_>> = runs.iter().flat_map(|(run, tasks)| open_ones(run, tasks)).collect();
    let living = || found.iter().filter(|open| open.holder == Holder::Living);
    if found.is_empty() {
        return Ok(Looked::default());
    }
    let answers = ask_all(living().map(|open| &open.attempt.token))?;
    // What cannot be read is told from the record.
    let table = living().next().and_then(|_| proc::Table::scan().ok());
    let now = clock::now();
    let seen = |open: &Open<'_>| {
        let used = table.as_ref().zip(open.attempt.process.as_ref()).filter(|_| open.holder == Holder::Living);
        let used = used.map(|(table, shim)| in_sandbox(table.work_below(shim.pid), open.sandboxed));
        let answer = answers.get(&open.attempt.token);
        health::seen(open.holder, open.attempt.health.as_ref(), answer, used, now)
    };
    Ok(Looked(found.iter().filter_map(|open| Some((open.attempt.token.clone(), seen(open)?))).collect()))
}

fn in_sandbox(work: Work, sandboxed: bool) -> Used {
    Work { processes: work.processes.saturating_sub(usize::from(sandboxed)), ..work }.into()
}

fn open_ones<'a>(run: &'a RunRecord, tasks: &'a [TaskRecord]) -> Vec<Open<'a>> {
    if run.state.is_terminal() {
        return Vec::new();
    }
    let sandboxed = run.confine == ConfineLevel::Strict;
    let under_way = tasks.iter().filter(|task| !task.state.is_terminal()).filter_map(|task| task.attempts.last());
    let under_way = under_way.filter(|attempt| attempt.ended_at.is_none());
    under_way.map(|attempt| Open { attempt, holder: holder(attempt), sandboxed }).collect()
}

/// What became of whoever holds an attempt.
fn holder(attempt: &AttemptRecord) -> Holder {
    let step = attempt.setup.last().filter(|step| step.ended_at.is_none());
    let log = step.map_or(&attempt.log, |step| &step.log);
    match &attempt.process {
        None => Holder::Absent,
        Some(shim) if is_dead(shim) => {
            if has_ended(log) {
                Holder::Absent
            } else {
                Holder::Dead
            }
        }
        // A setup step has a deadline of its own, and is not watched otherwise.
        Some(_) if step.is_some() => Holder::Absent,
        Some(_) => Holder::Living,
    }
}

fn is_dead(shim: &ProcId) -> bool {
    proc::is_known_dead(Some(shim))
}

/// True when its end is written down, or nobody can say.
fn has_ended(log: &Path) -> bool {
    fs::exists(&end_record(log)).unwrap_or(true)
}

/// Asks the shims of these attempts how their children are.
fn ask_all<'a>(attempts: impl Iterator<Item = &'a Token>) -> Result<HashMap<Token, Health>, RunError> {
    let attempts: Vec<Token> = attempts.cloned().collect();
    let mut answers = HashMap::new();
    client::runtime()?.block_on(async {
        let (deadline, mut asked) = (Instant::now() + PATIENCE, JoinSet::new());
        for token in attempts {
            asked.spawn(async move {
                let health = ask(&token).await;
                (token, health)
            });
        }
        while let Ok(Some(answered)) = timeout_at(deadline, asked.join_next()).await {
            let (token, health) = answered.map_err(RunError::panicked)?;
            if let Some(health) = health {
                answers.insert(token, health);
            }
        }
        Ok(answers)
    })
}

/// Asks one; `None` when nobody is in, or speaks otherwise.
async fn ask(token: &Token) -> Option<Health> {
    let door = sockets::door(token).ok()?;
    let address = Address::of(&door).ok()?;
    let mut line = UnixStream::connect(address.path()).await.ok()?;
    send_frame(&mut line, &Question::health()).await.ok()?;
    match receive_frame(&mut line, ANSWER_MAX).await? {
        Report::Health(health) if health.level != HealthLevel::Dead => Some(health),
        _ => None,
    }
}

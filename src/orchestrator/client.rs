//! A client of a run: starts its supervisor or a successor of it, and has things done. Dies without harm at any moment.
//! Reads the store; what it writes is what a person asks for, where nobody else is there to.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::asking;
use super::context::RunError;
use super::control::{self, Command};
use super::{ending, room, scoped};
use crate::confine::environment;
use crate::model::record::RunRecord;
use crate::model::{RunId, TaskEvent, TaskId};
use crate::store::{Store, StoreError};
use crate::sys::lock::{FileLock, LockError};
use crate::worktree::Repository;

/// Starts the supervisor of a recorded run and waits until it is ready. Wherever it is started from, it has the surroundings
/// of who asked for the run.
pub fn start_supervisor(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    let variables = environment::changes_to(&store.run(run)?.environment);
    match scoped::start(&repo.common_dir, run, &variables, &log_path(repo, run))? {
        true => Ok(()),
        false => Err(RunError::SupervisorDead { run: run.to_string(), detail: last_words(repo, run) }),
    }
}

fn log_path(repo: &Repository, run: &RunId) -> PathBuf {
    repo.state_dir().join("logs").join(run.as_str()).join("supervisor.log")
}

/// The last thing that a supervisor wrote, as the end of a sentence about its death.
pub(super) fn last_words(repo: &Repository, run: &RunId) -> String {
    let text = std::fs::read_to_string(log_path(repo, run)).unwrap_or_default();
    text.lines().last().map_or(", and left no word".to_owned(), |line| format!(": {line}"))
}

/// Whether somebody supervises a run.
pub fn is_supervised(repo: &Repository, run: &RunId) -> Result<bool, RunError> {
    Ok(FileLock::is_held(&repo.run_lock(run))?)
}

/// What a supervisor says that waits for room on the disk.
pub fn waits_for_room(repo: &Repository, run: &RunId) -> Option<String> {
    let signature = FileLock::signature(&repo.run_lock(run))?;
    signature.starts_with(room::WAITS).then(|| room::WAITS.to_owned())
}

/// How long a supervisor that has closed its socket may take to end, and one that begins to open it.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// How long until one that holds the lock is knocked at again.
const LOOK: Duration = Duration::from_millis(50);

/// How often a successor may die without having done anything, before it is given up.
pub(super) const SUCCESSORS: u32 = 3;

/// Makes sure that somebody supervises a run that is not over: where its supervisor died, a successor goes on with it.
pub fn ensure_supervised(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    if is_over(store, run)? || is_supervised(repo, run)? {
        return Ok(());
    }
    match start_supervisor(repo, store, run) {
        // Another client was faster, and its successor has the lock.
        Err(_) if is_over(store, run)? || is_supervised(repo, run)? => Ok(()),
        started => started,
    }
}

/// A runtime for one who only waits.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(RunError::io("cannot start the runtime"))
}

pub(super) fn is_over(store: &Store, run: &RunId) -> Result<bool, RunError> {
    Ok(store.run(run)?.state.is_terminal())
}

/// Has something done with a run that is not over, by its supervisor or by a successor. `note` writes down what is asked for
/// where nobody supervises the run, so that the successor begins with it.
pub fn command(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    command: &Command,
    note: impl Fn(&Store) -> Result<(), StoreError>,
) -> Result<(), RunError> {
    for _ in 0..SUCCESSORS {
        let noted = match heard(repo, store, run, command)? {
            Heard::Answered(done) => return done.map_err(|message| RunError::Refused { message }),
            Heard::Over => return Err(RunError::Refused { message: format!("run {run} is over already") }),
            Heard::Nobody(_right) if is_over(store, run)? => false,
            Heard::Nobody(_right) => note(store).map(|()| true)?,
        };
        ensure_supervised(repo, store, run)?;
        if noted && matches!(command, Command::Say { .. }) {
            // The successor found it on record; to say it once more would be another message.
            return Ok(());
        }
    }
    Err(RunError::SupervisorSilent { run: run.to_string() })
}

/// Who heard a command.
enum Heard {
    /// The supervisor, with its answer.
    Answered(Result<(), String>),
    /// Nobody: the run is over.
    Over,
    /// Nobody, and as long as this is held nobody will.
    Nobody(FileLock),
}

/// Tells the supervisor. One that holds the lock and has no socket ends, or has only just begun.
fn heard(repo: &Repository, store: &Store, run: &RunId, command: &Command) -> Result<Heard, RunError> {
    let (runtime, deadline) = (runtime()?, Instant::now() + LAST_MOMENTS);
    loop {
        if let Some(done) = runtime.block_on(control::command(run, command.clone()))? {
            return Ok(Heard::Answered(done));
        }
        if is_over(store, run)? {
            return Ok(Heard::Over);
        }
        match FileLock::acquire_within(&repo.run_lock(run), "noting what was asked for", LOOK) {
            Ok(right) => return Ok(Heard::Nobody(right)),
            Err(LockError::Held { .. }) if Instant::now() < deadline => {}
            Err(LockError::Held { .. }) => return Err(RunError::SupervisorSilent { run: run.to_string() }),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Cancels a run for which no successor starts: what is left of it is ended here.
pub fn end_here(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    let holder = format!("pid {}, cancelling", std::process::id());
    let _right = FileLock::acquire_within(&repo.run_lock(run), &holder, LAST_MOMENTS)?;
    if is_over(store, run)? { Ok(()) } else { ending::end(repo, store, run) }
}

/// Settles anew how results of a run that is over land: on which branch, in which way, judged by what.
pub fn change_terms(repo: &Repository, store: &Store, wanted: &RunRecord) -> Result<RunRecord, RunError> {
    let run = &wanted.id;
    let _right = right_to_reopen(repo, store, run, (&[], TaskEvent::Merge))?;
    let data = serde_json::json!({"into": wanted.into, "strategy": wanted.strategy, "gates": wanted.spec.gates,
        "push": wanted.push});
    let change = |run: &mut RunRecord| {
        (run.into, run.strategy, run.confine) = (wanted.into.clone(), wanted.strategy, wanted.confine);
        run.spec.gates.clone_from(&wanted.spec.gates);
        run.push.clone_from(&wanted.push);
    };
    Ok(store.update_run(run, "run.terms", data, change)?)
}

/// Has results of a run that is over land, by a supervisor that is to be started.
pub fn reopen_to_land(repo: &Repository, store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<(), RunError> {
    let _right = right_to_reopen(repo, store, run, (tasks, TaskEvent::Merge))?;
    Ok(asking::reopen_to_land(store, run, tasks)?)
}

/// Puts tasks of a run that is over back into the queue. Whoever holds the lock supervises: with it in hand nobody else acts.
pub fn reopen(repo: &Repository, store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<(), RunError> {
    let _right = right_to_reopen(repo, store, run, (tasks, TaskEvent::Retry))?;
    Ok(asking::reopen(store, run, tasks)?)
}

/// The right to begin a run again that is over; refused where somebody else was faster, so that nothing is half begun.
fn right_to_reopen(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    (tasks, event): (&[TaskId], TaskEvent),
) -> Result<FileLock, RunError> {
    let begun = || RunError::Refused { message: format!("run {run} has begun again meanwhile") };
    let holder = format!("pid {}, beginning it again", std::process::id());
    let right = match FileLock::acquire_within(&repo.run_lock(run), &holder, LAST_MOMENTS) {
        Err(_) if !is_over(store, run)? => return Err(begun()),
        right => right?,
    };
    if !is_over(store, run)? {
        return Err(begun());
    }
    match asking::hinders(store, run, tasks, event)? {
        Some(message) => Err(RunError::Refused { message }),
        None => Ok(right),
    }
}

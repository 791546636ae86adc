//! A client of a run: starts its supervisor, follows it, cancels it. Dies without harm at any moment.
//! Reads the store and wakes on the socket; decides nothing about the run but to cancel it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use super::context::RunError;
use super::control::{self, Ask};
use super::recover;
use super::scoped;
use super::supervisor::lock_path;
use crate::model::record::RunRecord;
use crate::model::{Reason, ReasonKind, RunId, RunState, TaskEvent};
use crate::store::Store;
use crate::sys::lock::FileLock;
use crate::sys::proc;
use crate::worktree::Repository;

/// Starts the supervisor of a recorded run and waits until it is ready.
pub fn start_supervisor(repo: &Repository, run: &RunId) -> Result<(), RunError> {
    match scoped::start(&repo.common_dir, run, &log_path(repo, run))? {
        true => Ok(()),
        false => Err(RunError::SupervisorDead { run: run.to_string(), detail: last_words(repo, run) }),
    }
}

fn log_path(repo: &Repository, run: &RunId) -> PathBuf {
    repo.state_dir().join("logs").join(run.as_str()).join("supervisor.log")
}

/// The last thing that a supervisor wrote, as the end of a sentence about its death.
fn last_words(repo: &Repository, run: &RunId) -> String {
    let text = std::fs::read_to_string(log_path(repo, run)).unwrap_or_default();
    text.lines().last().map_or(", and left no word".to_owned(), |line| format!(": {line}"))
}

/// Whether somebody supervises a run.
pub fn is_supervised(repo: &Repository, run: &RunId) -> Result<bool, RunError> {
    Ok(FileLock::is_held(&lock_path(repo, run))?)
}

/// How following a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a run that is not over must not be reported as if it were"]
pub enum Followed {
    /// It is over.
    Over,
    /// The time ran out first.
    TimedOut,
    /// A person interrupted, and the run was cancelled; the code is that of the signal.
    Interrupted(u8),
}

/// How long a supervisor that has closed its socket may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// What an interrupt means while one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Cancel the run and wait for its end.
    Cancel,
    /// Stop looking; the run goes on.
    Leave,
}

/// Follows a run to its end. `news` is called at every change, and once at the end.
pub fn follow(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    limit: Option<Duration>,
    on_interrupt: OnInterrupt,
    mut news: impl FnMut(&Store) -> Result<(), RunError>,
) -> Result<Followed, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("cannot start the runtime"))?;
    let ended = runtime.block_on(follow_stream(run, limit, on_interrupt, || news(store)))?;
    news(store)?;
    match ended {
        Stream::TimedOut => Ok(Followed::TimedOut),
        Stream::Interrupted(code) => Ok(Followed::Interrupted(code)),
        Stream::Closed if is_over(store, run)? => Ok(Followed::Over),
        Stream::Closed => {
            // It may be about to end: with its lock in hand it is known what it came to.
            let gone = FileLock::acquire_within(&lock_path(repo, run), "looking", LAST_MOMENTS);
            match is_over(store, run)? {
                true => Ok(Followed::Over),
                false if gone.is_ok() => {
                    Err(RunError::SupervisorDead { run: run.to_string(), detail: last_words(repo, run) })
                }
                false => Err(RunError::SupervisorSilent { run: run.to_string() }),
            }
        }
    }
}

fn is_over(store: &Store, run: &RunId) -> Result<bool, RunError> {
    Ok(store.run(run)?.state.is_terminal())
}

enum Stream {
    Closed,
    TimedOut,
    Interrupted(u8),
}

async fn follow_stream(
    run: &RunId,
    limit: Option<Duration>,
    on_interrupt: OnInterrupt,
    mut news: impl FnMut() -> Result<(), RunError>,
) -> Result<Stream, RunError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::io("cannot watch signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::io("cannot watch signals"))?;
    let Some(mut stream) = control::connect(run, Ask::Watch).await? else { return Ok(Stream::Closed) };
    let deadline = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let (mut buffer, mut stopped_by) = ([0u8; 4096], None);
    loop {
        let code = tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Ok(stopped_by.map_or(Stream::Closed, Stream::Interrupted)),
                Ok(_) => { news()?; continue }
            },
            () = &mut deadline => return Ok(Stream::TimedOut),
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        if on_interrupt == OnInterrupt::Leave {
            return Ok(Stream::Interrupted(code));
        }
        stopped_by = Some(code);
        ask_to_cancel(run).await?;
    }
}

async fn ask_to_cancel(run: &RunId) -> Result<bool, RunError> {
    let Some(mut stream) = control::connect(run, Ask::Cancel).await? else { return Ok(false) };
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    Ok(read.is_ok() && answer.starts_with(b"{\"ok\":true"))
}

/// How a cancel went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The supervisor was told.
    Asked,
    /// There was no supervisor any more: what was left of the run was ended here.
    Here,
    /// The run was over already.
    WasOver,
}

/// Cancels a run, also one whose supervisor is dead.
pub fn cancel(repo: &Repository, store: &Store, run: &RunId) -> Result<Cancelled, RunError> {
    if is_over(store, run)? {
        return Ok(Cancelled::WasOver);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("cannot start the runtime"))?;
    if runtime.block_on(ask_to_cancel(run))? {
        return Ok(Cancelled::Asked);
    }
    // Whoever holds the lock supervises: with it in hand nobody else acts on this run.
    let _right = FileLock::try_acquire(&lock_path(repo, run), &format!("cancelling, pid {}", std::process::id()))?;
    if is_over(store, run)? {
        return Ok(Cancelled::WasOver);
    }
    // What its supervisor was landing when it died is landed or not: that is settled before the rest is ended.
    recover::recover(repo, store)?;
    end_here(store, &store.run(run)?)?;
    Ok(Cancelled::Here)
}

fn end_here(store: &Store, run: &RunRecord) -> Result<(), RunError> {
    store.update_run(&run.id, "run.cancel", serde_json::json!({"supervisor": "dead"}), |run| {
        run.cancel_requested = true
    })?;
    let mut states = Vec::new();
    for task in store.tasks(&run.id)? {
        for attempt in task.attempts.iter().filter(|attempt| attempt.ended_at.is_none()) {
            proc::kill_marked(&attempt.token).map_err(RunError::io("cannot end an attempt"))?;
        }
        if task.state.is_terminal() {
            states.push(task.state);
            continue;
        }
        let reason = Reason::new(ReasonKind::Cancelled, "the run was cancelled after its supervisor had died");
        let data = serde_json::json!({});
        let ended = store.move_task(&run.id, &task.id, TaskEvent::Cancel, data, |task| task.reason = Some(reason))?;
        states.push(ended.state);
    }
    store.set_run_state(&run.id, RunState::derive(&states, true))?;
    Ok(())
}

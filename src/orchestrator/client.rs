//! A client of a run: starts its supervisor or a successor of it, follows it, has things done. Dies without harm at any moment.
//! Reads the store and wakes on the socket; what it writes is what a person asks for, where nobody else is there to.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use super::asking;
use super::context::RunError;
use super::control::{self, Ask, Command};
use super::ending;
use super::supervisor::lock_path;
use crate::model::{RunId, TaskId};
use crate::store::{Store, StoreError};
use crate::sys::lock::FileLock;
use crate::sys::{env, fs, proc};
use crate::worktree::Repository;

/// Starts the supervisor of a recorded run and waits until it is ready.
pub fn start_supervisor(repo: &Repository, run: &RunId) -> Result<(), RunError> {
    let executable = env::own_executable().map_err(RunError::io("cannot find our own executable"))?;
    let stderr = fs::open_log(&log_path(repo, run))?;
    let args = ["__supervise".as_ref(), repo.common_dir.as_os_str(), run.as_str().as_ref()];
    let known_by = (proc::SUPERVISES, run.as_str());
    let child = proc::spawn_detached(&executable, &args, known_by, stderr);
    let mut child = child.map_err(RunError::io("cannot start the supervisor"))?;
    let mut word = String::new();
    let read = child.take_stdout().map(|pipe| pipe.take(64).read_to_string(&mut word));
    match read {
        Some(Ok(_)) if word.starts_with("ready") => Ok(()),
        _ => Err(RunError::SupervisorDead { run: run.to_string(), detail: last_words(repo, run) }),
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
#[derive(Clone, Copy, Debug)]
pub enum OnInterrupt {
    /// Cancel the run and wait for its end; a second one ends it without grace.
    Cancel,
    /// Ask the person, who is at a terminal; a second one cancels.
    Ask(fn() -> Choice),
    /// Stop looking; the run goes on.
    Leave,
}

/// What a person answers who interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Cancel the run.
    Cancel,
    /// Stop looking; the run goes on.
    Leave,
    /// Look on.
    Stay,
}

/// How often a successor may die without having done anything, before it is given up.
const SUCCESSORS: u32 = 3;

/// Makes sure that somebody supervises a run that is not over: where its supervisor died, a successor goes on with it.
pub fn ensure_supervised(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    if is_over(store, run)? || is_supervised(repo, run)? {
        return Ok(());
    }
    match start_supervisor(repo, run) {
        // Another client was faster, and its successor has the lock.
        Err(_) if is_over(store, run)? || is_supervised(repo, run)? => Ok(()),
        started => started,
    }
}

/// Follows a run to its end; where its supervisor dies meanwhile, a successor is started. `news` is called at every change,
/// and once at the end.
pub fn follow(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    limit: Option<Duration>,
    on_interrupt: OnInterrupt,
    mut news: impl FnMut(&Store) -> Result<(), RunError>,
) -> Result<Followed, RunError> {
    let runtime = runtime()?;
    let deadline = limit.map(|limit| Instant::now() + limit);
    let (mut idle, mut seen) = (0, store.count_entries(run)?);
    loop {
        ensure_supervised(repo, store, run)?;
        let ended = runtime.block_on(follow_stream(run, deadline, on_interrupt, || news(store)))?;
        news(store)?;
        match ended {
            Stream::TimedOut => return Ok(Followed::TimedOut),
            Stream::Interrupted(code) => return Ok(Followed::Interrupted(code)),
            Stream::Closed if is_over(store, run)? => return Ok(Followed::Over),
            Stream::Closed => {}
        }
        // It may be about to end: with its lock in hand it is known what it came to.
        let gone = FileLock::acquire_within(&lock_path(repo, run), "looking", LAST_MOMENTS);
        if is_over(store, run)? {
            news(store)?;
            return Ok(Followed::Over);
        }
        if gone.is_err() {
            return Err(RunError::SupervisorSilent { run: run.to_string() });
        }
        drop(gone);
        let now = store.count_entries(run)?;
        // That it took over is the one thing that every successor writes.
        idle = if now > seen + 1 { 0 } else { idle + 1 };
        seen = now;
        if idle >= SUCCESSORS {
            return Err(RunError::SupervisorDead { run: run.to_string(), detail: last_words(repo, run) });
        }
    }
}

/// Follows a run until something is true of it, or it is over.
pub fn follow_until(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    reached: impl Fn(&Store) -> Result<bool, RunError>,
) -> Result<(), RunError> {
    let runtime = runtime()?;
    while !reached(store)? && !is_over(store, run)? {
        ensure_supervised(repo, store, run)?;
        runtime.block_on(async {
            let Some(mut stream) = control::connect(run, Ask::Watch).await? else { return Ok(()) };
            let mut buffer = [0u8; 4096];
            while !reached(store)? {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            Ok::<_, RunError>(())
        })?;
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(RunError::io("cannot start the runtime"))
}

fn is_over(store: &Store, run: &RunId) -> Result<bool, RunError> {
    Ok(store.run(run)?.state.is_terminal())
}

/// Exit codes of what a signal ended: 128 and its number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

enum Stream {
    Closed,
    TimedOut,
    Interrupted(u8),
}

async fn follow_stream(
    run: &RunId,
    deadline: Option<Instant>,
    on_interrupt: OnInterrupt,
    mut news: impl FnMut() -> Result<(), RunError>,
) -> Result<Stream, RunError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::io("cannot watch signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::io("cannot watch signals"))?;
    let Some(mut stream) = control::connect(run, Ask::Watch).await? else { return Ok(Stream::Closed) };
    let out_of_time = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(out_of_time);
    let (mut buffer, mut stopped_by) = ([0u8; 4096], None);
    let (answers, mut answered) = unbounded_channel();
    let mut asking = false;
    loop {
        let code = tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Ok(stopped_by.map_or(Stream::Closed, Stream::Interrupted)),
                Ok(_) => { news()?; continue }
            },
            () = &mut out_of_time => return Ok(Stream::TimedOut),
            Some(choice) = answered.recv() => {
                asking = false;
                match choice {
                    Choice::Stay => continue,
                    Choice::Leave => return Ok(Stream::Interrupted(INTERRUPTED)),
                    Choice::Cancel => INTERRUPTED,
                }
            }
            _ = interrupt.recv() => match on_interrupt {
                OnInterrupt::Ask(ask) if stopped_by.is_none() && !asking => {
                    asking = true;
                    let answers = answers.clone();
                    // Not one of the runtime's: it may be waiting for a key when this process ends.
                    std::thread::spawn(move || answers.send(ask()));
                    continue
                }
                OnInterrupt::Leave => return Ok(Stream::Interrupted(INTERRUPTED)),
                OnInterrupt::Ask(_) | OnInterrupt::Cancel => INTERRUPTED,
            },
            _ = terminate.recv() => match on_interrupt {
                OnInterrupt::Leave => return Ok(Stream::Interrupted(TERMINATED)),
                OnInterrupt::Ask(_) | OnInterrupt::Cancel => TERMINATED,
            },
        };
        let command = if stopped_by.is_some() { Command::Kill } else { Command::Cancel };
        stopped_by = Some(code);
        control::command(run, command).await?;
    }
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
    let runtime = runtime()?;
    for _ in 0..SUCCESSORS {
        if let Some(done) = runtime.block_on(control::command(run, command.clone()))? {
            return done.map_err(|message| RunError::Refused { message });
        }
        if is_over(store, run)? {
            return Err(RunError::Refused { message: format!("run {run} is over already") });
        }
        match FileLock::acquire_within(&lock_path(repo, run), "noting what was asked for", LAST_MOMENTS) {
            Ok(_right) if is_over(store, run)? => {}
            Ok(_right) => note(store)?,
            Err(_) => return Err(RunError::SupervisorSilent { run: run.to_string() }),
        }
        ensure_supervised(repo, store, run)?;
    }
    Err(RunError::SupervisorSilent { run: run.to_string() })
}

/// Cancels a run for which no successor starts: what is left of it is ended here.
pub fn end_here(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    let holder = format!("pid {}, cancelling", std::process::id());
    let _right = FileLock::acquire_within(&lock_path(repo, run), &holder, LAST_MOMENTS)?;
    if is_over(store, run)? { Ok(()) } else { ending::end(repo, store, run) }
}

/// Puts tasks of a run that is over back into the queue. Whoever holds the lock supervises: with it in hand nobody else acts.
pub fn reopen(repo: &Repository, store: &Store, run: &RunId, tasks: &[TaskId]) -> Result<(), RunError> {
    let holder = format!("pid {}, retrying", std::process::id());
    let _right = FileLock::acquire_within(&lock_path(repo, run), &holder, LAST_MOMENTS)?;
    Ok(asking::reopen(store, run, tasks)?)
}

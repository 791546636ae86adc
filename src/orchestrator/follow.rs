//! Following a run to its end: a tail of the journal that wakes on the supervisor's socket. Where the supervisor dies, a successor
//! is started; where it is silent, it is waited for.
//!
//! Decides nothing about the run but to cancel it, when a person interrupts and wants that.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client::{SUCCESSORS, ensure_supervised, is_over, is_supervised, last_words, runtime};
use super::context::RunError;
use super::control::{self, Ask, Command};
use crate::model::RunId;
use crate::store::Store;
use crate::sys::lock::FileLock;
use crate::worktree::Repository;

/// How following a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a run that is not over must not be reported as if it were"]
pub enum Followed {
    /// It is over, or what was waited for is there.
    Over,
    /// The time ran out first.
    TimedOut,
    /// A person interrupted, and the run was cancelled; the code is that of the signal.
    Interrupted(u8),
}

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

/// Exit codes of what a signal ended: 128 and its number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// How long until a supervisor that has no socket is looked for again, and how long it may be silent before that is told.
const LOOK: Duration = Duration::from_millis(100);
const SILENT: Duration = Duration::from_secs(5);

/// A supervisor that lives for less than this has a brief life, and so many of those one after the other are enough.
const BRIEF: Duration = Duration::from_secs(10);
const BRIEF_LIVES: u32 = 25;

/// Follows a run to its end. `news` is called at every change, and once at the end.
pub fn follow(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    limit: Option<Duration>,
    on_interrupt: OnInterrupt,
    mut news: impl FnMut(&Store) -> Result<(), RunError>,
) -> Result<Followed, RunError> {
    follow_on(repo, store, run, limit, on_interrupt, |store| news(store).map(|()| false))
}

/// Follows a run until something is true of it, or it is over. An interrupt leaves it.
pub fn follow_until(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    reached: impl Fn(&Store) -> Result<bool, RunError>,
) -> Result<Followed, RunError> {
    follow_on(repo, store, run, None, OnInterrupt::Leave, reached)
}

/// Calls `is_enough` at every change, and once at the end; looking on ends when it says so.
fn follow_on(
    repo: &Repository,
    store: &Store,
    run: &RunId,
    limit: Option<Duration>,
    on_interrupt: OnInterrupt,
    mut is_enough: impl FnMut(&Store) -> Result<bool, RunError>,
) -> Result<Followed, RunError> {
    let runtime = runtime()?;
    let mut watcher = {
        let _entered = runtime.enter();
        Watcher::new(run, limit, on_interrupt)?
    };
    let (mut idle, mut seen, mut silent) = (0, store.count_entries(run)?, Some(Instant::now()));
    let (mut brief, mut began) = (0, Instant::now());
    loop {
        ensure_supervised(repo, store, run)?;
        let left = runtime.block_on(watcher.watch(|| is_enough(store)))?;
        let enough = is_enough(store)?;
        match left {
            Some(left) => return Ok(left),
            None if enough => return Ok(Followed::Over),
            None if is_over(store, run)? => {
                is_enough(store)?;
                return Ok(watcher.stopped_by.map_or(Followed::Over, Followed::Interrupted));
            }
            None => {}
        }
        if is_supervised(repo, run)? {
            // It is about to end, has only just begun, or waits for something itself.
            if silent.is_some_and(|since| since.elapsed() > SILENT) {
                silent = None;
                let holder = FileLock::signature(&repo.run_lock(run)).unwrap_or_default();
                tracing::warn!("run {run} does not answer yet; its lock says: {holder}");
            }
            if let Some(left) = runtime.block_on(watcher.rest(LOOK))? {
                return Ok(left);
            }
            continue;
        }
        silent = Some(Instant::now());
        let now = store.count_entries(run)?;
        // That it took over is the one thing that every successor writes.
        idle = if now > seen + 1 { 0 } else { idle + 1 };
        seen = now;
        // One that dies of what it does next, each time, does something before that, each time.
        brief = if began.elapsed() < BRIEF { brief + 1 } else { 0 };
        began = Instant::now();
        if idle >= SUCCESSORS || brief >= BRIEF_LIVES {
            return Err(RunError::SupervisorDead { run: run.to_string(), detail: last_words(repo, run) });
        }
    }
}

/// Who looks on, with what may come in between: signals, the answer to a question, the end of the time.
struct Watcher<'a> {
    run: &'a RunId,
    deadline: Option<Instant>,
    on_interrupt: OnInterrupt,
    interrupt: Signal,
    terminate: Signal,
    answers: UnboundedSender<Choice>,
    answered: UnboundedReceiver<Choice>,
    asking: bool,
    stopped_by: Option<u8>,
}

/// What came in between.
enum Between {
    TimedOut,
    Signal { code: u8, is_interrupt: bool },
    Answer(Choice),
}

impl Watcher<'_> {
    fn new(run: &RunId, limit: Option<Duration>, on_interrupt: OnInterrupt) -> Result<Watcher<'_>, RunError> {
        let watch = |kind| signal(kind).map_err(RunError::io("cannot watch signals"));
        let (answers, answered) = unbounded_channel();
        Ok(Watcher {
            run,
            deadline: limit.map(|limit| Instant::now() + limit),
            on_interrupt,
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            answers,
            answered,
            asking: false,
            stopped_by: None,
        })
    }

    /// Looks on until the supervisor hangs up; how it ended, when it ended for another reason.
    async fn watch(
        &mut self,
        mut is_enough: impl FnMut() -> Result<bool, RunError>,
    ) -> Result<Option<Followed>, RunError> {
        let Some(mut stream) = control::connect(self.run, Ask::Watch).await? else { return Ok(None) };
        if self.stopped_by.is_some() {
            // The supervisor that was told may not have heard it any more.
            control::command(self.run, Command::Cancel).await?;
        }
        let mut buffer = [0u8; 4096];
        // What changed before the supervisor was listened to is not told again.
        let mut enough = is_enough()?;
        while !enough {
            let between = tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(_) => { enough = is_enough()?; continue }
                },
                between = self.between() => between,
            };
            if let Some(left) = self.heed(between).await? {
                return Ok(Some(left));
            }
        }
        Ok(Some(Followed::Over))
    }

    /// Waits for this long; how it ended, when something came in between that ends it.
    async fn rest(&mut self, time: Duration) -> Result<Option<Followed>, RunError> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(None),
            between = self.between() => self.heed(between).await,
        }
    }

    async fn between(&mut self) -> Between {
        let out_of_time = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = out_of_time => Between::TimedOut,
            Some(choice) = self.answered.recv() => Between::Answer(choice),
            _ = self.interrupt.recv() => Between::Signal { code: INTERRUPTED, is_interrupt: true },
            _ = self.terminate.recv() => Between::Signal { code: TERMINATED, is_interrupt: false },
        }
    }

    async fn heed(&mut self, between: Between) -> Result<Option<Followed>, RunError> {
        let code = match (between, self.on_interrupt) {
            (Between::TimedOut, _) => return Ok(Some(Followed::TimedOut)),
            (Between::Signal { code, .. }, OnInterrupt::Leave) => return Ok(Some(Followed::Interrupted(code))),
            (Between::Answer(choice), _) => {
                self.asking = false;
                match choice {
                    Choice::Stay => return Ok(None),
                    Choice::Leave => return Ok(Some(Followed::Interrupted(INTERRUPTED))),
                    Choice::Cancel => INTERRUPTED,
                }
            }
            (Between::Signal { is_interrupt: true, .. }, OnInterrupt::Ask(ask))
                if self.stopped_by.is_none() && !self.asking =>
            {
                self.asking = true;
                let answers = self.answers.clone();
                // Not one of the runtime's threads: it may be waiting for a key when this process ends.
                std::thread::spawn(move || answers.send(ask()));
                return Ok(None);
            }
            (Between::Signal { code, .. }, OnInterrupt::Ask(_) | OnInterrupt::Cancel) => code,
        };
        let command = if self.stopped_by.is_some() { Command::Kill } else { Command::Cancel };
        self.stopped_by = Some(code);
        control::command(self.run, command).await?;
        Ok(None)
    }
}

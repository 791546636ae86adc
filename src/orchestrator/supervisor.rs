//! The supervisor of one run: a process of its own, in its own session, that carries out what the board decides.
//!
//! Its right is a kernel lock on the run's lock file, held for life. It survives the client and its terminal; only
//! `cancel` ends it early. Everything it waits for wakes it: ends of workers and landings, clients, signals.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::board::{Board, Effect, Event, Slot};
use super::context::{Context, RunError};
use super::control::Command;
use super::queue::{attend, bell};
use super::scoped::{self, Place};
use super::stopping::Stopping;
use super::{asking, control, gates, lookout, recover, refusal, resumption, room, same_files, worker};
use crate::confine::granted::Granted;
use crate::model::mail::MessageKind;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{Confinement, cause::chain};
use crate::model::{MergePolicy, Reason, ReasonKind, RunId, RunState, TaskEvent, TaskId, TaskState};
use crate::store::{EntryDraft, StoreError};
use crate::sys::git::Git;
use crate::sys::lock::FileLock;
use crate::sys::{clock, fs, proc};
use crate::worktree::abandoned;
use crate::worktree::patience::Patience;
use crate::worktree::sealed::Identity;
use crate::worktree::{Repository, WorktreeError};

/// How long a new supervisor waits for others to look away from its lock.
const LOOKERS_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked whether a result that a task waits for waits for a person itself.
const LOOK: Duration = Duration::from_secs(1);

/// How long a successor waits for a git that its predecessor had started.
const HELPERS_WAIT: Duration = Duration::from_secs(60);

/// Supervises a run to its end. `ready` is called when a client may rely on it.
pub fn supervise(common_dir: &Path, run: &RunId, place: &Place, ready: impl Fn()) -> Result<(), RunError> {
    let git = Git::open().map_err(WorktreeError::from)?;
    let mut repo = Repository::at_common_dir(&git, common_dir)?;
    // Whoever asks whether a run is supervised holds the lock for that moment.
    let signature = format!("the supervisor, pid {}", std::process::id());
    let mut right = FileLock::acquire_within(&repo.run_lock(run), &signature, LOOKERS_WAIT)?;
    // From here on what this process writes counts until there is a later supervisor.
    let (scope, scoped) = scoped::settle(place);
    let (store, record, epoch) = room::take_over(&repo, run, &scoped, (&mut right, &signature), &ready)?;
    if record.state.is_terminal() {
        // Another supervisor was faster, and has brought it to its end.
        ready();
        return Ok(());
    }
    let again = epoch > 1;
    if again {
        proc::wait_for_helpers(run.as_str(), HELPERS_WAIT)
            .map_err(RunError::io("cannot wait for what the last supervisor left at work"))?;
    }
    repo.hooks = record.hooks;
    let hears: Arc<OnceLock<Weak<Context>>> = Arc::default();
    repo.patience = patience(record.lock_wait.0, Arc::clone(&hears));
    if let Some(tree) = &record.asked_in {
        repo.stand_in(tree);
    }
    repo.confinement = Confinement { level: record.confine, read: record.bounds.read.clone() };
    // Who recorded the run tried this level before.
    let granted = Granted::on_record(record.confine);
    let identity = Identity::of_user(&repo)?;
    for blocked in recover::recover(&repo, &store)?.blocked {
        tracing::warn!("not recovered: {blocked}");
    }
    abandoned::sweep(&repo)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(usize::try_from(record.jobs).unwrap_or(1) + 4)
        .enable_all()
        .build()
        .map_err(RunError::io("cannot start the runtime"))?;
    let context = Arc::new(Context::new(repo, (record, epoch), identity, granted, store, scope));
    context.stopping(|stopping| stopping.pause(context.run.paused));
    hears.get_or_init(|| Arc::downgrade(&context));
    runtime.block_on(async {
        let listener = control::listen(run)?;
        ready();
        let ended = drive(&context, listener).await;
        match &ended {
            // Its run is in other hands: whatever is to be said of it, they say.
            Err(RunError::Store(StoreError::Superseded { .. })) => return ended,
            Err(error) if room::is_full(error) => return ended,
            Err(error) => give_up(&context, error)?,
            Ok(()) => {}
        }
        ended
    })
}

/// Whoever follows the run hears of a lock that is waited for; before anybody can, the log of the supervisor does.
fn patience(limit: Duration, hears: Arc<OnceLock<Weak<Context>>>) -> Patience {
    let tell = move |lock: &Path| match hears.get().and_then(Weak::upgrade) {
        Some(context) => context.note_waiting(lock),
        None => (Patience::default().tell)(lock),
    };
    Patience { limit, tell: Arc::new(tell) }
}

/// A task's worker that is over.
type Settled = (TaskId, Result<TaskState, RunError>);

struct Driver<'a> {
    context: &'a Arc<Context>,
    board: Board,
    at_work: JoinSet<Settled>,
    /// One at most: who attends to the queue while anything of the run is in it.
    attending: JoinSet<Result<Vec<TaskId>, RunError>>,
    reclaims: JoinSet<()>,
    rests: JoinSet<TaskId>,
    pending: Vec<Event>,
    over: bool,
    told_landing: bool,
    has_handed_in: bool,
}

async fn drive(context: &Arc<Context>, listener: tokio::net::UnixListener) -> Result<(), RunError> {
    let (asking, mut asked) = mpsc::unbounded_channel();
    let mut moved = context.moved().ok_or_else(|| RunError::Usage { message: "a run has one driver".into() })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::io("cannot watch signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::io("cannot watch signals"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::io("cannot watch signals"))?;
    gates::sweep(context)?;
    let server = tokio::spawn(control::serve(listener, Arc::clone(context), asking));
    let tasks = context.store(|store| store.tasks(&context.run.id))?;
    let somebody_works = tasks.iter().any(|task| task.offered.is_none());
    let lookout = somebody_works.then(|| tokio::spawn(lookout::watch(Arc::clone(context))));
    let run = &context.run;
    let board = Board::new(tasks.iter().map(slot).collect(), run.jobs, run.merge, run.overlap());
    let mut driver = Driver {
        context,
        board,
        at_work: JoinSet::new(),
        attending: JoinSet::new(),
        reclaims: JoinSet::new(),
        rests: JoinSet::new(),
        pending: beginning(&context.run, &tasks),
        over: false,
        told_landing: context.run.state == RunState::Landing,
        has_handed_in: false,
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The board says it anew.
    let waited =
        |task: &&TaskRecord| task.state == TaskState::Queued && task.delay.as_ref().is_some_and(same_files::is_ours);
    for task in tasks.iter().filter(waited) {
        context.store(|store| same_files::note(store, &context.run.id, &task.id, None))?;
    }
    tasks.iter().filter(|task| task.workspace.is_some()).for_each(|task| driver.reclaim(&task.id, task.state));
    for task in tasks.iter().filter(|task| task.state == TaskState::Queued) {
        driver.rest(task);
    }
    tasks
        .iter()
        .filter(|task| task.state == TaskState::Waiting)
        .for_each(|task| context.sign(&task.id, |signs| signs.parked = true));
    driver.carry_out()?;
    while !driver.over {
        tokio::select! {
            Some(joined) = driver.at_work.join_next() => {
                let (task, state) = joined.map_err(RunError::panicked)?;
                driver.settle(task, state?)?;
            }
            Some(ended) = driver.attending.join_next() => driver.hear_of_queue(ended.map_err(RunError::panicked)??)?,
            Some(rested) = driver.rests.join_next() => {
                driver.take(Event::Rested(rested.map_err(RunError::panicked)?))?;
            }
            Some(reclaimed) = driver.reclaims.join_next() => reclaimed.map_err(RunError::panicked)?,
            Some((task, state)) = moved.recv() => driver.take(Event::Moved { task, state })?,
            Some((command, answer)) = asked.recv() => {
                let done = driver.obey(command)?;
                // Who asked may be gone; what was asked for is done all the same.
                let _told = answer.send(done);
            }
            _ = look.tick(), if driver.board.waits_for_a_landing() => driver.look_at_queue()?,
            _ = terminate.recv() => driver.take(Event::Cancel)?,
            // Those that a terminal sends: the run does not belong to the terminal.
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
    server.abort();
    lookout.inspect(tokio::task::JoinHandle::abort);
    while let Some(reclaimed) = driver.reclaims.join_next().await {
        reclaimed.map_err(RunError::panicked)?;
    }
    driver.finish()
}

/// How long a task still rests before its next attempt.
fn rest_of(task: &TaskRecord) -> Option<Duration> {
    task.delay.as_ref()?.left(clock::now())
}

/// A task as the board sees it.
pub(super) fn slot(task: &TaskRecord) -> Slot {
    let rests = task.state == TaskState::Queued && rest_of(task).is_some();
    Slot {
        id: task.id.clone(),
        state: task.state,
        needs: task.spec.needs.clone(),
        rests,
        accepted: task.accepted,
        paths: task.spec.paths.clone(),
    }
}

/// What a supervisor has to hear first: what persons asked for of those before it, then that it begins. The last is taken first.
pub(super) fn beginning(run: &RunRecord, tasks: &[TaskRecord]) -> Vec<Event> {
    let mut events = vec![Event::Begin];
    let stopped = tasks.iter().filter(|task| task.stop.is_some() && !task.state.is_terminal());
    events.extend(stopped.map(|task| Event::CancelTask(task.id.clone())));
    events.extend(run.paused.then_some(Event::Pause));
    events.extend(run.cancel_requested.then_some(Event::Cancel));
    events
}

impl Driver<'_> {
    fn take(&mut self, event: Event) -> Result<(), RunError> {
        self.pending.push(event);
        self.carry_out()
    }

    /// Does what a person asks; an error in words when it cannot be done.
    fn obey(&mut self, command: Command) -> Result<Result<(), String>, RunError> {
        let (context, run) = (self.context, &self.context.run.id);
        match command {
            Command::Cancel => self.take(Event::Cancel)?,
            Command::Kill => {
                self.take(Event::Cancel)?;
                context.stopping(Stopping::kill_all);
            }
            Command::CancelTask { task, words } => {
                let task_alone = std::slice::from_ref(&task);
                let why = context.store(|store| asking::hinders(store, run, task_alone, TaskEvent::Cancel))?;
                if let Some(why) = why {
                    return Ok(Err(why));
                }
                context.store(|store| asking::note_stop(store, run, &task, &words))?;
                self.take(Event::CancelTask(task))?;
            }
            Command::Pause => {
                context.store(|store| asking::set_paused(store, run, true))?;
                context.stopping(|stopping| stopping.pause(true));
                self.take(Event::Pause)?;
            }
            Command::Unpause => {
                context.store(|store| asking::set_paused(store, run, false))?;
                context.stopping(|stopping| stopping.pause(false));
                bell::ring(&context.repo)?;
                self.take(Event::Unpause)?;
            }
            Command::Say { task, kind, text } => {
                if let Some(why) = self.deaf(&task, kind)? {
                    return Ok(Err(why));
                }
                match kind {
                    MessageKind::Answer => {
                        match context.store(|store| asking::answer(store, run, &task, &text)) {
                            // Its default came first, by a moment.
                            Err(error @ StoreError::Illegal(_)) => return Ok(Err(error.to_string())),
                            answered => answered?,
                        }
                        context.bell(&task).notify_one();
                        // By the way that the question came, so that it is not overtaken by it.
                        context.tell(&task, TaskState::Running);
                    }
                    _ => {
                        context.store(|store| asking::say(store, run, &task, (kind, &text)))?;
                        context.bell(&task).notify_one();
                    }
                }
            }
            Command::Accept { tasks } => {
                if let Some(why) = self.take_up(&tasks, TaskEvent::Merge, "merge")? {
                    return Ok(Err(why));
                }
                let accepted = context.store(|store| asking::accept(store, run, &tasks))?;
                // The last is taken first.
                self.pending.extend(accepted.into_iter().rev().map(|task| Event::Accepted(task.id)));
                self.carry_out()?;
            }
            Command::Retry { tasks } => {
                if let Some(why) = self.take_up(&tasks, TaskEvent::Retry, "retry")? {
                    return Ok(Err(why));
                }
                for task in context.store(|store| asking::queue_again(store, run, &tasks))? {
                    self.take(Event::Settled { task: task.id, state: task.state })?;
                }
            }
        }
        Ok(Ok(()))
    }

    /// Why a task does not hear what is said to it.
    fn deaf(&self, id: &TaskId, kind: MessageKind) -> Result<Option<String>, RunError> {
        let run = &self.context.run.id;
        let known = self.context.store(|store| store.tasks(run))?;
        let Some(task) = known.iter().find(|task| task.id == *id) else {
            return Ok(Some(format!("run {run} has no task `{id}`")));
        };
        Ok(asking::deaf(task, kind).map(|why| format!("{run}/{id} {why}")))
    }

    /// Begins again with tasks that are over: nothing stops them any more. The answer is why not, in words.
    fn take_up(&self, tasks: &[TaskId], event: TaskEvent, verb: &str) -> Result<Option<String>, RunError> {
        let (context, run) = (self.context, &self.context.run.id);
        if context.stops_all() {
            return Ok(Some(format!("run {run} is being cancelled: {verb} it when it is over")));
        }
        let why = context.store(|store| asking::hinders(store, run, tasks, event))?;
        if why.is_none() {
            context.stopping(|stopping| tasks.iter().for_each(|task| stopping.release(task)));
        }
        Ok(why)
    }

    fn settle(&mut self, task: TaskId, state: TaskState) -> Result<(), RunError> {
        self.ended(task, state)?;
        self.carry_out()
    }

    /// The board is to hear of a task that has come to rest.
    fn ended(&mut self, task: TaskId, state: TaskState) -> Result<(), RunError> {
        self.reclaim(&task, state);
        let rests = state == TaskState::Queued && self.rest(&self.context.task(&task)?);
        self.pending.push(Event::Settled { task: task.clone(), state });
        // The last is taken first.
        self.pending.extend(rests.then_some(Event::Rest(task)));
        Ok(())
    }

    /// Has somebody attend to the queue, unless somebody does.
    fn attend(&mut self) {
        if self.attending.is_empty() {
            self.attending.spawn(attend::attend(Arc::clone(self.context)));
        }
    }

    /// What of this run's is in the queue no longer; the rest still is.
    fn hear_of_queue(&mut self, ended: Vec<TaskId>) -> Result<(), RunError> {
        for task in ended {
            // What a person has put back meanwhile is to be handed in.
            let state = self.context.task(&task)?.state;
            self.ended(task, state)?;
        }
        if !self.context.handed_in(|waiting| waiting.is_empty()) {
            self.attend();
        }
        self.carry_out()
    }

    /// Has the board know which results wait for a person in the queue: nobody tells that.
    fn look_at_queue(&mut self) -> Result<(), RunError> {
        let obstructed = same_files::obstructed(self.context)?;
        if self.board.has_obstructed(&obstructed) {
            return Ok(());
        }
        self.take(Event::Obstructed(obstructed))
    }

    /// Waits for a task that rests; false for one that does not.
    fn rest(&mut self, task: &TaskRecord) -> bool {
        let Some(left) = rest_of(task) else { return false };
        let id = task.id.clone();
        self.rests.spawn(async move {
            tokio::time::sleep(left).await;
            id
        });
        true
    }

    /// Removes what a task that is over does not need any more.
    fn reclaim(&mut self, task: &TaskId, state: TaskState) {
        if state.is_terminal() {
            let (context, task) = (Arc::clone(self.context), task.clone());
            // A workspace that cannot be removed stays listed and goes with the next clean; the result stands.
            self.reclaims.spawn_blocking(move || {
                if let Err(error) = worker::reclaim(&context, &task) {
                    tracing::warn!(%task, error = chain(&error), "not reclaimed");
                }
            });
        }
    }

    /// Feeds events to the board and carries out its effects until there is nothing left to do at once.
    fn carry_out(&mut self) -> Result<(), RunError> {
        while let Some(event) = self.pending.pop() {
            for effect in self.board.handle_event(event) {
                self.apply(effect)?;
            }
        }
        if std::mem::take(&mut self.has_handed_in) {
            self.attend();
        }
        if self.board.is_landing() && !self.told_landing {
            self.told_landing = true;
            self.context.store(|store| store.set_run_state(&self.context.run.id, RunState::Landing))?;
        }
        Ok(())
    }

    fn apply(&mut self, effect: Effect) -> Result<(), RunError> {
        let (context, run) = (self.context, &self.context.run.id);
        match effect {
            Effect::Start(task) => {
                let context = Arc::clone(context);
                self.at_work.spawn(async move { (task.clone(), worker::work(context, task).await) });
            }
            Effect::Resume(task) => {
                let context = Arc::clone(context);
                self.at_work.spawn(async move { (task.clone(), resumption::resume(context, task).await) });
            }
            Effect::Wait { task, by } => context.store(|store| same_files::note(store, run, &task, by.as_ref()))?,
            Effect::Land(task) => match attend::hand_in(context, &task)? {
                Some(state) => self.ended(task, state)?,
                // When all that can be are handed in, so that they are judged together.
                None => self.has_handed_in = true,
            },
            Effect::Skip { task, by } => {
                let reason = Reason::new(ReasonKind::Skipped, format!("it needs `{by}`, which did not end well"));
                let data = json!({"by": by});
                context.store(|s| s.move_task(run, &task, TaskEvent::Skip, data, |task| task.reason = Some(reason)))?;
            }
            Effect::RejectDependent { task, by } => {
                refusal::reject_dependent(context, &task, &by)?;
            }
            Effect::Cancel(task) => {
                refusal::cancel(context, &task)?;
            }
            Effect::StopAll => {
                context.store(|store| asking::note_cancel(store, run))?;
                context.stopping(Stopping::stop_all);
            }
            Effect::Stop(task) => context.stopping(|stopping| stopping.stop(&task)),
            Effect::Finish => self.over = true,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), RunError> {
        let (context, run) = (self.context, &self.context.run.id);
        let cancelled = context.stops_all();
        let state = RunState::derive(&self.board.states(), cancelled);
        let tasks = context.store(|store| store.tasks(run))?;
        worker::release_pins(context)?;
        let kept = tasks.iter().any(|task| task.workspace.is_some());
        if !kept {
            fs::remove_tree(&context.repo.run_dir(run)?)?;
        }
        if context.run.merge == MergePolicy::Manual && kept {
            tracing::info!(%run, "results wait for `treehand merge`");
        }
        self.note_cost()?;
        // Before it is over: nobody comes after that to remove it.
        control::close(run)?;
        context.store(|store| store.set_run_state(run, state))?;
        Ok(())
    }

    /// Writes down what the run cost: `scripts/bench run` reads it.
    fn note_cost(&self) -> Result<(), RunError> {
        let (own, children) = proc::cpu_time().map_err(RunError::io("cannot read our own processor time"))?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let data = json!({"own_cpu_ms": millis(own), "children_cpu_ms": millis(children)});
        let draft = EntryDraft::new("run.cost", data).of_run(&self.context.run.id);
        self.context.store(|store| store.note(&draft))?;
        Ok(())
    }
}

/// Ends a run whose supervisor met an error that it cannot work around: what is open is cancelled, the error is recorded.
fn give_up(context: &Context, error: &RunError) -> Result<(), RunError> {
    let text = chain(error);
    context.stopping(Stopping::stop_all);
    let run = &context.run.id;
    for task in context.store(|store| store.tasks(run))? {
        if !task.state.is_terminal() {
            let reason = Reason::new(ReasonKind::Failed, format!("the supervisor gave up: {text}"));
            context.store(|s| s.move_task(run, &task.id, TaskEvent::Cancel, json!({}), |t| t.reason = Some(reason)))?;
        }
    }
    let data = json!({"error": text});
    context.store(|store| store.update_run(run, "run.error", data, |run| run.error = Some(text.clone())))?;
    control::close(run)?;
    context.store(|store| store.set_run_state(run, RunState::Failed))?;
    Ok(())
}

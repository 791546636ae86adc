//! What the parts of a supervisor share: the run, the repository, the store, and the news that something changed.
//! Holds no decisions: the board decides, workers and landings act.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};

use super::agents::{equip, loan};
use super::behind::Target;
use super::post::{Post, Rung};
use super::same_files::Known;
use super::slots::Queue;
use super::sockets;
use super::stopping::Stopping;
use crate::confine::granted::Granted;
use crate::confine::leaf::Scope;
use crate::confine::mask::Mask;
use crate::confine::policy::{Adoption, LogPlan};
use crate::confine::view::System;
use crate::confine::{Launch, machine};
use crate::model::agent::Reply;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, Reason, TaskId, TaskState, Token, VariableName};
use crate::store::{EntryDraft, Store, StoreError};
use crate::sys::env;
use crate::worktree::Repository;
use crate::worktree::error::Result;
use crate::worktree::patience::waiting_for;
use crate::worktree::reach::{self, Quarters};
use crate::worktree::run_store::RunStore;
use crate::worktree::sealed::{Identity, SealedPaths};
use crate::worktree::submodules::Submodule;

/// What the journal calls a wait for a lock of git's.
pub const WAITING: &str = "lock.wait";

pub use super::error::RunError;

/// When what is done for a task has to stop.
pub struct Stop<'a> {
    /// The tasks that it is for: it stops when one of them has to.
    pub tasks: &'a [TaskId],
    /// What has to stop.
    pub news: watch::Receiver<Stopping>,
    /// What its shim has to hear.
    pub signs: watch::Receiver<Signs>,
}

/// What the shim of a task cannot see of its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// It waits for an answer.
    pub parked: bool,
    /// The last tool that it told of, and when that was.
    pub tool: Option<(String, SystemTime)>,
    /// What its agent asked for, by the number of the request, and got later.
    pub answers: BTreeMap<u64, Reply>,
}

/// Where it is written down how the child ended whose output is in this log.
pub fn end_record(log: &Path) -> PathBuf {
    log.with_extension("end.json")
}

/// One supervised run.
pub struct Context {
    /// The repository.
    pub repo: Repository,
    /// The run as it was when the supervisor began; what changes is read from the store.
    pub run: RunRecord,
    /// Who commits.
    pub identity: Identity,
    /// The level of confinement that was granted.
    pub granted: Granted,
    /// What the machine has that its children need.
    pub machine: System,
    /// Which supervisor of the run this is, counted.
    pub epoch: u64,
    /// What results that wait are known to change.
    pub changed_files: Known,
    /// What has to stop.
    stop: watch::Sender<Stopping>,
    signs: Mutex<BTreeMap<TaskId, watch::Sender<Signs>>>,
    /// The scope that the run has to itself, where it has one.
    scope: Option<Arc<Scope>>,
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
    target: watch::Sender<Option<Arc<Target>>>,
    queues: Mutex<BTreeMap<String, Queue>>,
    bells: Mutex<BTreeMap<TaskId, Arc<Notify>>>,
    post: OnceLock<Option<Arc<Post>>>,
    waiting: Mutex<BTreeSet<TaskId>>,
    moves: UnboundedSender<(TaskId, TaskState)>,
    moved: Mutex<Option<UnboundedReceiver<(TaskId, TaskState)>>>,
    /// What is kept out of what is kept; made when it is first wanted.
    mask: Mutex<Option<Secrets>>,
}

/// Does work that waits for git or the disk where it holds up nothing else.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, RunError> {
    tokio::task::spawn_blocking(work).await.map_err(RunError::panicked)
}

/// What is kept out of everything that is kept.
struct Secrets {
    values: Vec<String>,
    mask: Arc<Mask>,
}

fn mask(values: &[String]) -> std::result::Result<Arc<Mask>, RunError> {
    let mask = Mask::new(values).map_err(|error| RunError::io("cannot keep secrets out")(std::io::Error::other(error)));
    mask.map(Arc::new)
}

impl Context {
    /// Puts the parts together.
    pub fn new(
        repo: Repository,
        (run, epoch): (RunRecord, u64),
        identity: Identity,
        granted: Granted,
        store: Store,
        scope: Option<Arc<Scope>>,
    ) -> Context {
        let (stop, changed) = (watch::Sender::new(Stopping::default()), watch::Sender::new(0));
        let machine = machine::look(env::home().as_deref(), &env::vars(), &run.bounds.read);
        let (store, queues, mask) = (Mutex::new(store), Mutex::default(), Mutex::default());
        let (bells, post, (moves, moved)) = (Mutex::default(), OnceLock::new(), unbounded_channel());
        let moved = Mutex::new(Some(moved));
        Context {
            repo,
            run,
            identity,
            granted,
            machine,
            epoch,
            changed_files: Known::default(),
            stop,
            signs: Mutex::default(),
            scope,
            store,
            changed,
            target: watch::Sender::new(None),
            queues,
            bells,
            post,
            waiting: Mutex::default(),
            moves,
            moved,
            mask,
        }
    }

    /// Changes what has to stop, and wakes everybody whom it concerns.
    pub fn stopping(&self, change: impl FnOnce(&mut Stopping)) {
        self.stop.send_modify(change);
    }

    /// True when this task has to stop.
    pub fn has_to_stop(&self, task: &TaskId) -> bool {
        self.stop.borrow().wants(task)
    }

    /// True when this task may not start.
    pub fn is_hindered(&self, task: &TaskId) -> bool {
        self.stop.borrow().hinders(task)
    }

    /// Rings when there is mail for a task.
    pub fn bell(&self, task: &TaskId) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(task.clone()).or_default())
    }

    /// Rings the bell of a task when something happens in this directory; `None` where that cannot be.
    pub fn watch_mail(&self, task: &TaskId, directory: &Path) -> Option<Rung> {
        self.watch_directory(directory, &self.bell(task))
    }

    /// Rings any bell when something happens in this directory; `None` where that cannot be.
    pub fn watch_directory(&self, directory: &Path, bell: &Arc<Notify>) -> Option<Rung> {
        self.post.get_or_init(Post::open).as_ref()?.watch(directory, bell)
    }

    /// The branch that the run lands on, as it was known last.
    pub fn known_target(&self) -> Option<Arc<Target>> {
        self.target.borrow().clone()
    }

    /// Keeps what is known of the branch that the run lands on, and wakes everybody who waits for news of it.
    pub fn know_target(&self, target: &Arc<Target>) {
        self.target.send_if_modified(|known| {
            let moved = known.as_ref() != Some(target);
            *known = Some(Arc::clone(target));
            moved
        });
    }

    /// News of the branch that the run lands on.
    pub fn target_news(&self) -> watch::Receiver<Option<Arc<Target>>> {
        self.target.subscribe()
    }

    /// Changes what the shim of a task has to hear.
    pub fn sign(&self, task: &TaskId, change: impl FnOnce(&mut Signs)) {
        self.signs_of(task).send_if_modified(|signs| {
            let before = signs.clone();
            change(signs);
            *signs != before
        });
    }

    /// Nobody listens at most times: what is said is there for who comes.
    fn signs_of(&self, task: &TaskId) -> watch::Sender<Signs> {
        let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        signs.entry(task.clone()).or_default().clone()
    }

    /// Tells the driver and the shim that a task is parked, or is not any more. Where there is none any more, the run is over.
    pub fn tell(&self, task: &TaskId, state: TaskState) {
        self.sign(task, |signs| signs.parked = state == TaskState::Waiting);
        let _told = self.moves.send((task.clone(), state));
    }

    /// What is told so; `None` for the second who asks.
    pub fn moved(&self) -> Option<UnboundedReceiver<(TaskId, TaskState)>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The queue of the run's tasks for a place of this kind.
    pub fn queue_for(&self, kind: &str) -> Queue {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(kind.to_owned()).or_default())
    }

    /// True when everything has to.
    pub fn stops_all(&self) -> bool {
        self.stop.borrow().is_all()
    }

    /// When what is done for a task has to stop.
    pub fn stop_of<'a>(&self, task: &'a TaskId) -> Stop<'a> {
        let signs = self.signs_of(task).subscribe();
        Stop { tasks: std::slice::from_ref(task), news: self.stop.subscribe(), signs }
    }

    /// When what is done for several tasks at once has to stop. Nobody has anything to say to it but that.
    pub fn stop_of_any<'a>(&self, tasks: &'a [TaskId]) -> Stop<'a> {
        Stop { tasks, news: self.stop.subscribe(), signs: watch::Sender::new(Signs::default()).subscribe() }
    }

    /// Hears when what has to stop is otherwise.
    pub fn stop_news(&self) -> watch::Receiver<Stopping> {
        self.stop.subscribe()
    }

    /// The results that are handed in to the queue and of which it is not known yet what became of them.
    pub fn handed_in<T>(&self, work: impl FnOnce(&mut BTreeSet<TaskId>) -> T) -> T {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How a child of this run outlives this supervisor; `None` where it is to end with it.
    pub fn adoption(&self, token: &Token) -> std::result::Result<Option<Adoption>, RunError> {
        let grace_ms = u64::try_from(self.run.orphan_grace.0.as_millis()).unwrap_or(u64::MAX);
        let socket = sockets::door(token)?;
        Ok((grace_ms > 0).then_some(Adoption { socket, grace_ms, epoch: self.epoch }))
    }

    /// A text as it may be kept.
    pub fn masked(&self, text: &str) -> std::result::Result<String, RunError> {
        Ok(self.mask()?.text(text))
    }

    /// A reason as it may be kept: what a task names its files may be a secret that it was given.
    pub fn without_secrets(&self, reason: Reason) -> std::result::Result<Reason, RunError> {
        let mask = self.mask()?;
        let paths = reason.paths.iter().map(|path| mask.text(path)).collect();
        Ok(Reason { message: mask.text(&reason.message), paths, ..reason })
    }

    /// These are secrets from now on, too, beside those that were there when the run began: what an agent is lent was refreshed.
    pub fn keep_out(&self, values: &[String]) -> std::result::Result<(), RunError> {
        let known = self.mask()?;
        let mut secrets = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<String> = values.iter().filter(|value| known.text(value) == **value).cloned().collect();
        if let Some(secrets) = secrets.as_mut().filter(|_| !new.is_empty()) {
            secrets.values.extend(new);
            secrets.mask = mask(&secrets.values)?;
        }
        Ok(())
    }

    fn mask(&self) -> std::result::Result<Arc<Mask>, RunError> {
        let known =
            self.mask.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| Arc::clone(&known.mask));
        if let Some(known) = known {
            return Ok(known);
        }
        // The store is looked at in between, by who does not wait for this.
        let values = self.secrets()?;
        let found = Secrets { mask: mask(&values)?, values };
        let mut secrets = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(&secrets.get_or_insert(found).mask))
    }

    fn secrets(&self) -> std::result::Result<Vec<String>, RunError> {
        let tasks = self.lock_store().tasks(&self.run.id)?;
        let gates = tasks.iter().flat_map(|task| &task.spec.gates);
        let named = tasks.iter().flat_map(|task| &task.spec.secrets).chain(gates.flat_map(|gate| &gate.secrets));
        let named = named.chain(self.run.setup.iter().flat_map(|step| &step.secrets));
        let of_agents = self.run.agents.iter().flat_map(equip::secret_names);
        let named: BTreeSet<VariableName> = named.cloned().chain(of_agents).collect();
        let here = env::vars();
        let named = here.into_iter().filter(|(name, _)| named.iter().any(|named| named.as_str() == name));
        let lent = self.run.agents.iter().flat_map(loan::secrets_of);
        Ok(named.map(|(_, value)| value).chain(lent).collect())
    }

    /// Works on the store and tells everybody who follows the run that there is news.
    pub fn store<T>(
        &self,
        work: impl FnOnce(&Store) -> std::result::Result<T, StoreError>,
    ) -> std::result::Result<T, StoreError> {
        let result = work(&self.lock_store());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Tells everybody who follows the run that it waits for a lock of git's.
    pub fn note_waiting(&self, lock: &Path) {
        let draft = EntryDraft::new(WAITING, serde_json::json!({"lock": lock})).of_run(&self.run.id);
        if let Err(error) = self.store(|store| store.note(&draft)) {
            tracing::warn!(%error, "{}", waiting_for(lock));
        }
    }

    fn lock_store(&self) -> MutexGuard<'_, Store> {
        // A panic elsewhere cannot leave the store half-changed: every change is one transaction.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// News of changes, for followers.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The record of a task.
    pub fn task(&self, id: &TaskId) -> std::result::Result<TaskRecord, StoreError> {
        self.lock_store().task(&self.run.id, id)
    }

    /// The parts of a task's workspace.
    pub fn paths(&self, task: &TaskId) -> Result<SealedPaths> {
        SealedPaths::of_task(&self.repo, &self.run.template, &self.run.id, task)
    }

    /// The run's own object store.
    pub fn run_store(&self) -> Result<RunStore> {
        RunStore::open(&self.repo, &self.run.id, &self.run.base.commit)
    }

    /// A command that is to run in one of the run's workspaces.
    pub fn launch_in(&self, paths: &SealedPaths, lenders: &[PathBuf], command: (Vec<String>, Token)) -> Result<Launch> {
        let reach = reach::of_sealed(&self.repo, paths, lenders, &self.machine)?;
        let quarters = Quarters::of_sealed(paths);
        let launch = reach::launch_in(&quarters, reach, &self.run.bounds, self.granted.level(), command);
        Ok(Launch { scope: self.scope.clone(), ..launch })
    }

    /// Where the output of a child goes, and how it ended.
    pub fn log_plan(&self, log: &Path) -> LogPlan {
        LogPlan { output: log.to_owned(), limit: self.run.output_limit.0, record: end_record(log) }
    }

    /// What a gate's checkout borrows from.
    pub fn gate_lenders(&self) -> Result<Vec<PathBuf>> {
        Ok(vec![self.run_store()?.objects()])
    }

    /// Records which submodules did not come along into a tree, and why.
    pub fn note_missing(
        &self,
        id: &TaskId,
        kind: &str,
        submodules: &[Submodule],
    ) -> std::result::Result<(), StoreError> {
        let why = |one: &Submodule| Some((one.path.to_string_lossy().into_owned(), one.missing.clone()?));
        let missing: BTreeMap<String, String> = submodules.iter().filter_map(why).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let data = serde_json::json!({"missing": missing});
        self.store(|store| store.edit_task(&self.run.id, id, kind, data, |_| {})).map(|_| ())
    }

    /// Object directories that are lent to the run's workspaces, with these commits in them.
    pub fn lend(&self, commits: &[&CommitId]) -> Result<Vec<PathBuf>> {
        let store = self.run_store()?;
        for commit in commits {
            store.fetch(&self.repo.common_dir, commit)?;
        }
        Ok(vec![store.objects()])
    }
}

//! From what was asked for to a recorded run: everything that can be refused is refused before anything is made.
//! Planning touches nothing but tracking refs; `record` is the first effect.

use std::collections::BTreeSet;

use crate::confine::{self, environment};
use crate::model::agent::AgentSetup;
use crate::model::health::HealthSpans;
use crate::model::record::{ConfineLevel, RunRecord, TaskRecord};
use crate::model::{
    AdmissionPolicy, BaseReport, Bounds, BranchName, ByteSize, CommitId, MergePolicy, Network, PushTarget, RetryPolicy,
    RunId, RunSpec, RunState, Sensitive, SetupStep, Span, Sparse, StalePolicy, Strategy, Submodules, TaskState,
    Variable, VariableName,
};
use crate::store::{Store, StoreError};
use crate::sys::{clock, random};
use crate::worktree::accept;
use crate::worktree::base::{self, ResolvedBase};
use crate::worktree::base_name::BaseTarget;
use crate::worktree::import::update_ref;
use crate::worktree::quarantine::Kept;
use crate::worktree::remote::{Lookup, RemoteBranch};
use crate::worktree::sealed::Identity;
use crate::worktree::{Repository, WorktreeError, reach, sparse};

use super::agents::find::{self, Options};
use super::context::RunError;
use super::sockets;

/// What the flags and the configuration say beside the specification; the flags have been applied already.
#[derive(Clone, Debug)]
pub struct StartSettings {
    /// How the base is looked up.
    pub lookup: Lookup,
    /// What a base that is not fresh means, unless the specification says.
    pub stale: StalePolicy,
    /// The level of confinement.
    pub confine: ConfineLevel,
    /// How many tasks at once, unless the specification says.
    pub jobs: u32,
    /// How results land, unless the specification says.
    pub strategy: Strategy,
    /// The template of the messages of the commits that they become.
    pub message_template: Option<String>,
    /// They land on the branch's counterpart on a remote, too.
    pub push: bool,
    /// How long landing waits for a lock of git's.
    pub lock_wait: Span,
    /// How long attempts wait for a successor of a supervisor that died.
    pub orphan_grace: Span,
    /// How long an attempt may say and do nothing.
    pub idle: Option<Span>,
    /// How often tasks are tried at all, and the rests in between.
    pub retry: RetryPolicy,
    /// When a task may start, beside what the run says.
    pub admission: AdmissionPolicy,
    /// How long an attempt may say nothing at all after it began.
    pub start_up: Option<Span>,
    /// When the silence of an attempt counts.
    pub health: HealthSpans,
    /// Which submodules come along into the trees of tasks and gates.
    pub submodules: Submodules,
    /// The commands that make the trees of tasks and gates ready.
    pub setup: Vec<SetupStep>,
    /// How many ports each task has for itself.
    pub ports: u16,
    /// The template of workspace paths.
    pub template: String,
    /// Most bytes of each stream that a log keeps.
    pub output_limit: ByteSize,
    /// What children may use up and reach.
    pub bounds: Bounds,
    /// What becomes of results that change what runs by itself.
    pub sensitive: Sensitive,
    /// How often the agent of a task may resolve a conflict of its result.
    pub conflict_rounds: u32,
    /// What is said of agents.
    pub agents: Options,
    /// The template of what agents are told, where it is not ours.
    pub instructions: Option<String>,
}

/// A run as it would be recorded, with what is to be said about it.
#[derive(Debug)]
pub struct RunPlan {
    /// The run.
    pub run: RunRecord,
    /// Its tasks.
    pub tasks: Vec<TaskRecord>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// What keeps a base that was made for it until the run's pin does.
    pub kept: Option<Kept>,
}

/// Plans a run; nothing is made.
pub fn plan(repo: &Repository, mut spec: RunSpec, settings: &StartSettings) -> Result<RunPlan, RunError> {
    confine::require(settings.confine, &reach::ground(repo))?;
    sockets::require_place()?;
    Identity::of_user(repo)?;
    check_secrets(&spec, &settings.setup)?;
    let agents = find::resolve(&mut spec, &settings.agents)?;
    let base = base::resolve(repo, spec.base.as_deref(), settings.lookup)?;
    let accepted = accept::enforce(repo, &base, spec.stale_policy(settings.stale))?;
    let mut warnings = accepted.warnings;
    warnings.extend(confine::level::caution(settings.confine).map(str::to_owned));
    if matches!(settings.confine, ConfineLevel::Off | ConfineLevel::External) {
        warnings.extend(restricts_network(&spec, &settings.setup).then(|| NET_IS_NOT_ENFORCED.to_owned()));
    }
    require_directories(repo, &spec, &accepted.report.commit)?;
    let into = target(repo, spec.into.as_ref(), spec.merge == Some(MergePolicy::Manual), &base)?;
    let before = target_tip(repo, &into, &accepted.report)?;
    refuse_name_clash(repo)?;
    warnings.extend(agents.iter().filter_map(not_there));
    let run = RunRecord { agents, ..run_record(repo, spec.clone(), settings, (accepted.report, into, before))? };
    let tasks = tasks(&run.id, &spec)?;
    Ok(RunPlan { run, tasks, warnings, kept: accepted.kept })
}

/// What is said of an agent whose place another one will take.
fn not_there(agent: &AgentSetup) -> Option<String> {
    agent.program.is_none().then(|| format!("{} is not installed: its tasks go to who comes after it", agent.name))
}

/// A run that begins now.
pub(super) fn run_record(
    repo: &Repository,
    spec: RunSpec,
    settings: &StartSettings,
    (base, into, before): (BaseReport, BranchName, CommitId),
) -> Result<RunRecord, RunError> {
    let now = clock::now();
    let push = if settings.push { Some(push_target(repo, &into, settings.lookup)?) } else { None };
    Ok(RunRecord {
        id: RunId::new(now, random::bits().map_err(WorktreeError::Random)?),
        state: RunState::Queued,
        base,
        into,
        push,
        strategy: spec.strategy.unwrap_or(settings.strategy),
        message_template: settings.message_template.clone(),
        merge: spec.merge.unwrap_or(MergePolicy::Auto),
        jobs: spec.jobs.unwrap_or(settings.jobs).max(1),
        confine: settings.confine,
        lock_wait: settings.lock_wait,
        hooks: repo.hooks,
        submodules: settings.submodules,
        setup: settings.setup.clone(),
        ports: settings.ports,
        asked_in: repo.here.clone().filter(|_| repo.git_dir != repo.common_dir),
        template: settings.template.clone(),
        output_limit: settings.output_limit,
        bounds: settings.bounds.clone(),
        conflict_rounds: settings.conflict_rounds,
        sensitive: settings.sensitive.clone(),
        before,
        after: None,
        created_at: now,
        started_at: None,
        ended_at: None,
        supervisor: None,
        cancel_requested: false,
        paused: false,
        idle: settings.idle,
        start_up: settings.start_up,
        health: settings.health,
        orphan_grace: settings.orphan_grace,
        retry: settings.retry,
        admission: settings.admission.clone(),
        environment: environment::here(),
        agents: Vec::new(),
        warned: None,
        instructions: settings.instructions.clone(),
        gates: Vec::new(),
        error: None,
        // Each task has its own record: what changes of the run is not to be written with all of them every time.
        spec: RunSpec { tasks: Vec::new(), stale: spec.stale.or(Some(settings.stale)), ..spec },
    })
}

/// An error unless every secret is there, and written down nowhere: what is written here is kept and shown.
pub(super) fn check_secrets(spec: &RunSpec, setup: &[SetupStep]) -> Result<(), RunError> {
    let tasks = spec.tasks.iter();
    let named =
        tasks.clone().flat_map(|task| task.secrets.iter().chain(task.gates.iter().flat_map(|gate| &gate.secrets)));
    let named: BTreeSet<&VariableName> = named
        .chain(spec.gates.iter().flat_map(|gate| &gate.secrets))
        .chain(setup.iter().flat_map(|step| &step.secrets))
        .collect();
    let named: Vec<VariableName> = named.into_iter().cloned().collect();
    let gates = tasks.clone().flat_map(|task| &task.gates).chain(&spec.gates).map(|gate| &gate.run);
    let gates_of = tasks.clone().flat_map(|task| &task.gates).chain(&spec.gates);
    let variables = tasks.clone().flat_map(|task| &task.env).chain(gates_of.flat_map(|gate| &gate.env));
    let variables = variables.chain(setup.iter().flat_map(|step| &step.env));
    let texts = tasks.flat_map(|task| task.command.iter().chain(&task.prompt)).chain(gates).chain(&spec.goal);
    let texts = texts.chain(setup.iter().map(|step| &step.run));
    let texts: Vec<&String> = texts.chain(variables.filter_map(Variable::written)).collect();
    for (name, value) in environment::secrets(&named)? {
        if texts.iter().any(|text| text.contains(&value)) {
            let message = format!(
                "a command, a prompt or a variable has the value of the secret `{name}` in it: write ${name} instead"
            );
            return Err(RunError::Usage { message });
        }
    }
    Ok(())
}

/// Said when a network is restricted and nothing enforces it.
const NET_IS_NOT_ENFORCED: &str = "`net` is not enforced either: the commands have the network that you have";

fn restricts_network(spec: &RunSpec, setup: &[SetupStep]) -> bool {
    let gates = spec.tasks.iter().flat_map(|task| &task.gates).chain(&spec.gates);
    let asked = spec.tasks.iter().map(|task| &task.net).chain(gates.map(|gate| &gate.net));
    let asked = asked.chain(setup.iter().map(|step| &step.net));
    asked.flatten().any(|network| *network != Network::Full)
}

/// Refuses a task whose directories the base does not have; one that builds on others may mean what they make.
fn require_directories(repo: &Repository, spec: &RunSpec, base: &CommitId) -> Result<(), RunError> {
    for task in spec.tasks.iter().filter(|task| task.needs.is_empty()) {
        if let Sparse::Directories(directories) = &task.sparse {
            sparse::require(repo, base, directories)?;
        }
    }
    Ok(())
}

/// Records a planned run; a target that is not there yet is made at the base. A run that began in the same millisecond may
/// have drawn the same name: then this one takes another.
pub fn record(repo: &Repository, store: &Store, plan: &mut RunPlan) -> Result<(), RunError> {
    let into = &plan.run.into;
    if repo.reader().ref_commit(&into.full_ref()).map_err(WorktreeError::from)?.is_none() {
        crate::worktree::plain::create_branch(repo, into, &plan.run.before)?;
    }
    loop {
        match store.create_run(&plan.run, &plan.tasks) {
            Err(StoreError::Exists { kind: "run", .. }) => rename(plan)?,
            done => break done?,
        }
    }
    pin_base(repo, plan)
}

/// A base that was made for this run is on no branch until its first task starts. The ref has the name of a task that needs
/// nothing: such a task has no pin of its own, and this one goes with those of the others.
fn pin_base(repo: &Repository, plan: &mut RunPlan) -> Result<(), RunError> {
    let Some(kept) = plan.kept.take() else { return Ok(()) };
    if let Some(first) = plan.tasks.iter().find(|task| task.spec.needs.is_empty()) {
        let name = format!("refs/treehand/base/{}/{}", plan.run.id, first.id);
        update_ref(repo, &name, Some(&plan.run.base.commit), None, "treehand: base of a run")?;
    }
    Ok(kept.release()?)
}

fn rename(plan: &mut RunPlan) -> Result<(), RunError> {
    plan.run.id = RunId::new(clock::now(), random::bits().map_err(WorktreeError::Random)?);
    for task in &mut plan.tasks {
        task.branch = Repository::task_branch(&plan.run.id, &task.id)?;
    }
    Ok(())
}

/// The tasks of a run as they begin.
pub(super) fn tasks(run: &RunId, spec: &RunSpec) -> Result<Vec<TaskRecord>, RunError> {
    let one = |(n, task): (usize, &crate::model::TaskSpec)| {
        Ok(TaskRecord {
            id: task.id.clone(),
            ordinal: u32::try_from(n).unwrap_or(u32::MAX),
            state: TaskState::Queued,
            spec: task.clone(),
            branch: Repository::task_branch(run, &task.id)?,
            base: None,
            workspace: None,
            attempts: Vec::new(),
            commit: None,
            changes: None,
            landed: None,
            reason: None,
            tampered: Vec::new(),
            pardoned: 0,
            stop: None,
            mail: Vec::new(),
            delivered: 0,
            question: None,
            unanswered: false,
            delay: None,
            told: None,
            forward: None,
            resolving: None,
            resolutions: 0,
            accepted: false,
            offered: None,
            reverts: None,
        })
    };
    spec.tasks.iter().enumerate().map(one).collect()
}

/// The branch that results land on: as said, else the local branch of the base; `by_hand`: no one has to know now.
pub fn target(
    repo: &Repository,
    into: Option<&BranchName>,
    by_hand: bool,
    base: &ResolvedBase,
) -> Result<BranchName, RunError> {
    if let Some(into) = into {
        let reader = repo.reader();
        let here = reader.ref_commit(&into.full_ref()).map_err(WorktreeError::from)?;
        let tracked = reader.ref_commit(&format!("refs/remotes/{into}")).map_err(WorktreeError::from)?;
        if let (None, Some(_), Some((_, branch))) = (here, tracked, into.as_str().split_once('/')) {
            let message = format!("`{into}` is a remote's branch, and results land on a local one");
            return Err(WorktreeError::refused(message, format!("name the local branch: --into {branch}")).into());
        }
        return Ok(into.clone());
    }
    match &base.target {
        BaseTarget::Branch { local: Some(local), .. } => Ok(local.clone()),
        BaseTarget::Branch { remote: Some(remote), .. } => {
            Ok(BranchName::parse(&remote.branch).map_err(WorktreeError::Name)?)
        }
        _ if by_hand => Ok(current_branch(repo)?),
        _ => {
            let message =
                format!("the base `{}` is no branch, so it is not clear where results land", base.report.reference);
            Err(WorktreeError::refused(message, "say where: --into BRANCH").into())
        }
    }
}

/// The branch of a remote that is the counterpart of the one that results land on.
pub fn push_target(repo: &Repository, into: &BranchName, lookup: Lookup) -> Result<PushTarget, RunError> {
    let base = base::resolve(repo, Some(into.as_str()), Lookup { offline: true, ..lookup })?;
    match base.target {
        BaseTarget::Branch { remote: Some(RemoteBranch { remote, branch, .. }), .. } => {
            Ok(PushTarget { remote, branch, deadline: Span(lookup.deadline) })
        }
        _ => {
            let message = format!("`{into}` has no counterpart on a remote to push to");
            Err(WorktreeError::refused(message, format!("give it one: git push -u REMOTE {into}")).into())
        }
    }
}

/// The branch that one stands on.
pub fn current_branch(repo: &Repository) -> Result<BranchName, RunError> {
    let head = repo.reader().symbolic_target("HEAD").map_err(WorktreeError::from)?.unwrap_or_default();
    Ok(BranchName::parse(head.strip_prefix("refs/heads/").unwrap_or(&head)).map_err(WorktreeError::Name)?)
}

/// The tip of the target. A target that is only on the remote so far will begin at the base.
pub(super) fn target_tip(repo: &Repository, into: &BranchName, base: &BaseReport) -> Result<CommitId, RunError> {
    let tip = repo.reader().ref_commit(&into.full_ref()).map_err(WorktreeError::from)?;
    Ok(tip.unwrap_or_else(|| base.commit.clone()))
}

/// Task branches are `treehand/RUN/TASK`: a branch called `treehand` would make every one of them impossible.
pub(super) fn refuse_name_clash(repo: &Repository) -> Result<(), RunError> {
    match repo.reader().ref_commit("refs/heads/treehand").map_err(WorktreeError::from)? {
        None => Ok(()),
        Some(_) => Err(WorktreeError::refused(
            "a branch is called `treehand`, so no branch `treehand/…` can be made",
            "rename it: git branch -m treehand another-name",
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::{self, Fixture};

    #[test]
    fn a_run_whose_name_another_drew_in_the_same_millisecond_takes_another() {
        let fixture = Fixture::new();
        let (run, task) = fixture::run(&fixture.base(), "running", "t", "queued");
        let mut plan = RunPlan { run, tasks: vec![task], warnings: Vec::new(), kept: None };
        record(&fixture.repo, &fixture.store, &mut plan).expect("recorded");
        let first = plan.run.id.clone();
        record(&fixture.repo, &fixture.store, &mut plan).expect("recorded under another name");
        assert_ne!(plan.run.id, first);
        assert_eq!(fixture.store.run(&plan.run.id).expect("read").id, plan.run.id);
        assert_eq!(plan.tasks[0].branch, Repository::task_branch(&plan.run.id, &plan.tasks[0].id).expect("a name"));
        assert_eq!(
            fixture.store.task(&first, &plan.tasks[0].id).expect("read").branch.as_str().split('/').nth(1),
            Some(first.as_str())
        );
    }
}

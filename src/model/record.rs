//! What the store keeps of runs, tasks and workspaces: documents with a version, plain data.
//! Their JSON form is an on-disk format: a field may be added with a default, never renamed or reused.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::agent::{AgentChoice, AgentRecord, AgentSetup, BudgetPart, Submission, Usage};
use super::conflict::Resolving;
use super::health::{HealthRecord, HealthSpans};
use super::mail::{Message, Question};
use super::{
    AdmissionPolicy, BaseReport, Bounds, BranchName, ByteSize, CommitId, Delay, Directory, FailureClass, Freshness,
    Hooks, MergePolicy, OverlapPolicy, ProcId, PushTarget, Reason, RetryPolicy, RunId, RunSpec, RunState, Sensitive,
    SetupRecord, SetupStep, Span, Strategy, Submodules, TaskId, TaskSpec, TaskState, Timestamp, Token, WorkspaceName,
};

/// A run, with everything that was decided when it started: nothing is looked up again later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Where it is in its life.
    pub state: RunState,
    /// What was asked for.
    pub spec: RunSpec,
    /// The base, resolved once.
    pub base: BaseReport,
    /// The branch that results land on.
    pub into: BranchName,
    /// The branch of a remote that they land on, too.
    #[serde(default)]
    pub push: Option<PushTarget>,
    /// How results land.
    pub strategy: Strategy,
    /// The template of the messages of the commits that they become.
    #[serde(default)]
    pub message_template: Option<String>,
    /// Whether they land by themselves.
    pub merge: MergePolicy,
    /// How many tasks at once.
    pub jobs: u32,
    /// What its children may reach: always named, never assumed.
    pub confine: ConfineLevel,
    /// How long landing waits for a lock of git's.
    pub lock_wait: Span,
    /// Whether hooks of the repository run.
    #[serde(default)]
    pub hooks: Hooks,
    /// Which submodules come along into the trees of its tasks and gates.
    #[serde(default)]
    pub submodules: Submodules,
    /// The commands that make the trees of its tasks and gates ready.
    #[serde(default)]
    pub setup: Vec<SetupStep>,
    /// How many ports each of its tasks has for itself.
    #[serde(default)]
    pub ports: u16,
    /// The linked worktree that it was asked for in: its settings say who commits.
    #[serde(default)]
    pub asked_in: Option<PathBuf>,
    /// The template of workspace paths.
    pub template: String,
    /// Most bytes of each stream that a log keeps.
    pub output_limit: ByteSize,
    /// What its children may use up and reach.
    #[serde(default)]
    pub bounds: Bounds,
    /// What becomes of results that change what runs by itself.
    #[serde(default)]
    pub sensitive: Sensitive,
    /// How often the agent of a task may resolve a conflict of its result; never for 0.
    #[serde(default)]
    pub conflict_rounds: u32,
    /// Tip of the target when the run started.
    pub before: CommitId,
    /// Tip of the target after its last landing.
    pub after: Option<CommitId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its supervisor began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Who supervises it.
    pub supervisor: Option<ProcId>,
    /// A person asked to stop it.
    pub cancel_requested: bool,
    /// Nothing new starts or lands.
    #[serde(default)]
    pub paused: bool,
    /// How long an attempt may say and do nothing.
    #[serde(default)]
    pub idle: Option<Span>,
    /// How long an attempt may say nothing at all after it began.
    #[serde(default)]
    pub start_up: Option<Span>,
    /// When the silence of an attempt counts.
    #[serde(default)]
    pub health: HealthSpans,
    /// How long its attempts wait for a successor of a supervisor that died.
    #[serde(default = "orphan_grace")]
    pub orphan_grace: Span,
    /// How often its tasks are tried at all, and the rests in between.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// When a task may start, beside what the run says.
    #[serde(default)]
    pub admission: AdmissionPolicy,
    /// What its children get of the surroundings of who asked for it, whoever goes on with it from elsewhere; empty for runs
    /// of the first version.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// The agents that its tasks name, resolved once.
    #[serde(default)]
    pub agents: Vec<AgentSetup>,
    /// What of its budget somebody was warned of.
    #[serde(default)]
    pub warned: Option<BudgetPart>,
    /// The template of what they are told, where it is not ours.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Gates that ran, in order.
    pub gates: Vec<GateRecord>,
    /// An error that ended the supervisor itself.
    pub error: Option<String>,
}

impl RunRecord {
    /// What it means for its tasks that others change the same files: nothing where results land with their history. That of a task
    /// which started from a later tip of the target has the tip in it, and would bring back what somebody took back meanwhile; and
    /// to wait and start from the same base as before would gain nothing.
    pub fn overlap(&self) -> OverlapPolicy {
        match self.strategy {
            Strategy::Squash | Strategy::Rebase => self.admission.overlap,
            Strategy::Merge | Strategy::Ff => OverlapPolicy::Ignore,
        }
    }

    /// Has a run that is over begin again.
    pub fn begin_again(&mut self) {
        (self.state, self.ended_at, self.error) = (RunState::Queued, None, None);
        (self.cancel_requested, self.paused) = (false, false);
    }
}

/// What runs of the first version have.
fn orphan_grace() -> Span {
    Span(std::time::Duration::from_secs(600))
}

/// How far children are confined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfineLevel {
    /// By namespaces, Landlock and seccomp.
    #[default]
    Strict,
    /// By Landlock and seccomp alone.
    Landlock,
    /// By something outside that the user vouches for.
    External,
    /// Not at all.
    Off,
}

super::text_enum!(ConfineLevel { Strict = "strict", Landlock = "landlock", External = "external", Off = "off" });

/// One task of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Its place in the file.
    pub ordinal: u32,
    /// Where it is in its life.
    pub state: TaskState,
    /// What was asked for.
    pub spec: TaskSpec,
    /// Its branch.
    pub branch: BranchName,
    /// The commit that it started from: the run's base, the merged results of what it needs, or a later tip of the target.
    pub base: Option<CommitId>,
    /// Its box: the directory that holds tree, home and tmp.
    pub workspace: Option<PathBuf>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// The captured commit.
    pub commit: Option<CommitId>,
    /// What the captured commit changes against the base.
    pub changes: Option<ChangeCount>,
    /// Where it landed.
    pub landed: Option<LandedRecord>,
    /// Why it did not.
    pub reason: Option<Reason>,
    /// Files of its workspace that tie it to its git dir and that it had replaced; they were put back.
    #[serde(default)]
    pub tampered: Vec<PathBuf>,
    /// How many of its attempts do not count any more: a person wanted it done again.
    #[serde(default)]
    pub pardoned: u32,
    /// A person asked to stop it, with these words.
    #[serde(default)]
    pub stop: Option<String>,
    /// What was said to it, in order.
    #[serde(default)]
    pub mail: Vec<Message>,
    /// How much of that is in its inbox.
    #[serde(default)]
    pub delivered: usize,
    /// What it asked last.
    #[serde(default)]
    pub question: Option<Question>,
    /// Nobody answered that in time.
    #[serde(default)]
    pub unanswered: bool,
    /// A person wants its result to land.
    #[serde(default)]
    pub accepted: bool,
    /// Whose work it is, where that was not done by the run: a workspace or a branch that a person wants to land.
    #[serde(default)]
    pub offered: Option<String>,
    /// The operation that it takes back when it lands.
    #[serde(default)]
    pub reverts: Option<i64>,
    /// What it waits for while it is queued, beside a place in its run and what it needs.
    #[serde(default)]
    pub delay: Option<Delay>,
    /// How its base stood when that was told last; `None` while it was fresh.
    #[serde(default)]
    pub told: Option<Freshness>,
    /// That its result was brought forward, or is about to be.
    #[serde(default)]
    pub forward: Option<ForwardRecord>,
    /// The conflict that is to be resolved before it can land.
    #[serde(default)]
    pub resolving: Option<Resolving>,
    /// How often its agent has got a conflict to resolve.
    #[serde(default)]
    pub resolutions: u32,
}

impl TaskRecord {
    /// How a person calls it: the workspace or branch that was offered, or its id.
    pub fn label(&self) -> &str {
        self.offered.as_deref().unwrap_or(self.id.as_str())
    }

    /// How many of its attempts count.
    pub fn attempts_used(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_sub(self.pardoned)
    }

    /// True when another attempt is allowed. One from which the next agent took over leaves that its own.
    pub fn may_try_again(&self, policy: &RetryPolicy) -> bool {
        let most = if policy.attempts == 0 { u64::MAX } else { policy.attempts };
        let handed_over = u32::try_from(self.agent_place()).unwrap_or(u32::MAX);
        let allowed = self.spec.attempts_allowed().saturating_add(handed_over);
        u64::from(self.attempts_used()) < u64::from(allowed).min(most)
    }

    /// True when the next attempt is that of another agent than the last one.
    pub fn is_handed_over(&self) -> bool {
        self.attempts.last().is_some_and(AttemptRecord::gave_way) && self.handed_over() < self.spec.agents.len()
    }

    /// How many attempts that count ended by something that another agent may do without.
    fn handed_over(&self) -> usize {
        let counted = self.attempts.iter().skip(usize::try_from(self.pardoned).unwrap_or(usize::MAX));
        counted.filter(|attempt| attempt.gave_way()).count()
    }

    /// Which of its agents has the next attempt: the first, until what ended an attempt is something that another may do without.
    pub fn agent_place(&self) -> usize {
        self.handed_over().min(self.spec.agents.len().saturating_sub(1))
    }

    /// Which agent that is; `None` for a plain command.
    pub fn next_agent(&self) -> Option<&AgentChoice> {
        self.spec.agents.get(self.agent_place())
    }

    /// What its agents used, all attempts together.
    pub fn usage(&self) -> Usage {
        let agents = self.attempts.iter().filter_map(|attempt| attempt.agent.as_ref());
        agents.fold(Usage::default(), |sum, agent| sum.plus(agent.used()))
    }

    /// What its agent handed in last.
    pub fn submission(&self) -> Option<&Submission> {
        self.attempts.iter().rev().find_map(|attempt| attempt.agent.as_ref()?.submission.as_ref())
    }
}

/// A result that was put onto a newer tip of its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRecord {
    /// The result as it was captured.
    pub from: CommitId,
    /// The tip.
    pub base: CommitId,
    /// What it is there.
    pub commit: CommitId,
}

/// How much a result changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeCount {
    /// Files.
    pub files_changed: usize,
    /// Lines added.
    pub insertions: usize,
    /// Lines removed.
    pub deletions: usize,
}

/// How files got into a new worktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// By what: `slot`, `checkout` or `git-worktree`.
    pub strategy: String,
    /// Why by that.
    pub why: String,
}

/// One start of a task's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub n: u32,
    /// The random mark in the environment of everything it starts.
    pub token: Token,
    /// The process that was started.
    pub process: Option<ProcId>,
    /// Who started it.
    #[serde(default)]
    pub starter: Option<ProcId>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its exit code.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What went wrong, if something did.
    pub error: Option<AttemptError>,
    /// Its log file.
    pub log: PathBuf,
    /// The setup steps that ran before its command.
    #[serde(default)]
    pub setup: Vec<SetupRecord>,
    /// How it was when its shim told that last; `None` while there was nothing to tell.
    #[serde(default)]
    pub health: Option<HealthRecord>,
    /// Who works in it, where that is no plain command.
    #[serde(default)]
    pub agent: Option<AgentRecord>,
    /// How its workspace got its files; nothing where it went on in that of another.
    #[serde(default)]
    pub filled: Option<Filled>,
}

impl AttemptRecord {
    /// False for one that a setup step ended, or that could not be started.
    pub fn reached_its_command(&self) -> bool {
        !self.error.as_ref().is_some_and(|error| matches!(error.kind.as_str(), "setup" | "spawn"))
    }

    /// True where another agent may do without what ended it. A setup step has the same service for all of them.
    fn gave_way(&self) -> bool {
        let class = self.error.as_ref().and_then(|error| error.class);
        class.is_some_and(FailureClass::is_of_one_agent) && self.reached_its_command()
    }

    /// The log that says why it failed: its own, or that of the setup step for which its command never started.
    pub fn telling_log(&self) -> &Path {
        let failed = self.setup.last().filter(|step| step.error.is_some());
        failed.map_or(&self.log, |step| &step.log)
    }
}

/// Why an attempt counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// `exit`, `signal`, `timeout`, `idle`, `no_start`, `orphaned`, `limit`, `spawn`, `setup`, `capture`, `cancelled`, `crashed`, `budget`
    /// or what a verdict on an agent says.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// What follows from it for the next attempt.
    #[serde(default)]
    pub class: Option<FailureClass>,
    /// How long a service wants to be left alone.
    #[serde(default)]
    pub retry_after: Option<Span>,
}

/// Where a result landed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandedRecord {
    /// The tip of the target before it; `None` for one that an older treehand landed.
    #[serde(default)]
    pub before: Option<CommitId>,
    /// The tip of the target after it.
    pub commit: CommitId,
    /// Its place in the run's landings, from 1.
    pub order: u32,
    /// When.
    pub at: Timestamp,
}

/// One run of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRecord {
    /// The tree it judged.
    pub tree: CommitId,
    /// Its command.
    pub command: String,
    /// How it ended.
    pub outcome: GateOutcome,
    /// An earlier result for the same tree was taken.
    pub cached: bool,
    /// How long it took.
    pub ms: u64,
    /// The tasks whose results the tree holds beyond the target.
    pub entries: Vec<TaskId>,
    /// Its log.
    pub log: Option<PathBuf>,
}

/// How a gate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateOutcome {
    /// Exit 0.
    Passed,
    /// Anything else.
    Failed,
    /// Failed once, then passed.
    Flaky,
}

/// A workspace that a person asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceRecord {
    /// Its name.
    pub name: WorkspaceName,
    /// Where it is in its life.
    pub state: WorkspaceState,
    /// The tree.
    pub path: PathBuf,
    /// Its branch.
    pub branch: BranchName,
    /// The base it was made from.
    pub base: BaseReport,
    /// It has a private git dir that only its own processes enter.
    pub sealed: bool,
    /// How its files got there.
    pub strategy: String,
    /// Why so; nothing for those that were made before that was told.
    #[serde(default)]
    pub strategy_why: String,
    /// The lease under which it was made.
    pub lease: Token,
    /// When it was made.
    pub created_at: Timestamp,
    /// Larger than that of every workspace that was there then; 0 for one that an older treehand made.
    #[serde(default)]
    pub order: i64,
    /// Who is making or removing it.
    pub owner: Option<ProcId>,
    /// What was imported from it last (sealed only).
    pub imported: Option<CommitId>,
    /// The disk that it was made on, where that is another one than the repository's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<OtherDisk>,
    /// The directories that are all it was given, where not everything was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sparse: Vec<Directory>,
}

/// A disk that may be away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherDisk {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The inode of its root: what lies there without it has another.
    pub inode: u64,
}

/// When a workspace was made, beside others: by their order, and by the clock only where that does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MadeAt {
    /// Its order.
    pub order: i64,
    /// What the clock said.
    pub at: Timestamp,
}

impl WorkspaceRecord {
    /// When it was made, beside others.
    pub fn made_at(&self) -> MadeAt {
        MadeAt { order: self.order, at: self.created_at }
    }
}

/// States of a person's workspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkspaceState {
    /// Being made.
    Creating,
    /// There.
    Ready,
    /// Being removed.
    Removing,
}

//! What the user asked for: a run and its tasks after the file was checked whole. Plain data, kept in the store.
//! Whether it makes sense was decided by `orchestrator::taskfile`; here it is only held.

use serde::{Deserialize, Serialize};

use super::agent::{AgentChoice, Budget, Handover};
use super::{BranchName, Network, Span, Sparse, StalePolicy, TaskId, Variable, VariableName};

/// How results become commits of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// One commit per task.
    #[default]
    Squash,
    /// A merge commit per task.
    Merge,
    /// Each commit of the task, replayed.
    Rebase,
    /// The task's commits as they are; refused when the target has moved.
    Ff,
}

/// Whether results land by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergePolicy {
    /// As soon as a result is there.
    #[default]
    Auto,
    /// Only by `merge`.
    Manual,
}

super::text_enum!(Strategy { Squash = "squash", Merge = "merge", Rebase = "rebase", Ff = "ff" });
super::text_enum!(MergePolicy { Auto = "auto", Manual = "manual" });

/// A command that judges a merged tree before it lands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GateSpec {
    /// A line for `sh -c`.
    pub run: String,
    /// A failure is tried once more before it counts.
    #[serde(default)]
    pub flaky: bool,
    /// Its deadline.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// What of the network it may reach, if given.
    #[serde(default)]
    pub net: Option<Network>,
    /// Variables that it gets beyond those that every command has.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Variables that it gets and that are kept out of logs.
    #[serde(default)]
    pub secrets: Vec<VariableName>,
}

impl GateSpec {
    /// A gate of which nothing is said but its command.
    pub fn plain(run: impl Into<String>) -> Self {
        GateSpec { run: run.into(), flaky: false, timeout: None, net: None, env: Vec::new(), secrets: Vec::new() }
    }
}

/// Further attempts of an agent after its first, where nothing is said.
pub const AGENT_RETRIES: u32 = 1;

/// One task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its id.
    pub id: TaskId,
    /// The agent profile; `command` for a plain command.
    pub agent: String,
    /// The command and its arguments; empty for an agent.
    pub command: Vec<String>,
    /// The agents that may work on it, in the order in which they are tried; none for a plain command.
    #[serde(default)]
    pub agents: Vec<AgentChoice>,
    /// How hard an agent is to think, in its own word.
    #[serde(default)]
    pub effort: Option<String>,
    /// What an attempt may use up.
    #[serde(default)]
    pub budget: Budget,
    /// What becomes of what one agent left behind when the next one takes over.
    #[serde(default)]
    pub handover: Handover,
    /// What the agent is told (the commit message of a plain command, if given).
    #[serde(default)]
    pub prompt: Option<String>,
    /// Ids of the tasks that it starts from.
    #[serde(default)]
    pub needs: Vec<TaskId>,
    /// Glob patterns of what it may change; empty means everything.
    #[serde(default)]
    pub paths: Vec<String>,
    /// How much of the repository it has.
    #[serde(default)]
    pub sparse: Sparse,
    /// Deadline of one attempt.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// What of the network it may reach, if given.
    #[serde(default)]
    pub net: Option<Network>,
    /// Variables that it gets beyond those that every command has.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Variables that it gets and that are kept out of logs.
    #[serde(default)]
    pub secrets: Vec<VariableName>,
    /// What a base that is not fresh means to it, if given.
    #[serde(default)]
    pub stale: Option<StalePolicy>,
    /// Further attempts after the first.
    #[serde(default)]
    pub retries: u32,
    /// Gates of this task alone, run after those of the run.
    #[serde(default)]
    pub gates: Vec<GateSpec>,
}

impl TaskSpec {
    /// A task of which nothing is said but its profile and its command.
    pub fn plain(id: TaskId, agent: &str, command: Vec<String>) -> Self {
        TaskSpec {
            id,
            agent: agent.to_owned(),
            command,
            agents: Vec::new(),
            effort: None,
            budget: Budget::default(),
            handover: Handover::default(),
            prompt: None,
            needs: Vec::new(),
            paths: Vec::new(),
            sparse: Sparse::default(),
            timeout: None,
            net: None,
            env: Vec::new(),
            secrets: Vec::new(),
            stale: None,
            retries: 0,
            gates: Vec::new(),
        }
    }

    /// A task of which nothing is said but what its agents, tried in this order, are told.
    pub fn for_agents(id: TaskId, agents: Vec<AgentChoice>, prompt: String) -> Self {
        let agent = agents.first().map(|choice| choice.profile.clone()).unwrap_or_default();
        TaskSpec { agents, prompt: Some(prompt), retries: AGENT_RETRIES, ..TaskSpec::plain(id, &agent, Vec::new()) }
    }

    /// How many attempts it may have in all, beside those that the next agent takes over from.
    pub fn attempts_allowed(&self) -> u32 {
        self.retries.saturating_add(1)
    }
}

/// A run as the user asked for it: what the tasks file and the flags said, before the repository is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunSpec {
    /// What it is for.
    #[serde(default)]
    pub goal: Option<String>,
    /// The base as written, if given.
    #[serde(default)]
    pub base: Option<String>,
    /// The branch that results land on, if given.
    #[serde(default)]
    pub into: Option<BranchName>,
    /// What a base that is not fresh means, if given.
    #[serde(default)]
    pub stale: Option<StalePolicy>,
    /// Gates of every landing.
    #[serde(default)]
    pub gates: Vec<GateSpec>,
    /// How results land, if given.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// Whether they land by themselves, if given.
    #[serde(default)]
    pub merge: Option<MergePolicy>,
    /// How many tasks at once, if given.
    #[serde(default)]
    pub jobs: Option<u32>,
    /// What all its attempts together may use up.
    #[serde(default)]
    pub budget: Budget,
    /// The tasks, in the order of the file.
    pub tasks: Vec<TaskSpec>,
}

impl RunSpec {
    /// The policy on a base that is not fresh. All tasks start from one base, so that the strictest of theirs and the run's
    /// counts; `otherwise` stands where the file says nothing of the run.
    pub fn stale_policy(&self, otherwise: StalePolicy) -> StalePolicy {
        let own = self.tasks.iter().filter_map(|task| task.stale);
        own.fold(self.stale.unwrap_or(otherwise), StalePolicy::stricter)
    }
}

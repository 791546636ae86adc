//! The settings that the other rooms read, typed, with their built-in defaults.
//!
//! Every field is one key of the same name in `keys`. Plain data: nothing here decides or checks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::agent::AgentOptions;
use crate::model::conflict::ConflictPolicy;
use crate::model::health::HealthSpans;
use crate::model::record::ConfineLevel;
use crate::model::{
    AdmissionPolicy, Bounds, BranchName, ByteSize, GateSpec, Hooks, Network, OverlapPolicy, RetryPolicy, Sensitive,
    SetupStep, Share, Span, StalePolicy, Strategy, Submodules, Variable,
};
use crate::worktree::pool::decide::Terms;
use crate::worktree::repository::SALVAGE_MAX;

const MEBIBYTE: u64 = 1 << 20;
const DAY_SECONDS: u64 = 86_400;

/// Every setting, after all layers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `[worktree]`.
    pub worktree: WorktreeSettings,
    /// `[confine]`.
    pub confine: ConfineSettings,
    /// `[supervise]`.
    pub supervise: SuperviseSettings,
    /// `[merge]`.
    pub merge: MergeSettings,
    /// `[clean]`.
    pub clean: CleanSettings,
    /// `[agent.NAME]`, by the names.
    pub agents: BTreeMap<String, AgentOptions>,
}

/// How workspaces are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorktreeSettings {
    /// The template of their paths, absolute or relative to the root of the main worktree.
    pub path: String,
    /// The base, unless the command names one.
    pub base: Option<String>,
    /// What to do about a base that is stale.
    pub stale: StalePolicy,
    /// How long a fetch may take.
    pub fetch_deadline: Span,
    /// Whether hooks of the repository run when treehand's own git operations would fire them.
    pub hooks: Hooks,
    /// How old an answer of a remote may be that is used once more.
    pub fetch_window: Span,
    /// Which submodules come along into a new workspace.
    pub submodules: Submodules,
    /// Patterns of ignored files that come along into a new workspace, as lines of `.gitignore`.
    pub copy: Vec<String>,
    /// The commands that make a new workspace ready.
    pub setup: Vec<SetupStep>,
    /// How many ports are a workspace's alone.
    pub ports: u16,
    /// How many worktrees are kept ready.
    pub pool: u32,
    /// How much of the disk they leave free.
    pub pool_free: ByteSize,
    /// How long they stay when nobody makes a workspace.
    pub pool_age: Span,
}

/// How far children are confined.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfineSettings {
    /// The level.
    pub level: ConfineLevel,
    /// What of the network they may reach, unless a task, a gate or a flag says.
    pub network: Network,
    /// What they may read beside their workspace, the system and the toolchains.
    pub read: Vec<PathBuf>,
    /// Variables that they get beyond those that every command has.
    pub env: Vec<Variable>,
    /// What they may use up.
    pub limits: Limits,
}

impl ConfineSettings {
    /// What of this goes with a child.
    pub fn bounds(&self) -> Bounds {
        let Limits { processes, memory, file_size, open_files, disk, .. } = self.limits;
        let memory =
            memory.of(rustix::system::sysinfo().totalram as u64 * u64::from(rustix::system::sysinfo().mem_unit));
        let (read, network, env) = (self.read.clone(), self.network.clone(), self.env.clone());
        Bounds { processes, memory, file_size, open_files, disk, read, network, env }
    }
}

/// What children may use up; 0 is no limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Processes and threads at once.
    pub processes: u64,
    /// Memory of all processes of a child together.
    pub memory: Share,
    /// Size of one file.
    pub file_size: ByteSize,
    /// Open files of one process.
    pub open_files: u64,
    /// Most bytes of each output stream that are kept.
    pub output: ByteSize,
    /// Disk space of one workspace.
    pub disk: ByteSize,
}

/// How runs are supervised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuperviseSettings {
    /// How many tasks at once.
    pub jobs: Jobs,
    /// How long attempts wait for a successor of a supervisor that died; zero to end with it.
    pub orphan_grace: Span,
    /// How long an attempt may say and do nothing.
    pub idle: Option<Span>,
    /// How long an attempt may say nothing at all after it began.
    pub start: Option<Span>,
    /// When the silence of an attempt counts.
    pub health: HealthSpans,
    /// The deadline of an attempt, unless its task names one.
    pub wall: Option<Span>,
    /// How often tasks are tried at all, and the rests in between.
    pub retry: RetryPolicy,
    /// When a task may start, beside what its run says.
    pub admission: AdmissionPolicy,
    /// The agents that do a goal, where none is named.
    pub agent: Vec<String>,
    /// The template of what agents are told, in the place of ours.
    pub instructions: Option<String>,
}

impl Default for SuperviseSettings {
    fn default() -> Self {
        SuperviseSettings {
            jobs: Jobs::default(),
            orphan_grace: seconds(600),
            idle: None,
            start: None,
            health: HealthSpans::default(),
            wall: None,
            retry: RetryPolicy::default(),
            admission: AdmissionPolicy {
                reserve_memory: Share::Percent(5),
                reserve_disk: Share::Percent(1),
                overlap: OverlapPolicy::Prefer,
                ..AdmissionPolicy::default()
            },
            agent: Vec::new(),
            instructions: None,
        }
    }
}

/// How many tasks run at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Jobs {
    /// As many as the machine has cores.
    #[default]
    Cores,
    /// So many, but no more than the machine has cores: a project's wish where the user has none.
    AtMost(u32),
    /// So many: the user's wish.
    Exactly(u32),
}

impl Jobs {
    /// The number on a machine with so many cores; never zero.
    pub fn on(self, cores: u32) -> u32 {
        match self {
            Self::Cores => cores.max(1),
            Self::AtMost(number) => number.min(cores).max(1),
            Self::Exactly(number) => number.max(1),
        }
    }
}

/// How results land.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeSettings {
    /// The branch that they land on, unless the command names one.
    pub into: Option<BranchName>,
    /// What commits they become.
    pub strategy: Strategy,
    /// The template of the messages of squash and merge commits.
    pub message: Option<String>,
    /// The commands that judge a merged tree.
    pub gates: Vec<GateSpec>,
    /// Results land on the branch's counterpart on its remote, too.
    pub push: bool,
    /// How long to wait for a lock of git's.
    pub lock_wait: Span,
    /// What becomes of a result that conflicts with the branch.
    pub conflicts: ConflictPolicy,
    /// How often its agent gets that to resolve, where it does.
    pub conflict_rounds: u32,
    /// What becomes of results that change what runs by itself.
    pub sensitive: Sensitive,
}

impl MergeSettings {
    /// How often the agent of a task may resolve a conflict of its result.
    pub fn conflict_rounds(&self) -> u32 {
        match self.conflicts {
            ConflictPolicy::Keep => 0,
            ConflictPolicy::Agent => self.conflict_rounds,
        }
    }
}

/// What cleanup may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CleanSettings {
    /// Nothing younger goes.
    pub min_age: Span,
    /// How long what was removed can be brought back.
    pub retention: Span,
    /// Glob patterns of branches that stay.
    pub protect: Vec<String>,
    /// How much disk what was removed, and logs, may take.
    pub disk_budget: Option<ByteSize>,
    /// How many removals in the trash, runs with logs and bundles of what was saved there may be of each; any number for 0.
    pub count_max: u64,
    /// Most that one removal may save into the repository's objects.
    pub salvage_max: ByteSize,
    /// Patterns of ignored files of a workspace that a removal saves, too; all others are in the trash alone.
    pub salvage_ignored: Vec<String>,
    /// How long one repository may take with `--all-repos`.
    pub deadline: Span,
    /// The command that is told of each `clean --yes`.
    pub notify: Option<String>,
}

impl Default for WorktreeSettings {
    fn default() -> Self {
        WorktreeSettings {
            path: "../{repo}.trees/{workspace}/{repo}".to_owned(),
            base: None,
            stale: StalePolicy::default(),
            fetch_deadline: seconds(20),
            hooks: Hooks::Confined,
            fetch_window: seconds(0),
            submodules: Submodules::Local,
            copy: Vec::new(),
            setup: Vec::new(),
            ports: 1,
            pool: 0,
            pool_free: ByteSize(5 * 1024 * MEBIBYTE),
            pool_age: seconds(7 * DAY_SECONDS),
        }
    }
}

impl WorktreeSettings {
    /// What is kept ready.
    pub fn slots(&self) -> Terms {
        Terms { size: self.pool, free: self.pool_free.0, age: self.pool_age.0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            processes: 4096,
            memory: Share::Percent(80),
            file_size: ByteSize(8 * 1024 * MEBIBYTE),
            open_files: 65_536,
            output: ByteSize(64 * MEBIBYTE),
            disk: ByteSize(20 * 1024 * MEBIBYTE),
        }
    }
}

impl Default for MergeSettings {
    fn default() -> Self {
        MergeSettings {
            into: None,
            strategy: Strategy::default(),
            message: None,
            gates: Vec::new(),
            push: false,
            lock_wait: seconds(10),
            conflicts: ConflictPolicy::default(),
            conflict_rounds: 2,
            sensitive: Sensitive::default(),
        }
    }
}

impl Default for CleanSettings {
    fn default() -> Self {
        CleanSettings {
            min_age: seconds(DAY_SECONDS),
            retention: seconds(14 * DAY_SECONDS),
            protect: Vec::new(),
            disk_budget: None,
            count_max: 0,
            salvage_max: SALVAGE_MAX,
            salvage_ignored: Vec::new(),
            deadline: seconds(600),
            notify: None,
        }
    }
}

fn seconds(number: u64) -> Span {
    Span(Duration::from_secs(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projects_number_of_jobs_stays_within_the_cores_and_the_users_does_not() {
        assert_eq!(Jobs::Cores.on(8), 8);
        assert_eq!(Jobs::AtMost(4).on(8), 4);
        assert_eq!(Jobs::AtMost(1000).on(8), 8, "a project never gets more than the default");
        assert_eq!(Jobs::Exactly(1000).on(8), 1000);
        assert_eq!(Jobs::Cores.on(0), 1, "a run without jobs never ends");
    }
}

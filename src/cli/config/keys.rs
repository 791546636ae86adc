//! The table of keys: each with its name, its form, where it is kept and what a project's file may do to it.
//!
//! A key is here only when something reads it; those that the documentation promises for later are `UNSUPPORTED`, so
//! that they are not mistaken for typing errors.

use super::commands::{Gates, Steps};
use super::forms::{
    Address, Count, Dollars, Fault, Form, Instructions, Maybe, MessageTemplate, Node, Notes, Ports, Program, Reference,
    Rounds, ShellCommand, Slots, Template, Word,
};
use super::lists::{AgentNames, IgnoreLines, Paths, Patterns, Profiles, Secrets, Variables};
use super::nearest::nearest;
use super::settings::{Jobs, Settings};
use crate::model::agent::{AgentChoice, AgentOptions};
use crate::model::conflict::ConflictPolicy;
use crate::model::record::ConfineLevel;
use crate::model::{
    BranchName, ByteSize, GateSpec, Handling, Hooks, Network, OverlapPolicy, SetupStep, Share, Span, StalePolicy,
    Strategy, Submodules,
};

/// One key, of what it is kept in.
pub(super) struct Key<S = Settings> {
    /// The sections and the key, with dots between.
    pub name: &'static str,
    /// What a project's file may do to it.
    pub project: Project<S>,
    /// A text that it accepts.
    pub example: &'static str,
    /// What it accepts.
    pub expected: fn() -> String,
    /// Sets it to a value of a file.
    pub set_toml: fn(&mut S, &Node<'_>, &mut Notes) -> Result<(), Fault>,
    /// Sets it to a bare text.
    pub set_text: fn(&mut S, &str) -> Result<(), String>,
    /// Its value as TOML; `None` when it has none.
    pub value: fn(&S) -> Option<toml::Value>,
}

/// What a project's file may do to a key.
pub(super) enum Project<S = Settings> {
    /// Nothing: it is the user's.
    Refused,
    /// Set it like any other layer.
    Free,
    /// Set it where the function, given the settings without and with the project's value, says that this is no looser;
    /// it may correct the latter.
    Tighten(fn(&S, &mut S) -> bool),
    /// Add to what the user set; the function joins the settings without and with the project's value.
    Add(fn(&S, &mut S)),
}

macro_rules! keys {
    ($($name:literal => $($field:ident).+ : $form:ty, $project:expr;)+) => {
        &[$(Key {
            name: $name,
            project: $project,
            example: <$form>::EXAMPLE,
            expected: <$form>::expected,
            set_toml: |settings, node, notes| {
                settings.$($field).+ = <$form>::from_toml(node, notes)?;
                Ok(())
            },
            set_text: |settings, text| {
                settings.$($field).+ = <$form>::from_text(text)?;
                Ok(())
            },
            value: |settings| <$form>::to_toml(&settings.$($field).+),
        }),+]
    };
}

/// Every key that something reads, in the order of the documentation.
pub(super) const KEYS: &[Key] = keys! {
    "worktree.path" => worktree.path: Template, Project::Refused;
    "worktree.base" => worktree.base: Maybe<Reference>, Project::Free;
    "worktree.stale" => worktree.stale: StalePolicy, Project::Tighten(stale_is_no_looser);
    "worktree.fetch_deadline" => worktree.fetch_deadline: Span, Project::Refused;
    "worktree.fetch_window" => worktree.fetch_window: Span, Project::Refused;
    "worktree.hooks" => worktree.hooks: Hooks, Project::Tighten(hooks_are_no_looser);
    "worktree.submodules" => worktree.submodules: Submodules, Project::Free;
    "worktree.copy" => worktree.copy: IgnoreLines, Project::Add(join_copy);
    "worktree.setup" => worktree.setup: Steps, Project::Tighten(setup_takes_nothing);
    "worktree.ports" => worktree.ports: Ports, Project::Free;
    "worktree.pool" => worktree.pool: Slots, Project::Refused;
    "worktree.pool_free" => worktree.pool_free: ByteSize, Project::Refused;
    "worktree.pool_age" => worktree.pool_age: Span, Project::Refused;
    "confine.level" => confine.level: ConfineLevel, Project::Tighten(level_is_no_looser);
    "confine.network" => confine.network: Network, Project::Tighten(network_is_no_looser);
    "confine.read" => confine.read: Paths, Project::Refused;
    "confine.env" => confine.env: Variables, Project::Refused;
    "confine.limits.processes" => confine.limits.processes: Count, Project::Refused;
    "confine.limits.memory" => confine.limits.memory: Share, Project::Refused;
    "confine.limits.file_size" => confine.limits.file_size: ByteSize, Project::Refused;
    "confine.limits.open_files" => confine.limits.open_files: Count, Project::Refused;
    "confine.limits.disk" => confine.limits.disk: ByteSize, Project::Refused;
    "confine.limits.output" => confine.limits.output: ByteSize, Project::Refused;
    "supervise.jobs" => supervise.jobs: Jobs, Project::Tighten(jobs_are_no_more);
    "supervise.orphan_grace" => supervise.orphan_grace: Span, Project::Refused;
    "supervise.idle" => supervise.idle: Maybe<Span>, Project::Refused;
    "supervise.start" => supervise.start: Maybe<Span>, Project::Refused;
    "supervise.quiet" => supervise.health.quiet: Span, Project::Refused;
    "supervise.stalled" => supervise.health.stalled: Span, Project::Refused;
    "supervise.wall" => supervise.wall: Maybe<Span>, Project::Refused;
    "supervise.attempts" => supervise.retry.attempts: Count, Project::Refused;
    "supervise.backoff" => supervise.retry.backoff: Span, Project::Refused;
    "supervise.backoff_max" => supervise.retry.backoff_max: Span, Project::Refused;
    "supervise.slots" => supervise.admission.slots: Count, Project::Refused;
    "supervise.profile_slots" => supervise.admission.profile_slots: Profiles, Project::Refused;
    "supervise.reserve_memory" => supervise.admission.reserve_memory: Share, Project::Refused;
    "supervise.reserve_disk" => supervise.admission.reserve_disk: Share, Project::Refused;
    "supervise.agent" => supervise.agent: AgentNames, Project::Refused;
    "supervise.instructions" => supervise.instructions: Maybe<Instructions>, Project::Refused;
    "supervise.overlap" => supervise.admission.overlap: OverlapPolicy, Project::Refused;
    "merge.into" => merge.into: Maybe<BranchName>, Project::Free;
    "merge.strategy" => merge.strategy: Strategy, Project::Free;
    "merge.message" => merge.message: Maybe<MessageTemplate>, Project::Free;
    "merge.gates" => merge.gates: Gates, Project::Tighten(gates_take_nothing);
    "merge.push" => merge.push: bool, Project::Refused;
    "merge.lock_wait" => merge.lock_wait: Span, Project::Free;
    "merge.conflicts" => merge.conflicts: ConflictPolicy, Project::Refused;
    "merge.conflict_rounds" => merge.conflict_rounds: Rounds, Project::Refused;
    "merge.sensitive.ci" => merge.sensitive.ci: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.hooks" => merge.sensitive.hooks: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.environment" => merge.sensitive.environment: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.editors" => merge.sensitive.editors: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.agents" => merge.sensitive.agents: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.git_files" => merge.sensitive.git_files: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.treehand" => merge.sensitive.treehand: Handling, Project::Tighten(sensitive_is_no_looser);
    "merge.sensitive.links" => merge.sensitive.links: Handling, Project::Tighten(sensitive_is_no_looser);
    "clean.min_age" => clean.min_age: Span, Project::Refused;
    "clean.retention" => clean.retention: Span, Project::Refused;
    "clean.protect" => clean.protect: Patterns, Project::Add(join_patterns);
    "clean.count_max" => clean.count_max: Count, Project::Refused;
    "clean.disk_budget" => clean.disk_budget: Maybe<ByteSize>, Project::Refused;
    "clean.salvage_ignored" => clean.salvage_ignored: Patterns, Project::Refused;
    "clean.salvage_max" => clean.salvage_max: ByteSize, Project::Refused;
    "clean.deadline" => clean.deadline: Span, Project::Refused;
    "clean.notify" => clean.notify: Maybe<ShellCommand>, Project::Refused;
};

/// The keys of each section `[agent.NAME]`; all of them are the user's.
pub(super) const AGENT_KEYS: &[Key<AgentOptions>] = keys! {
    "command" => command: Maybe<Program>, Project::Refused;
    "model" => model: Maybe<Word>, Project::Refused;
    "effort" => effort: Maybe<Word>, Project::Refused;
    "base_url" => base_url: Maybe<Address>, Project::Refused;
    "fallback" => fallback: AgentNames, Project::Refused;
    "env" => env: Variables, Project::Refused;
    "secrets" => secrets: Secrets, Project::Refused;
    "network" => network: Maybe<Network>, Project::Refused;
    "budget.tokens" => budget.tokens: Maybe<Count>, Project::Refused;
    "budget.cost" => budget.cost_micros: Maybe<Dollars>, Project::Refused;
    "budget.turns" => budget.turns: Maybe<Count>, Project::Refused;
};

/// The section of agents.
const AGENT: &str = "agent";

/// Keys and sections that the documentation names and nothing reads yet; all of them are the user's.
const UNSUPPORTED: [&str; 1] = ["worktree.branch"];

fn stale_is_no_looser(user: &Settings, with_project: &mut Settings) -> bool {
    let (user, project) = (user.worktree.stale, with_project.worktree.stale);
    project == StalePolicy::Block || project == user || (user, project) == (StalePolicy::Warn, StalePolicy::Update)
}

fn hooks_are_no_looser(user: &Settings, with_project: &mut Settings) -> bool {
    let (user, project) = (user.worktree.hooks, with_project.worktree.hooks);
    project == Hooks::Never || project == user || (user, project) == (Hooks::Unconfined, Hooks::Confined)
}

/// A project's gates come after the user's, and are commands and no more: what of the network and of variables they get is the
/// user's to say.
fn gates_take_nothing(user: &Settings, with_project: &mut Settings) -> bool {
    let takes_nothing = |gate: &GateSpec| {
        gate.env.is_empty() && gate.secrets.is_empty() && gate.net.as_ref().is_none_or(|net| *net == Network::None)
    };
    join(&user.merge.gates, &mut with_project.merge.gates).iter().all(takes_nothing)
}

/// The same for setup steps.
fn setup_takes_nothing(user: &Settings, with_project: &mut Settings) -> bool {
    let takes_nothing = |step: &SetupStep| {
        step.env.is_empty() && step.secrets.is_empty() && step.net.as_ref().is_none_or(|net| *net == Network::None)
    };
    join(&user.worktree.setup, &mut with_project.worktree.setup).iter().all(takes_nothing)
}

fn sensitive_is_no_looser(user: &Settings, with_project: &mut Settings) -> bool {
    with_project.merge.sensitive.is_no_looser_than(&user.merge.sensitive)
}

/// `external` rests on the user's word, so a project can neither give it nor take `landlock` for it.
fn level_is_no_looser(user: &Settings, with_project: &mut Settings) -> bool {
    match (user.confine.level, with_project.confine.level) {
        (_, ConfineLevel::Strict) | (ConfineLevel::Off, ConfineLevel::Landlock) => true,
        (user, project) => user == project,
    }
}

/// A project can take the network away, and nothing else about it.
fn network_is_no_looser(user: &Settings, with_project: &mut Settings) -> bool {
    let (user, project) = (&user.confine.network, &with_project.confine.network);
    *project == Network::None || project == user
}

/// How many cores there are is not known here, so a project's number stays bound to them where the user has none.
fn jobs_are_no_more(user: &Settings, with_project: &mut Settings) -> bool {
    match (user.supervise.jobs, with_project.supervise.jobs) {
        (Jobs::Cores, Jobs::Exactly(project)) => {
            with_project.supervise.jobs = Jobs::AtMost(project);
            true
        }
        (Jobs::Exactly(user) | Jobs::AtMost(user), Jobs::Exactly(project)) => project <= user,
        (user, project) => user == project,
    }
}

fn join_patterns(user: &Settings, with_project: &mut Settings) {
    join(&user.clean.protect, &mut with_project.clean.protect);
}

/// The files stay with whoever has them already, and a secret among them needs its literal name.
fn join_copy(user: &Settings, with_project: &mut Settings) {
    join(&user.worktree.copy, &mut with_project.worktree.copy);
}

/// What the project adds, behind what the user has; that is the answer.
fn join<'a, T: Clone + PartialEq>(user: &[T], with_project: &'a mut Vec<T>) -> &'a [T] {
    let project = std::mem::replace(with_project, user.to_vec());
    with_project.extend(project.into_iter().filter(|item| !user.contains(item)));
    &with_project[user.len()..]
}

/// A key, where it is kept.
#[derive(Clone)]
pub(super) enum Slot {
    /// One of its own.
    Own(&'static Key),
    /// That of an agent.
    OfAgent(String, &'static Key<AgentOptions>),
}

impl Slot {
    /// The sections and the key, with dots between.
    pub fn name(&self) -> String {
        match self {
            Slot::Own(key) => key.name.to_owned(),
            Slot::OfAgent(agent, key) => format!("{AGENT}.{agent}.{}", key.name),
        }
    }

    /// What it accepts.
    pub fn expected(&self) -> String {
        match self {
            Slot::Own(key) => (key.expected)(),
            Slot::OfAgent(_, key) => (key.expected)(),
        }
    }

    /// A text that it accepts.
    pub fn example(&self) -> &'static str {
        match self {
            Slot::Own(key) => key.example,
            Slot::OfAgent(_, key) => key.example,
        }
    }

    /// Sets it to a value of a file.
    pub fn set_toml(&self, settings: &mut Settings, node: &Node<'_>, notes: &mut Notes) -> Result<(), Fault> {
        match self {
            Slot::Own(key) => (key.set_toml)(settings, node, notes),
            Slot::OfAgent(agent, key) => (key.set_toml)(settings.agents.entry(agent.clone()).or_default(), node, notes),
        }
    }

    /// Sets it to a bare text.
    pub fn set_text(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match self {
            Slot::Own(key) => (key.set_text)(settings, text),
            Slot::OfAgent(agent, key) => (key.set_text)(settings.agents.entry(agent.clone()).or_default(), text),
        }
    }

    /// Its value as TOML; `None` when it has none.
    pub fn value(&self, settings: &Settings) -> Option<toml::Value> {
        match self {
            Slot::Own(key) => (key.value)(settings),
            Slot::OfAgent(agent, key) => (key.value)(settings.agents.get(agent)?),
        }
    }
}

/// What a name stands for.
pub(super) enum Named {
    /// A key.
    Key(Slot),
    /// A section: keys begin with it.
    Section,
    /// A key, or a part of one, that nothing reads yet.
    Unsupported,
    /// Nothing.
    Unknown,
}

/// Looks a dotted name up.
pub(super) fn look_up(name: &str) -> Named {
    let inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        Named::Key(Slot::Own(key))
    } else if KEYS.iter().any(|key| inside(key.name, name)) {
        Named::Section
    } else if UNSUPPORTED.iter().any(|unsupported| name == *unsupported || inside(name, unsupported)) {
        Named::Unsupported
    } else if name == AGENT {
        Named::Section
    } else if let Some(rest) = name.strip_prefix("agent.") {
        look_up_of_agent(rest)
    } else {
        Named::Unknown
    }
}

/// Looks up what stands behind `agent.`.
fn look_up_of_agent(rest: &str) -> Named {
    let (agent, key) = rest.split_once('.').map_or((rest, None), |(agent, key)| (agent, Some(key)));
    let is_name = agent.parse::<AgentChoice>().is_ok_and(|choice| choice.model.is_none());
    match key {
        _ if !is_name => Named::Unknown,
        None | Some("budget") => Named::Section,
        Some(key) => match AGENT_KEYS.iter().find(|known| known.name == key) {
            Some(known) => Named::Key(Slot::OfAgent(agent.to_owned(), known)),
            None => Named::Unknown,
        },
    }
}

/// The known key, or section for the name of one, that is most like a name that is not known.
pub(super) fn nearest_key(name: &str) -> Option<String> {
    if let Some((agent, key)) = name.strip_prefix("agent.").and_then(|rest| rest.split_once('.')) {
        let near = nearest(key, AGENT_KEYS.iter().map(|key| key.name));
        return near.map(|near| format!("{AGENT}.{agent}.{near}"));
    }
    let sections = KEYS.iter().filter_map(|key| Some(key.name.rsplit_once('.')?.0));
    nearest(name, KEYS.iter().map(|key| key.name).chain(sections)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_accepts_its_example_and_reads_back_what_it_shows() {
        for key in KEYS {
            let mut settings = Settings::default();
            (key.set_text)(&mut settings, key.example).expect("a key accepts its example");
            let shown = (key.value)(&settings).expect("an example is a value").to_string();
            let node = toml::de::DeValue::parse(&shown).expect("a shown value is TOML");
            let mut again = Settings::default();
            let taken = (key.set_toml)(&mut again, &node, &mut Notes::new());
            assert_eq!((taken, again), (Ok(()), settings), "{}", key.name);
        }
    }

    #[test]
    fn no_name_is_both_a_key_and_unsupported_or_a_section() {
        for key in KEYS {
            assert!(matches!(look_up(key.name), Named::Key(found) if found.name() == key.name));
            assert!(!UNSUPPORTED.iter().any(|name| key.name.starts_with(name)), "{}", key.name);
        }
        for name in UNSUPPORTED {
            assert!(matches!(look_up(name), Named::Unsupported), "{name}");
        }
        assert!(matches!(look_up("agent.codex.model"), Named::Key(found) if found.name() == "agent.codex.model"));
        for name in ["agent", "agent.codex", "agent.codex.budget"] {
            assert!(matches!(look_up(name), Named::Section), "{name}");
        }
        for name in ["agent.-x", "agent.codex.modell", "agent..model"] {
            assert!(matches!(look_up(name), Named::Unknown), "{name}");
        }
        assert!(matches!(look_up("confine.limits"), Named::Section));
        assert!(matches!(look_up("agents"), Named::Unknown));
    }

    #[test]
    fn a_slip_leads_to_the_key_that_was_meant() {
        let check = |name, expected: Option<&str>| assert_eq!(nearest_key(name).as_deref(), expected, "{name}");
        check("agent.codex.modle", Some("agent.codex.model"));
        check("worktree.fetch_deadlin", Some("worktree.fetch_deadline"));
        check("worktre", Some("worktree"));
        check("confine.limit", Some("confine.limits"));
        check("worktre.stale", Some("worktree.stale"));
        check("stale", Some("worktree.stale"));
        check("clean.retentoin", Some("clean.retention"));
        check("merge.into_", Some("merge.into"));
        check("merge.colour", None);
        check("", None);
        check(&"x".repeat(10_000), None);
    }

    #[test]
    fn confinement_is_ordered_by_what_a_project_may_ask_for() {
        use ConfineLevel as L;
        let allowed = [(L::Off, L::Landlock), (L::Off, L::Strict), (L::External, L::Strict), (L::Landlock, L::Strict)];
        let all = [L::Strict, L::Landlock, L::External, L::Off];
        for (user, project) in all.into_iter().flat_map(|user| all.map(|project| (user, project))) {
            let with = |level| {
                let mut settings = Settings::default();
                settings.confine.level = level;
                settings
            };
            let expected = user == project || allowed.contains(&(user, project));
            assert_eq!(level_is_no_looser(&with(user), &mut with(project)), expected, "{user} then {project}");
        }
    }
}

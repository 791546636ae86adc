//! What an attempt of an agent has beyond what any child has: its command line, variables and files, what it is lent, its network and
//! its limits. Thought out first, and nothing made; then laid out in its home.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::loan::{self, Lent};
use crate::agent::command::{self, Start, Surroundings};
use crate::agent::profile::{Profile, ProfileError};
use crate::confine::Launch;
use crate::confine::policy::AgentWatch;
use crate::model::agent::{AgentChoice, AgentRecord, AgentSetup, Budget};
use crate::model::record::{ConfineLevel, RunRecord, TaskRecord};
use crate::model::{HostPort, Network, VariableName};
use crate::orchestrator::error::RunError;
use crate::sys::{env, fs};

/// How long an agent may run, where neither task, user nor profile says.
const WALL: Duration = Duration::from_secs(3600);

/// An agent that has an attempt of a task.
#[derive(Clone, Debug)]
pub struct Agent<'a> {
    /// What the run knows of it.
    pub setup: &'a AgentSetup,
    /// Its profile.
    pub profile: Profile,
    /// As it was asked for.
    pub choice: &'a AgentChoice,
}

/// Everything that an agent is started with.
#[derive(Debug)]
pub struct Equipment {
    /// Arguments, variables, files, standard input.
    pub start: Start,
    /// What it is lent.
    pub lent: Lent,
    /// Its program.
    pub program: PathBuf,
    /// treehand's own.
    pub treehand: PathBuf,
}

/// The profile of one of a run's agents.
pub fn profile_of(run: &RunRecord, name: &str) -> Option<Profile> {
    profile(run.agents.iter().find(|setup| setup.name == name)?)
}

/// A profile as a run keeps it; `None` for one that an older or newer treehand wrote otherwise.
pub fn profile(setup: &AgentSetup) -> Option<Profile> {
    serde_json::from_value(setup.profile.clone()).ok()
}

/// The variables of an agent whose values are kept out of everything that is kept.
pub fn secret_names(setup: &AgentSetup) -> Vec<VariableName> {
    let of_profile = profile(setup).map(|profile| profile.env.secrets).unwrap_or_default();
    of_profile.into_iter().chain(setup.options.secrets.iter().cloned()).collect()
}

/// True for an agent that can go on with a conversation.
pub fn can_resume(run: &RunRecord, name: &str) -> bool {
    profile_of(run, name).is_some_and(|profile| profile.can_resume())
}

/// The agent of a task's next attempt; `None` for a plain command.
pub fn next<'a>(run: &'a RunRecord, task: &'a TaskRecord) -> Result<Option<Agent<'a>>, RunError> {
    task.next_agent().map(|choice| of(run, choice)).transpose()
}

/// One of the agents of a run.
pub fn of<'a>(run: &'a RunRecord, choice: &'a AgentChoice) -> Result<Agent<'a>, RunError> {
    let setup = run.agents.iter().find(|setup| setup.name == choice.profile);
    let unknown = || RunError::UnknownAgent { name: choice.profile.clone(), known: Vec::new() };
    let setup = setup.ok_or_else(unknown)?;
    let profile = profile_of(run, &choice.profile).ok_or_else(unknown)?;
    Ok(Agent { setup, profile, choice })
}

/// What an attempt of an agent may use up that is on record; the rest of its run is not looked at.
pub fn budget_of(run: &RunRecord, task: &TaskRecord, recorded: &AgentRecord) -> Option<Budget> {
    let setup = run.agents.iter().find(|setup| setup.name == recorded.profile)?;
    let choice = task.spec.agents.iter().find(|choice| choice.profile == recorded.profile)?;
    let agent = Agent { setup, profile: profile_of(run, &recorded.profile)?, choice };
    Some(agent.budget(task).beyond(recorded.carried))
}

/// How long an attempt of an agent may run that is on record.
pub fn deadline_of(run: &RunRecord, task: &TaskRecord, recorded: &AgentRecord) -> Option<Duration> {
    let wall = profile_of(run, &recorded.profile)?.limits.wall;
    Some(task.spec.timeout.or(wall).map_or(WALL, |span| span.0))
}

/// The model of an agent: the one that its task names, else the user's.
pub fn model(run: &RunRecord, choice: &AgentChoice) -> Option<String> {
    of(run, choice).ok().and_then(|agent| agent.model())
}

impl Agent<'_> {
    fn model(&self) -> Option<String> {
        self.choice.model.clone().or_else(|| self.setup.options.model.clone())
    }

    /// What is known when it is to be started: its own part; places and texts are the attempt's.
    pub fn surroundings(&self, task: &TaskRecord, level: ConfineLevel) -> Result<Surroundings, RunError> {
        let options = &self.setup.options;
        Ok(Surroundings {
            model: self.model(),
            effort: task.spec.effort.clone().or_else(|| options.effort.clone()),
            base_url: options.base_url.clone(),
            treehand: own_program()?,
            confined: matches!(level, ConfineLevel::Strict | ConfineLevel::Landlock),
            ..Surroundings::default()
        })
    }

    /// Everything that it is started with; nothing is made.
    pub fn equip(&self, known: &Surroundings) -> Result<Equipment, RunError> {
        let missing = || RunError::Missing { name: self.setup.name.clone(), install: self.profile.install.clone() };
        let start = command::start(&self.profile, known).map_err(|source| self.wrong(source))?;
        Ok(Equipment {
            start,
            lent: loan::choose(&self.profile, known)?,
            program: self.setup.program.clone().ok_or_else(missing)?,
            treehand: known.treehand.clone(),
        })
    }

    fn wrong(&self, source: ProfileError) -> RunError {
        RunError::Profile { name: self.setup.name.clone(), source }
    }

    /// Gives it to a child: command line, variables, secrets, what it sees, network and limits.
    pub fn furnish(&self, launch: &mut Launch, task: &TaskRecord, gets: &Equipment) -> Result<(), RunError> {
        let options = &self.setup.options;
        launch.argv = std::iter::once(&gets.program)
            .map(|program| program.to_string_lossy().into_owned())
            .chain(gets.start.args.iter().cloned())
            .collect();
        launch.set(gets.start.env.clone());
        launch.give(&passed(&self.profile.env.pass), &self.secrets())?;
        launch.give(&options.env, &options.secrets)?;
        launch.secrets.extend(gets.lent.secrets.iter().cloned());
        launch.reach.read.extend(self.setup.reads.iter().cloned());
        launch.reach.read.push(gets.treehand.clone());
        launch.network = self.network(task, &launch.network);
        let limits = &self.profile.limits;
        launch.timeout = launch.timeout.or(limits.wall.map(|span| span.0)).or(Some(WALL));
        launch.idle = launch.idle.or(limits.idle.map(|span| span.0));
        launch.start_up = launch.start_up.or(limits.start.map(|span| span.0));
        launch.grace = Some(self.profile.stop.grace.0);
        if let Some(memory) = limits.memory {
            launch.limits.memory = Some(launch.limits.memory.map_or(memory.0, |most| most.min(memory.0)));
        }
        Ok(())
    }

    /// The secrets of its profile that are set here: which of them it needs, it knows best.
    fn secrets(&self) -> Vec<VariableName> {
        let here = env::vars();
        let is_set = |name: &&VariableName| here.iter().any(|(set, value)| name.as_str() == set && !value.is_empty());
        self.profile.env.secrets.iter().filter(is_set).cloned().collect()
    }

    /// What of the network it reaches: what the task says, else what the user says of the agent, else what it needs beside what any
    /// child has.
    fn network(&self, task: &TaskRecord, any: &Network) -> Network {
        if let Some(asked) = &task.spec.net {
            return asked.clone();
        }
        let own = self.setup.options.network.as_ref().unwrap_or(&self.profile.network);
        let server = self.setup.options.base_url.as_deref().and_then(server);
        let reached = match (own, any) {
            (Network::Full, _) | (_, Network::Full) => return Network::Full,
            (own, any) => [own, any],
        };
        let of = |network: &Network| match network {
            Network::Hosts(hosts) => hosts.clone(),
            Network::None | Network::Full => Vec::new(),
        };
        let mut hosts: Vec<HostPort> = Vec::new();
        for host in reached.into_iter().flat_map(of).chain(server) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if hosts.is_empty() { Network::None } else { Network::Hosts(hosts) }
    }

    /// What its attempt may use up: as the task says, else the user, else its profile.
    pub fn budget(&self, task: &TaskRecord) -> Budget {
        let limits = &self.profile.limits;
        let own = Budget { turns: limits.turns, turns_without_tool: limits.turns_without_tool, ..Budget::default() };
        task.spec.budget.or(self.setup.options.budget).or(own)
    }

    /// How it is watched.
    pub fn watch(&self, budget: Budget, endpoint: PathBuf) -> AgentWatch {
        AgentWatch { output: self.profile.output.clone(), budget, endpoint }
    }

    /// Its attempt, as it is written down when it begins.
    pub fn record(&self, known: &Surroundings, lent: &Lent) -> AgentRecord {
        AgentRecord {
            profile: self.setup.name.clone(),
            model: known.model.clone(),
            program: self.setup.program.clone().unwrap_or_default(),
            version: self.setup.version.clone(),
            resumed: known.session.clone(),
            loans: lent.loans.clone(),
            ..AgentRecord::default()
        }
    }
}

impl Equipment {
    /// Lays files and loans out in its home; its standard input is written beside its log, where it does not see it.
    pub fn lay_out(&self, home: &Path, log: &Path) -> Result<Option<PathBuf>, RunError> {
        for (path, content) in &self.start.files {
            fs::write_beneath(home, path, content.as_bytes(), None)?;
        }
        self.lent.hand_out(home)?;
        let Some(text) = &self.start.stdin else { return Ok(None) };
        let input = log.with_extension("prompt");
        if let Some(directory) = input.parent() {
            fs::create_private_dir_all(directory)?;
        }
        fs::write_atomic(&input, text.as_bytes())?;
        Ok(Some(input))
    }
}

fn passed(names: &[VariableName]) -> Vec<crate::model::Variable> {
    names.iter().cloned().map(crate::model::Variable::passed).collect()
}

/// The host and port of a model's server.
pub fn server(address: &str) -> Option<HostPort> {
    let host = command::host(address)?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let port = if address.starts_with("https:") { 443 } else { 80 };
    host.parse().or_else(|_| format!("{host}:{port}").parse()).ok()
}

/// Our own program, as one in a sandbox starts it: the file that has its name now, where ours was replaced.
fn own_program() -> Result<PathBuf, RunError> {
    let own = env::own_executable().map_err(RunError::io("cannot find treehand's own program"))?;
    let text = own.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| own.clone(), PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_an_address_has_a_port() {
        let of = |address| server(address).map(|host| host.to_string());
        assert_eq!(of("http://127.0.0.1:8080/v1").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(of("https://api.example.com/v1").as_deref(), Some("api.example.com:443"));
        assert_eq!(of("http://user:pw@host").as_deref(), Some("host:80"));
        assert_eq!(of("host"), None);
    }
}

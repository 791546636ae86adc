//! What the tasks of a planned run, and the setup steps before them, would be confined by: the policy that each would get, with
//! nothing made yet; and which of them would change the same files.
//!
//! Scan: looks at the machine and the repository. Values of variables and secrets are not in the answer, only their names.

use std::path::PathBuf;

use serde::Serialize;

use super::agents::equip::{self, Agent};
use super::context::RunError;
use super::precedence::Overlaps;
use super::setup as own_setup;
use super::start::RunPlan;
use super::task_attempt;
use crate::agent::command::Surroundings;
use crate::agent::invocation::{self, Invocation};
use crate::confine::Launch;
use crate::confine::policy::{Limits, Mount};
use crate::model::record::{ConfineLevel, TaskRecord};
use crate::model::{Network, OverlapPolicy, SetupStep, TaskId, Token};
use crate::worktree::Repository;
use crate::worktree::exported::Exported;
use crate::worktree::ports;
use crate::worktree::reach::{self, Quarters};
use crate::worktree::sealed::SealedPaths;
use crate::worktree::setup;

/// Most others that are named for one task.
const MEETINGS_MAX: usize = 50;

/// Another task that may change the same files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Meeting {
    /// Which.
    pub task: TaskId,
    /// The patterns by which they meet, its own and that of the other.
    pub paths: Vec<(String, String)>,
}

/// The others that a task meets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Meetings {
    /// In the order of the file; the first of them, where there are very many.
    pub with: Vec<Meeting>,
    /// How many there are.
    pub count: usize,
}

/// Which tasks would change the same files as others, in the order of the file; those that meet nobody are left out.
pub fn foresee_meetings(plan: &RunPlan) -> Vec<(TaskId, Meetings)> {
    let place = |id: &TaskId| plan.tasks.iter().position(|task| task.id == *id);
    let declared = |task: &'_ TaskRecord| task.spec.needs.iter().filter_map(place).collect();
    let tasks: Vec<(&[String], Vec<usize>)> =
        plan.tasks.iter().map(|task| (&task.spec.paths[..], declared(task))).collect();
    // Whatever the policy is: under any it can be asked who meets whom.
    let mut overlaps = Overlaps::new(OverlapPolicy::Wait, &tasks);
    let mut found = Vec::new();
    for (one, task) in plan.tasks.iter().enumerate() {
        let mut meetings = Meetings::default();
        for (other, with) in plan.tasks.iter().enumerate() {
            if overlaps.meet(one, other) {
                meetings.count += 1;
                if meetings.with.len() < MEETINGS_MAX {
                    let words = |(mine, theirs): (usize, usize)| {
                        (task.spec.paths[mine].clone(), with.spec.paths[theirs].clone())
                    };
                    let paths = overlaps.pairs(one, other).into_iter().map(words).collect();
                    meetings.with.push(Meeting { task: with.id.clone(), paths });
                }
            }
        }
        if meetings.count > 0 {
            found.push((task.id.clone(), meetings));
        }
    }
    found
}

/// What a task would get.
#[derive(Clone, Debug, Serialize)]
pub struct Foreseen {
    /// The level.
    pub confine: ConfineLevel,
    /// What it would see of the file system; nothing where nothing confines it.
    pub mounts: Vec<Mount>,
    /// Symbolic links beside them.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// The names of its variables, secrets included.
    pub environment: Vec<String>,
    /// The network that it could reach.
    pub network: Network,
    /// What it could use up.
    pub limits: Limits,
    /// How long it could take, in milliseconds, where that is known beforehand.
    pub timeout_ms: Option<u64>,
}

/// Looks ahead for one task.
pub fn foresee(repo: &Repository, plan: &RunPlan, task: &TaskRecord) -> Result<Foreseen, RunError> {
    let Invocation { argv, env } = invocation::invocation(&plan.run.id, &task.spec, 1);
    let agent = first_agent(plan, task)?;
    let gets = agent.as_ref().map(|agent| agent.equip(&known_of(repo, plan, task, agent)?)).transpose()?;
    seen(repo, plan, task, argv, |launch, exported| {
        task_attempt::furnish(launch, task, env, exported)?;
        match (&agent, &gets) {
            (Some(agent), Some(gets)) => agent.furnish(launch, task, gets),
            _ => Ok(()),
        }
    })
}

/// What the agent of a task would be told; `None` for a plain command.
pub fn foresee_told(repo: &Repository, plan: &RunPlan, task: &TaskRecord) -> Result<Option<String>, RunError> {
    let Some(agent) = first_agent(plan, task)? else { return Ok(None) };
    let known = known_of(repo, plan, task, &agent)?;
    task_attempt::told(&plan.run, task, (&agent, &known), (None, Vec::new())).map(Some)
}

/// The agent that a task would begin with: the first that is there.
fn first_agent<'p>(plan: &'p RunPlan, task: &'p TaskRecord) -> Result<Option<Agent<'p>>, RunError> {
    for choice in &task.spec.agents {
        let agent = equip::of(&plan.run, choice)?;
        if agent.setup.program.is_some() {
            return Ok(Some(agent));
        }
    }
    Ok(None)
}

fn known_of(repo: &Repository, plan: &RunPlan, task: &TaskRecord, agent: &Agent<'_>) -> Result<Surroundings, RunError> {
    let paths = SealedPaths::of_task(repo, &plan.run.template, &plan.run.id, &task.id)?;
    task_attempt::surroundings(&plan.run, task, agent, (&paths, plan.run.confine))
}

/// Looks ahead for a setup step in the tree of a task.
pub fn foresee_step(
    repo: &Repository,
    plan: &RunPlan,
    task: &TaskRecord,
    step: &SetupStep,
) -> Result<Foreseen, RunError> {
    seen(repo, plan, task, setup::argv(step), |launch, exported| {
        launch.env.extend(own_setup::told(&plan.run.id, "TREEHAND_TASK", task.id.as_str()));
        launch.env.extend(exported.variables());
        Ok(setup::give(launch, step)?)
    })
}

fn seen(
    repo: &Repository,
    plan: &RunPlan,
    task: &TaskRecord,
    argv: Vec<String>,
    furnish: impl FnOnce(&mut Launch, &Exported<'_>) -> Result<(), RunError>,
) -> Result<Foreseen, RunError> {
    let run = &plan.run;
    let machine = reach::machine(repo);
    let paths = SealedPaths::of_task(repo, &run.template, &run.id, &task.id)?;
    let store = paths.private.parent().unwrap_or(&paths.private).join("base.git/objects");
    let reach = reach::planned(repo, &paths, &[store], &machine)?;
    let command = (argv, Token::from_bytes([0; 16]));
    let mut launch = reach::launch_in(&Quarters::of_sealed(&paths), reach, &run.bounds, run.confine, command);
    let name = format!("{}/{}", run.id, task.id);
    let ports = ports::foreseen(repo, &paths.tree, run.ports);
    let (branch, base, path) = (&task.branch, &run.base.commit, &paths.tree);
    let exported = Exported { name: &name, branch, base, path, repo: &repo.name, ports: &ports };
    furnish(&mut launch, &exported)?;
    let policy = launch.policy(run.confine, &machine);
    let mut environment: Vec<String> = policy.env.into_iter().map(|(name, _)| name).collect();
    environment.sort_unstable();
    let (mounts, links, timeout_ms) = (policy.view.mounts, policy.view.links, policy.timeout_ms);
    let (network, limits) = (policy.network, policy.limits);
    Ok(Foreseen { confine: run.confine, mounts, links, environment, network, limits, timeout_ms })
}

//! What the tasks of a planned run would be confined by: the policy that each would get, with nothing made yet.
//!
//! Scan: looks at the machine and the repository. Values of variables and secrets are not in the answer, only their names.

use std::path::PathBuf;

use serde::Serialize;

use super::context::RunError;
use super::start::RunPlan;
use super::worker;
use crate::agent::profile;
use crate::confine::policy::{Limits, Mount};
use crate::model::record::{ConfineLevel, TaskRecord};
use crate::model::{Network, Token};
use crate::worktree::Repository;
use crate::worktree::exported::Exported;
use crate::worktree::reach::{self, Quarters};
use crate::worktree::sealed::SealedPaths;

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
}

/// Looks ahead for one task.
pub fn foresee(repo: &Repository, plan: &RunPlan, task: &TaskRecord) -> Result<Foreseen, RunError> {
    let run = &plan.run;
    let machine = reach::machine(repo);
    let paths = SealedPaths::of_task(repo, &run.template, &run.id, &task.id)?;
    let store = paths.private.parent().unwrap_or(&paths.private).join("base.git/objects");
    let reach = reach::planned(repo, &paths, &[store], &machine)?;
    let invocation = profile::invocation(&run.id, &task.spec, 1);
    let command = (invocation.argv, Token::from_bytes([0; 16]));
    let mut launch = reach::launch_in(&Quarters::of_sealed(&paths), reach, &run.bounds, run.confine, command);
    let name = format!("{}/{}", run.id, task.id);
    let exported =
        Exported { name: &name, branch: &task.branch, base: &run.base.commit, path: &paths.tree, repo: &repo.name };
    worker::furnish(&mut launch, task, invocation.env, &exported)?;
    let policy = launch.policy(run.confine, &machine);
    let mut environment: Vec<String> = policy.env.into_iter().map(|(name, _)| name).collect();
    environment.sort_unstable();
    let (mounts, links) = (policy.view.mounts, policy.view.links);
    Ok(Foreseen { confine: run.confine, mounts, links, environment, network: policy.network, limits: policy.limits })
}

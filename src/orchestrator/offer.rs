//! From work that is there already, on branches of a person's, to a run whose results it is: nothing is run, everything lands as
//! results of tasks do, through the same queue and the same gates, and is taken back in the same way.
//!
//! An offer is the commit that its branch is at now; what comes onto the branch later is another one. A branch of the run holds
//! it until it is over.

use std::collections::BTreeSet;

use super::context::RunError;
use super::start::{self, RunPlan, StartSettings};
use crate::agent::profile::COMMAND;
use crate::confine;
use crate::model::agent::Budget;
use crate::model::record::TaskRecord;
use crate::model::{BaseReport, BranchName, CommitId, GateSpec, RunSpec, Strategy, TaskId, TaskSpec, TaskState};
use crate::worktree::import::{RefChange, update_refs};
use crate::worktree::sealed::Identity;
use crate::worktree::{Repository, WorktreeError, reach};

/// What a person wants to land.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// How they call it: a workspace, or a branch.
    pub label: String,
    /// The commit on top of which the work begins.
    pub base: CommitId,
    /// The work.
    pub commit: CommitId,
    /// The operation that it takes back, where that is what it does.
    pub reverts: Option<i64>,
}

/// What is asked of a run that only lands what is there.
pub fn spec(goal: String, into: &BranchName, gates: Vec<GateSpec>, strategy: Option<Strategy>) -> RunSpec {
    RunSpec {
        goal: Some(goal),
        base: None,
        into: Some(into.clone()),
        stale: None,
        gates,
        strategy,
        merge: None,
        jobs: None,
        budget: Budget::default(),
        tasks: Vec::new(),
    }
}

/// Plans a run of which these are the results; nothing is made.
pub fn plan(
    repo: &Repository,
    offers: &[Offer],
    (into, tip): (&BranchName, &CommitId),
    spec: RunSpec,
    settings: &StartSettings,
) -> Result<RunPlan, RunError> {
    confine::require(settings.confine, &reach::ground(repo))?;
    super::sockets::require_place()?;
    Identity::of_user(repo)?;
    start::check_secrets(&spec, &settings.setup)?;
    start::refuse_name_clash(repo)?;
    let ids = ids(offers)?;
    let one = |(id, offer): (&TaskId, &Offer)| spec_of(id, &offer.label);
    let spec = RunSpec { tasks: ids.iter().zip(offers).map(one).collect(), ..spec };
    let base = BaseReport::fixed(into.as_str(), tip.clone());
    let run = start::run_record(repo, spec.clone(), settings, (base, into.clone(), tip.clone()))?;
    let mut tasks = start::tasks(&run.id, &spec)?;
    for (task, offer) in tasks.iter_mut().zip(offers) {
        offered(task, offer);
    }
    Ok(RunPlan { run, tasks, warnings: Vec::new(), kept: None })
}

fn offered(task: &mut TaskRecord, offer: &Offer) {
    task.state = TaskState::Candidate;
    (task.base, task.commit) = (Some(offer.base.clone()), Some(offer.commit.clone()));
    (task.offered, task.reverts) = (Some(offer.label.clone()), offer.reverts);
}

/// Holds what was offered by the branches of the run, which is on record.
pub fn hold(repo: &Repository, tasks: &[TaskRecord]) -> Result<(), WorktreeError> {
    let change =
        |task: &TaskRecord| RefChange { reference: task.branch.full_ref(), new: task.commit.clone(), expected: None };
    update_refs(repo, &tasks.iter().map(change).collect::<Vec<_>>(), "treehand: offered to land")
}

fn spec_of(id: &TaskId, label: &str) -> TaskSpec {
    TaskSpec { prompt: Some(label.to_owned()), ..TaskSpec::plain(id.clone(), COMMAND, Vec::new()) }
}

/// Most letters of a label in an id.
const ID_MAX: usize = 48;

/// Ids for what is called so: with what an id may not have replaced, and told apart.
fn ids(offers: &[Offer]) -> Result<Vec<TaskId>, RunError> {
    let (mut ids, mut taken) = (Vec::new(), BTreeSet::new());
    for offer in offers {
        let fits = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
        let stem: String = offer.label.chars().map(fits).take(ID_MAX).collect();
        let stem = format!("{}{stem}", if stem.starts_with('-') || stem.is_empty() { "_" } else { "" });
        let names = std::iter::once(stem.clone()).chain((2_u32..).map(|n| format!("{stem}-{n}")));
        for name in names {
            if taken.insert(name.clone()) {
                ids.push(TaskId::parse(&name).map_err(|error| RunError::Usage { message: error.to_string() })?);
                break;
            }
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_branch_is_called_has_an_id_of_its_own() {
        let commit = CommitId::parse(&"a".repeat(40)).expect("an id");
        let (base, reverts) = (commit.clone(), None);
        let offer =
            |label: &str| Offer { label: label.to_owned(), base: base.clone(), commit: commit.clone(), reverts };
        let long = "x".repeat(200);
        let labels = ["feature/x", "feature-x", "feature.x", "-odd", "grün", "", "a..b.lock", &long, &long];
        let ids = ids(&labels.map(offer)).expect("ids");
        let told: BTreeSet<&str> = ids.iter().map(TaskId::as_str).collect();
        assert_eq!(told.len(), labels.len(), "{told:?}");
        assert_eq!(
            ids[..4].iter().map(TaskId::as_str).collect::<Vec<_>>(),
            ["feature-x", "feature-x-2", "feature-x-3", "_-odd"]
        );
    }
}

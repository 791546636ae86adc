//! Decision file: which results land when a person says `merge`.
//!
//! Of a run: what waits to land, and what did not land for a reason that may be gone, with all that it needs. Of tasks that are
//! named: those, also one that waited for a person. What a rule refused lands by no word of treehand's.

use std::collections::BTreeSet;

use crate::model::record::TaskRecord;
use crate::model::{BranchName, ReasonKind, TaskId, TaskState};

/// Why nothing lands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// No result of the run waits.
    #[error("none of its results waits to land")]
    Nothing,
    /// It has nothing to land any more.
    #[error("`{0}` has landed, or changed nothing")]
    EndedWell(TaskId),
    /// It has not come to an end.
    #[error("`{0}` is not over yet")]
    NotOver(TaskId),
    /// It was never captured.
    #[error("`{0}` has no result: `retry` does it again")]
    NoResult(TaskId),
    /// A rule refused it.
    #[error("a rule refused the result of `{task}`: `git merge {branch}` takes it by hand")]
    AgainstRule {
        /// The task.
        task: TaskId,
        /// Where its result is.
        branch: BranchName,
    },
    /// What it builds on has not landed.
    #[error("`{task}` builds on `{need}`, which has not landed and is not to")]
    NeedsAnother {
        /// The task.
        task: TaskId,
        /// What it needs.
        need: TaskId,
    },
}

/// The tasks whose results are to land, in the order of the file; `named` by a person, or none for all that can.
pub fn choose(tasks: &[TaskRecord], named: &[TaskId]) -> Result<Vec<TaskId>, NotAccepted> {
    let mut chosen: BTreeSet<&TaskId> = match named {
        [] => tasks.iter().filter(|task| waits(task)).map(|task| &task.id).collect(),
        named => named.iter().map(|id| acceptable(tasks, id)).collect::<Result<_, _>>()?,
    };
    let lacks = |task: &TaskRecord, chosen: &BTreeSet<&TaskId>| {
        let has = |need: &&TaskId| chosen.contains(need) || tasks.iter().any(|task| task.id == **need && is_in(task));
        task.spec.needs.iter().find(|need| !has(need)).cloned()
    };
    loop {
        let found = tasks.iter().filter(|task| chosen.contains(&task.id));
        let Some((task, need)) = found.filter_map(|task| Some((&task.id, lacks(task, &chosen)?))).next() else { break };
        if !named.is_empty() {
            return Err(NotAccepted::NeedsAnother { task: task.clone(), need });
        }
        chosen.remove(task);
    }
    let chosen: Vec<TaskId> = tasks.iter().map(|task| &task.id).filter(|id| chosen.contains(id)).cloned().collect();
    if chosen.is_empty() { Err(NotAccepted::Nothing) } else { Ok(chosen) }
}

/// What it came to is in the target.
fn is_in(task: &TaskRecord) -> bool {
    matches!(task.state, TaskState::Landed | TaskState::NoChange)
}

fn is_against_rule(task: &TaskRecord) -> bool {
    task.state == TaskState::Rejected && task.reason.as_ref().is_some_and(|reason| reason.kind == ReasonKind::Policy)
}

fn waits(task: &TaskRecord) -> bool {
    let waits = matches!(task.state, TaskState::Candidate | TaskState::Rejected);
    waits && task.commit.is_some() && !is_against_rule(task)
}

fn acceptable<'a>(tasks: &'a [TaskRecord], id: &TaskId) -> Result<&'a TaskId, NotAccepted> {
    use TaskState as S;
    let task = tasks.iter().find(|task| task.id == *id).ok_or(NotAccepted::Nothing)?;
    match task.state {
        S::Landed | S::NoChange => Err(NotAccepted::EndedWell(id.clone())),
        S::Queued | S::Waiting | S::Leased | S::Running | S::Captured => Err(NotAccepted::NotOver(id.clone())),
        _ if is_against_rule(task) => Err(NotAccepted::AgainstRule { task: id.clone(), branch: task.branch.clone() }),
        S::Candidate | S::Rejected | S::NeedsAttention if task.commit.is_some() => Ok(&task.id),
        S::Candidate | S::Rejected | S::NeedsAttention | S::Failed | S::Cancelled | S::Skipped => {
            Err(NotAccepted::NoResult(id.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;
    use crate::store::fixture;

    fn id(name: &str) -> TaskId {
        TaskId::parse(name).expect("a task id")
    }

    fn ids(names: &[&str]) -> Vec<TaskId> {
        names.iter().map(|name| id(name)).collect()
    }

    /// Tasks that have a result.
    fn tasks(rows: &[(&str, &str, &[&str])]) -> Vec<TaskRecord> {
        let mut tasks = fixture::tasks(rows);
        tasks.iter_mut().for_each(|task| task.commit.clone_from(&task.base));
        tasks
    }

    #[test]
    fn of_a_run_everything_that_waits_and_has_what_it_needs() {
        let mut tasks = tasks(&[
            ("a", "landed", &[]),
            ("b", "rejected", &["a"]),
            ("c", "candidate", &["b"]),
            ("d", "needs_attention", &[]),
            ("e", "candidate", &["d"]),
            ("f", "rejected", &["e"]),
            ("g", "rejected", &[]),
            ("h", "failed", &[]),
        ]);
        tasks[6].reason = Some(Reason::new(ReasonKind::Policy, "outside its paths"));
        assert_eq!(choose(&tasks, &[]), Ok(ids(&["b", "c"])));
        tasks[1].commit = None;
        assert_eq!(choose(&tasks, &[]), Err(NotAccepted::Nothing));
    }

    #[test]
    fn of_named_tasks_those_in_the_order_of_the_file_also_what_waited_for_a_person() {
        let tasks = tasks(&[("d", "needs_attention", &[]), ("e", "rejected", &["d"])]);
        assert_eq!(choose(&tasks, &ids(&["e", "d"])), Ok(ids(&["d", "e"])));
        let needs = NotAccepted::NeedsAnother { task: id("e"), need: id("d") };
        assert_eq!(choose(&tasks, &ids(&["e"])), Err(needs));
    }

    #[test]
    fn what_cannot_land_says_why() {
        let mut tasks = tasks(&[
            ("a", "landed", &[]),
            ("b", "running", &[]),
            ("c", "failed", &[]),
            ("d", "rejected", &[]),
            ("e", "needs_attention", &[]),
        ]);
        tasks[3].reason = Some(Reason::new(ReasonKind::Policy, "outside its paths"));
        tasks[4].commit = None;
        let why = |name| choose(&tasks, &[id(name)]).expect_err("it cannot land");
        assert_eq!(why("a"), NotAccepted::EndedWell(id("a")));
        assert_eq!(why("b"), NotAccepted::NotOver(id("b")));
        assert_eq!((why("c"), why("e")), (NotAccepted::NoResult(id("c")), NotAccepted::NoResult(id("e"))));
        assert_eq!(why("d"), NotAccepted::AgainstRule { task: id("d"), branch: tasks[3].branch.clone() });
    }
}

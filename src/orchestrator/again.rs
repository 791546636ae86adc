//! Decision file: which tasks are done again when a person says `retry`.
//!
//! Of a run: those that failed or were cancelled, and what was skipped for their sake. Of a task: that one, however it ended
//! but well, and what could not go on without it. A result that landed is never made again.

use std::collections::BTreeSet;

use crate::model::record::TaskRecord;
use crate::model::{ReasonKind, TaskId, TaskState};

/// Why nothing is done again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAgain {
    /// None of the run's tasks failed or was cancelled.
    #[error("none of its tasks failed or was cancelled")]
    Nothing,
    /// It ended well.
    #[error("`{0}` ended well")]
    EndedWell(TaskId),
    /// It has not come to an end.
    #[error("`{0}` is not over yet")]
    NotOver(TaskId),
    /// A person did it, and nothing that could be done again.
    #[error("`{0}` is a person's own work: it is handed in again by treehand merge {0}")]
    Offered(String),
    /// It takes back an operation, and nothing of it could be done again.
    #[error("it takes back operation {0}: that is done again by treehand undo {0} --revert")]
    Reverts(i64),
    /// Something that it needs did not end well, and would have to be done again first.
    #[error("`{task}` needs `{need}`, which did not end well: retry that one, and this comes after it")]
    NeedsAnother {
        /// The task.
        task: TaskId,
        /// What it needs.
        need: TaskId,
    },
}

/// The tasks to do again, in the order of the file; `only` when a person named one.
pub fn choose(tasks: &[TaskRecord], only: Option<&TaskId>) -> Result<Vec<TaskId>, NotAgain> {
    let mut chosen: BTreeSet<&TaskId> = match only {
        Some(id) => BTreeSet::from([named(tasks, id)?]),
        None => {
            let failed = |task: &&TaskRecord| matches!(task.state, TaskState::Failed | TaskState::Cancelled);
            let ours = |task: &&TaskRecord| task.offered.is_none();
            tasks.iter().filter(failed).filter(ours).map(|task| &task.id).collect()
        }
    };
    // What needs one of them comes after it in a file without circles, but not in its order.
    loop {
        let more = tasks.iter().filter(|task| !chosen.contains(&task.id) && follows(tasks, task, &chosen));
        let more: Vec<&TaskId> = more.map(|task| &task.id).collect();
        if more.is_empty() {
            break;
        }
        chosen.extend(more);
    }
    let blocked = |task: &&TaskRecord| chosen.contains(&task.id);
    for task in tasks.iter().filter(blocked) {
        if let Some(need) = task.spec.needs.iter().find(|need| !chosen.contains(need) && !is_usable(tasks, need)) {
            return Err(NotAgain::NeedsAnother { task: task.id.clone(), need: need.clone() });
        }
    }
    let chosen: Vec<TaskId> = tasks.iter().map(|task| &task.id).filter(|id| chosen.contains(id)).cloned().collect();
    match (chosen.is_empty(), tasks.iter().find_map(handed_in)) {
        (false, _) => Ok(chosen),
        (true, why) => Err(why.unwrap_or(NotAgain::Nothing)),
    }
}

fn named<'a>(tasks: &'a [TaskRecord], id: &TaskId) -> Result<&'a TaskId, NotAgain> {
    use TaskState as S;
    let task = tasks.iter().find(|task| task.id == *id).ok_or(NotAgain::Nothing)?;
    if let Some(why) = handed_in(task) {
        return Err(why);
    }
    match task.state {
        S::Failed | S::Cancelled | S::Skipped | S::Rejected | S::NeedsAttention => Ok(&task.id),
        S::Landed | S::NoChange => Err(NotAgain::EndedWell(id.clone())),
        S::Queued | S::Waiting | S::Leased | S::Running | S::Captured | S::Candidate => {
            Err(NotAgain::NotOver(id.clone()))
        }
    }
}

/// What was there before its run began is not done again by it.
fn handed_in(task: &TaskRecord) -> Option<NotAgain> {
    Some(match (&task.offered, task.reverts) {
        (_, Some(op)) => NotAgain::Reverts(op),
        (Some(label), None) => NotAgain::Offered(label.clone()),
        (None, None) => return None,
    })
}

/// True when a task could not go on for the sake of one of these, and everything else that it needs is there.
fn follows(tasks: &[TaskRecord], task: &TaskRecord, chosen: &BTreeSet<&TaskId>) -> bool {
    let skipped = task.reason.as_ref().is_some_and(|reason| reason.kind == ReasonKind::Skipped);
    let held_up = match task.state {
        TaskState::Skipped => true,
        TaskState::Rejected => skipped,
        _ => false,
    };
    let needs = &task.spec.needs;
    let open = |need: &TaskId| chosen.contains(need) || is_usable(tasks, need) || is_held_up(tasks, need);
    held_up && needs.iter().any(|need| chosen.contains(need)) && needs.iter().all(open)
}

/// A need that may itself be chosen in a later round.
fn is_held_up(tasks: &[TaskRecord], id: &TaskId) -> bool {
    tasks.iter().any(|task| task.id == *id && task.state == TaskState::Skipped)
}

fn is_usable(tasks: &[TaskRecord], id: &TaskId) -> bool {
    let state = tasks.iter().find(|task| task.id == *id).map(|task| task.state);
    matches!(
        state,
        Some(TaskState::Landed | TaskState::NoChange | TaskState::Candidate)
            | Some(
                TaskState::Queued | TaskState::Waiting | TaskState::Leased | TaskState::Running | TaskState::Captured
            )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;
    use crate::store::fixture::tasks;

    #[test]
    fn what_a_person_offered_is_never_done_again() {
        let mut offered = tasks(&[("w", "rejected", &[])]);
        offered[0].offered = Some("feature/w".into());
        for only in [None, Some(&id("w"))] {
            assert_eq!(choose(&offered, only), Err(NotAgain::Offered("feature/w".into())));
        }
    }

    fn id(name: &str) -> TaskId {
        TaskId::parse(name).expect("a task id")
    }

    #[test]
    fn of_a_run_what_failed_and_what_was_skipped_for_it() {
        let tasks = tasks(&[
            ("a", "landed", &[]),
            ("b", "failed", &["a"]),
            ("d", "skipped", &["c"]),
            ("c", "skipped", &["b"]),
            ("e", "cancelled", &[]),
            ("f", "rejected", &[]),
            ("g", "skipped", &["f"]),
        ]);
        assert_eq!(choose(&tasks, None), Ok(vec![id("b"), id("d"), id("c"), id("e")]));
    }

    #[test]
    fn of_a_task_that_one_and_what_could_not_go_on_without_it() {
        let mut tasks = tasks(&[
            ("f", "rejected", &[]),
            ("g", "skipped", &["f"]),
            ("h", "rejected", &["f"]),
            ("i", "rejected", &["f"]),
            ("x", "failed", &[]),
            ("y", "skipped", &["f", "x"]),
        ]);
        tasks[2].reason = Some(Reason::new(ReasonKind::Skipped, "it builds on `f`"));
        assert_eq!(choose(&tasks, Some(&id("f"))), Ok(vec![id("f"), id("g"), id("h")]));
    }

    #[test]
    fn what_ended_well_or_has_not_ended_is_not_done_again() {
        let rows: [(&str, &str, &[&str]); 4] =
            [("a", "landed", &[]), ("b", "running", &[]), ("c", "failed", &[]), ("d", "skipped", &["c"])];
        let tasks = tasks(&rows);
        assert_eq!(choose(&tasks, Some(&id("a"))), Err(NotAgain::EndedWell(id("a"))));
        assert_eq!(choose(&tasks, Some(&id("b"))), Err(NotAgain::NotOver(id("b"))));
        let needs = NotAgain::NeedsAnother { task: id("d"), need: id("c") };
        assert_eq!(choose(&tasks, Some(&id("d"))), Err(needs));
        assert_eq!(choose(&tasks[..1], None), Err(NotAgain::Nothing));
    }
}

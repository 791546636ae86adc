//! What the policy on conflicts makes of a result that its branch does not take: it stays rejected, or its agent gets the conflict to
//! resolve, in the task's own workspace, made anew on the tip of the branch. What comes of that is a result like any other, and
//! goes into the queue again.
//!
//! Promises: the result as it was refused is lost in no case; so many rounds and no more; what still has marks of the conflict
//! does not land. What is about to be done is on record before it is done.

use std::path::Path;

use serde_json::json;

use super::context::{Context, RunError};
use super::queue::place;
use crate::model::conflict::Resolving;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, Reason, ReasonKind, TaskEvent, TaskId, TaskState};
use crate::sys::fs;
use crate::worktree::sealed::SealedPaths;
use crate::worktree::unresolved::{self, Laid};

/// Where a task finds what is in conflict, in its home.
const CONFLICT: &str = ".treehand/conflict.json";

/// How its command finds it.
const VARIABLE: &str = "TREEHAND_CONFLICT";

/// True when the agent of a task gets this conflict to resolve.
fn is_for_its_agent(run: &RunRecord, task: &TaskRecord, reason: &Reason) -> bool {
    let left = task.resolutions < run.conflict_rounds;
    reason.kind == ReasonKind::Conflict && left && task.offered.is_none() && !reason.paths.is_empty()
}

/// Refuses a result whose entry is refused for this reason, or has its conflict resolved; nothing is the answer where a person
/// has put it back at this moment.
pub fn refuse(context: &Context, id: &TaskId, refused: &Reason) -> Result<Option<TaskState>, RunError> {
    let (task, run) = (context.task(id)?, &context.run.id);
    let reason = context.without_secrets(refused.clone())?;
    let wanted = is_for_its_agent(&context.run, &task, &reason) && !context.has_to_stop(id);
    let (Some(commit), Some(base), true) = (task.commit.clone(), task.base.clone(), wanted) else {
        let rejected = context.store(|store| store.reject_refused((run, id), refused, reason))?;
        return Ok(rejected.map(|task| task.state));
    };
    let data = json!({"reason": reason, "round": task.resolutions + 1, "commit": commit, "base": base});
    let resolving = Resolving { commit, base, changes: task.changes, reason };
    let task = context.store(|store| {
        store.move_task(run, id, TaskEvent::Resolve, data, |task| {
            task.resolving = Some(resolving);
            task.resolutions += 1;
            // A round has as many attempts as the task had.
            task.pardoned = u32::try_from(task.attempts.len()).unwrap_or(u32::MAX);
            (task.commit, task.changes, task.told, task.forward) = (None, None, None, None);
        })
    })?;
    Ok(Some(task.state))
}

/// What the workspace begins with in which a conflict is to be resolved: the tip of the branch; why not, where that is gone.
pub fn base(context: &Context) -> Result<Result<CommitId, Reason>, RunError> {
    let gone = || Reason::new(ReasonKind::InTheWay, format!("the branch `{}` is gone", context.run.into));
    Ok(place::look(context, &[])?.tip.ok_or_else(gone))
}

/// Lays the conflict out in the new workspace, and says in the task's home what it is.
pub fn lay_out(
    context: &Context,
    task: &TaskRecord,
    resolving: &Resolving,
    (paths, onto): (&SealedPaths, &CommitId),
) -> Result<(), RunError> {
    let Resolving { commit, base, .. } = resolving;
    let name = &name(context, &task.id);
    let laid = Laid { commit, base, name, onto: (onto, context.run.into.as_str()) };
    let files = unresolved::lay_out(&context.repo, paths, &laid)?;
    let document = json!({
        "into": context.run.into, "onto": onto, "base": resolving.base, "result": resolving.commit, "files": files,
        "round": task.resolutions, "rounds": context.run.conflict_rounds, "why": resolving.reason.message,
    });
    fs::create_private_dir_all(&paths.home.join(".treehand"))?;
    fs::write_beneath(&paths.home, Path::new(CONFLICT), format!("{document}\n").as_bytes(), None)?;
    Ok(())
}

/// The variable that tells a command that it has a conflict to resolve.
pub fn variable(task: &TaskRecord, home: &Path) -> Option<(String, String)> {
    let path = home.join(CONFLICT);
    task.resolving.as_ref().map(|_| (VARIABLE.to_owned(), path.to_string_lossy().into_owned()))
}

/// Why what came of resolving a conflict is not taken, where it still has marks of that.
pub fn left_over(context: &Context, task: &TaskRecord, commit: &CommitId) -> Result<Option<String>, RunError> {
    let (Some(_), Some(onto)) = (&task.resolving, &task.base) else { return Ok(None) };
    let left = unresolved::marked(&context.repo, (onto, commit), &name(context, &task.id))?;
    Ok((!left.is_empty()).then(|| format!("conflict marks are left in {}", left.join(", "))))
}

fn name(context: &Context, id: &TaskId) -> String {
    format!("{}/{id}", context.run.id)
}

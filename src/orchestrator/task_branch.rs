//! Apply: where the branch of a task stands: at its base while it is worked on, at its result afterwards.
//!
//! Nothing that it had is lost: what another commit does not have in its history is saved before the branch goes there.

use super::context::Context;
use crate::model::CommitId;
use crate::model::record::TaskRecord;
use crate::worktree::WorktreeError;
use crate::worktree::import::update_ref;
use crate::worktree::stamp::stamp;

/// The branch of a task stands at this commit; from an earlier attempt it stands there already. What else it has, the result of an
/// earlier attempt that did not land, is saved before it goes.
pub fn put(context: &Context, task: &TaskRecord, base: &CommitId, message: &str) -> Result<(), WorktreeError> {
    let (repo, reference) = (&context.repo, task.branch.full_ref());
    let now = repo.reader().ref_commit(&reference)?;
    match &now {
        Some(now) if now == base => return Ok(()),
        Some(now) if !repo.reader().is_ancestor(now, base)? => {
            let name = format!("refs/treehand/salvage/{}/{}/{}/branch", context.run.id, task.id, stamp()?);
            update_ref(repo, &name, Some(now), None, "treehand: result of an earlier attempt")?;
        }
        _ => {}
    }
    update_ref(repo, &reference, Some(base), now.as_ref(), message)
}

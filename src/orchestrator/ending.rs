//! The end of a run that nobody can supervise any more: what carries its marks is killed, what is open is cancelled.
//!
//! Only for where no successor starts; one that does cancels in order, and reclaims. Whoever calls this holds the run's lock.

use serde_json::json;

use super::context::RunError;
use super::{asking, recover};
use crate::model::{Reason, ReasonKind, RunId, RunState, TaskEvent};
use crate::store::Store;
use crate::sys::proc;
use crate::worktree::Repository;

/// Ends a run here and now.
pub fn end(repo: &Repository, store: &Store, run: &RunId) -> Result<(), RunError> {
    // What its supervisor was landing when it died is landed or not: that is settled before the rest is ended.
    recover::recover(repo, store)?;
    asking::note_cancel(store, run)?;
    let mut states = Vec::new();
    for task in store.tasks(run)? {
        for attempt in task.attempts.iter().filter(|attempt| attempt.ended_at.is_none()) {
            proc::kill_marked(&attempt.token).map_err(RunError::io("cannot end an attempt"))?;
        }
        if task.state.is_terminal() {
            states.push(task.state);
            continue;
        }
        let reason = Reason::new(ReasonKind::Cancelled, "the run was cancelled after its supervisor had died");
        let ended = store.move_task(run, &task.id, TaskEvent::Cancel, json!({}), |task| task.reason = Some(reason))?;
        states.push(ended.state);
    }
    store.set_run_state(run, RunState::derive(&states, true))?;
    Ok(())
}

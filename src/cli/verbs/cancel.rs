//! `cancel`: stops a run, whatever became of its supervisor, or one task of a run that goes on.
//!
//! Returns when what was to stop is over: what ran has ended, what had landed stays landed.

use serde_json::json;

use super::run::report;
use crate::cli::args::CancelArgs;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::model::record::{RunRecord, TaskRecord};
use crate::orchestrator::asking;
use crate::orchestrator::client;
use crate::orchestrator::context::RunError;
use crate::orchestrator::control::Command;
use crate::orchestrator::follow::{self, Followed, OnInterrupt};
use crate::store::Store;

/// Cancels a run or a task.
pub fn run(session: &Session, args: &CancelArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let (run, task) = session.target(&store, &args.target)?;
    if let Some(task) = task {
        return cancel_task(session, &store, &run, &task, args);
    }
    if run.state.is_terminal() {
        return was_over(session, &run);
    }
    let id = &run.id;
    match client::command(&session.repo, &store, id, &Command::Cancel, |store| asking::note_cancel(store, id)) {
        Ok(()) => {
            let _followed = follow::follow(&session.repo, &store, id, None, OnInterrupt::Leave, |_| Ok(()))?;
        }
        Err(RunError::Refused { .. }) if store.run(id)?.state.is_terminal() => {}
        Err(RunError::SupervisorDead { detail, .. }) => {
            session.out.warn(format!("no supervisor can go on with it{detail}; what was left of it has been ended"));
            client::end_here(&session.repo, &store, id)?;
        }
        Err(error) => return Err(error.into()),
    }
    report(session, &store, id).map(|_| 0)
}

fn was_over(session: &Session, run: &RunRecord) -> Result<u8, CliError> {
    let message = format!("run {} is over already: {}", run.id, run.state.word());
    if session.out.is_json() {
        let document = json!({"run": run.id, "state": run.state, "message": message});
        session.out.answer("treehand/run/v1", document, String::new)?;
    } else {
        session.out.say(message);
    }
    Ok(0)
}

fn cancel_task(
    session: &Session,
    store: &Store,
    run: &RunRecord,
    task: &TaskRecord,
    args: &CancelArgs,
) -> Result<u8, CliError> {
    let (id, words) = (&task.id, args.reason.clone().unwrap_or_default());
    let is_over = |store: &Store| store.task(&run.id, id).map(|task| task.state.is_terminal());
    if !is_over(store)? {
        let command = Command::CancelTask { task: id.clone(), words: words.clone() };
        let note = |store: &Store| asking::note_stop(store, &run.id, id, &words);
        client::command(&session.repo, store, &run.id, &command, note)?;
        let followed = follow::follow_until(&session.repo, store, &run.id, |store| Ok(is_over(store)?))?;
        if let Followed::Interrupted(code) = followed {
            return Ok(code);
        }
    }
    report(session, store, &run.id).map(|_| 0)
}

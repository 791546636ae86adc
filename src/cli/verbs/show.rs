//! `show`: one run, or one of its tasks.
//!
//! Only looks, and asks the shims how their attempts are; says when the supervisor of an unfinished run is dead.

use crate::cli::document::{self, Standings};
use crate::cli::error::CliError;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord};
use crate::orchestrator::behind::Looks;
use crate::orchestrator::{client, health};
use crate::store::Store;
use crate::worktree::remote::Lookup;

/// Shows a run or a task.
pub fn run(session: &Session, target: &str) -> Result<u8, CliError> {
    let store = session.look()?;
    let (run, task) = session.target(&store, target)?;
    if !run.state.is_terminal() && !client::is_supervised(&session.repo, &run.id)? {
        session.out.warn(format!("supervisor: dead; end the run with `treehand cancel {}`", run.id));
    }
    let tasks = match task {
        Some(task) => vec![task],
        None => store.tasks(&run.id)?,
    };
    let looked_at = [(run, tasks)];
    let looked = health::look(&looked_at)?;
    let [(run, tasks)] = &looked_at;
    let fresh = standings(session, &store, run, tasks)?;
    let text = || document::run_text(run, tasks, &looked, &fresh);
    session.out.answer("treehand/run/v1", document::run(run, tasks, &looked, &fresh), text)?;
    Ok(0)
}

/// How the bases of these tasks stand, as far as is known here.
pub fn standings(
    session: &Session,
    store: &Store,
    run: &RunRecord,
    tasks: &[TaskRecord],
) -> Result<Standings, CliError> {
    let mut looks = Looks::begin(&session.repo, store, Lookup { recall: true, ..session.lookup(true) })?;
    let mut found = Standings::new();
    for task in tasks {
        match looks.of(run, task, false) {
            Ok(fresh) => found.extend(fresh.map(|fresh| (task.id.clone(), fresh))),
            Err(error) => session.out.warn(format!("how {} stands is not known: {}", task.id, plain(&chain(&error)))),
        }
    }
    Ok(found)
}

//! `show`: one run, or one of its tasks.
//!
//! Only looks, and asks the shims how their attempts are; says when the supervisor of an unfinished run is dead.

use crate::cli::document;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::orchestrator::{client, health};

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
    let text = || document::run_text(run, tasks, &looked);
    session.out.answer("treehand/run/v1", document::run(run, tasks, &looked), text)?;
    Ok(0)
}

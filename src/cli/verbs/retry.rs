//! `retry`: does again what failed or was cancelled in a run, or one task of it, and what was skipped for its sake.
//!
//! From the same base. What an earlier attempt left is in the trash, a result that did not land is saved first.

use super::run::follow_to_end;
use crate::cli::args::AgainArgs;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::orchestrator::again::choose;
use crate::orchestrator::client;
use crate::orchestrator::control::Command;

/// Does tasks again.
pub fn run(session: &Session, args: &AgainArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let (record, task) = session.target(&store, &args.target)?;
    let run = &record.id;
    let tasks = choose(&store.tasks(run)?, task.as_ref().map(|task| &task.id))
        .map_err(|why| CliError::refused(format!("nothing of {} is done again: {why}", args.target)))?;
    if record.state.is_terminal() {
        client::reopen(&session.repo, &store, run, &tasks)?;
        client::ensure_supervised(&session.repo, &store, run)?;
    } else {
        let command = Command::Retry { tasks: tasks.clone() };
        client::command(&session.repo, &store, run, &command, |_| Ok(()))?;
    }
    let names: Vec<&str> = tasks.iter().map(|task| task.as_str()).collect();
    session.out.say(format!("run {run}: again {}", names.join(", ")));
    follow_to_end(session, &store, run, args.detach, false)
}

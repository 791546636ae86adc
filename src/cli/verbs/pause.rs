//! `pause`: a run starts and lands nothing new until it is resumed; what runs goes on to its end.
//!
//! Returns at once.

use super::run::report;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::orchestrator::asking;
use crate::orchestrator::client;
use crate::orchestrator::control::Command;

/// Pauses a run.
pub fn run(session: &Session, target: &str) -> Result<u8, CliError> {
    let store = session.store()?;
    let run = session.run(&store, target)?.id;
    client::command(&session.repo, &store, &run, &Command::Pause, |store| asking::set_paused(store, &run, true))?;
    report(session, &store, &run).map(|_| 0)
}

//! `resume`: goes on with a run that is not over: one that was paused, one whose supervisor is dead.
//!
//! Never repeats a failed task; a run that is over is only reported.

use super::run::{exit_code, follow_to_end, report};
use crate::cli::args::AgainArgs;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::orchestrator::asking;
use crate::orchestrator::client;
use crate::orchestrator::control::Command;

/// Goes on with a run.
pub fn run(session: &Session, args: &AgainArgs) -> Result<u8, CliError> {
    let store = session.store()?;
    let record = session.run(&store, &args.target)?;
    let run = &record.id;
    if record.state.is_terminal() {
        session.out.say(format!("run {run} is over already: {}", record.state.word()));
        report(session, &store, run)?;
        return exit_code(&store, run);
    }
    if record.paused {
        client::command(&session.repo, &store, run, &Command::Unpause, |store| asking::set_paused(store, run, false))?;
    } else {
        client::ensure_supervised(&session.repo, &store, run)?;
    }
    follow_to_end(session, &store, run, args.detach, false)
}

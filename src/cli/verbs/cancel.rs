//! `cancel`: ends a run, whatever became of its supervisor.
//!
//! Returns when the run is over: what ran has ended, what had landed stays landed.

use serde_json::json;

use super::run::report;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::orchestrator::client::{self, Cancelled, OnInterrupt};

/// Cancels a run.
pub fn run(session: &Session, target: &str) -> Result<u8, CliError> {
    let store = session.store()?;
    let (run, task) = session.target(&store, target)?;
    if task.is_some() {
        return Err(CliError::usage("one task alone cannot be cancelled in this version")
            .hint(format!("cancel the run: treehand cancel {}", run.id)));
    }
    match client::cancel(&session.repo, &store, &run.id)? {
        Cancelled::Asked => {
            let _followed = client::follow(&session.repo, &store, &run.id, None, OnInterrupt::Leave, |_| Ok(()))?;
        }
        Cancelled::Here => session.out.warn("its supervisor was dead; what was left of it has been ended"),
        Cancelled::WasOver => {
            let message = format!("run {} is over already: {}", run.id, run.state.word());
            if session.out.is_json() {
                let document = json!({"run": run.id, "state": run.state, "message": message});
                session.out.answer("treehand/run/v1", document, String::new)?;
            } else {
                session.out.say(message);
            }
            return Ok(0);
        }
    }
    report(session, &store, &run.id).map(|_| 0)
}

//! `wait`: until all the named runs are over, or the first of them, or the time is out (exit 124).
//!
//! Only waits: an interrupt leaves the runs alone.

use std::time::Instant;

use serde_json::json;

use crate::cli::args::WaitArgs;
use crate::cli::document;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::model::RunId;
use crate::orchestrator::follow::{self, Followed, OnInterrupt};

/// Waits for runs.
pub fn run(session: &Session, args: &WaitArgs) -> Result<u8, CliError> {
    let store = session.look()?;
    let runs: Vec<RunId> =
        args.runs.iter().map(|text| session.run(&store, text).map(|run| run.id)).collect::<Result<_, _>>()?;
    let deadline = args.timeout.map(|span| Instant::now() + span.0);
    let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let code = if args.any { any(session, &runs, left())? } else { all(session, &runs, left)? };
    let mut documents = Vec::new();
    let mut text = String::new();
    let mut worst = 0;
    for run in &runs {
        let (record, tasks) = (store.run(run)?, store.tasks(run)?);
        if record.state.is_terminal() && worst == 0 {
            worst = document::run_exit_code(&record, &tasks);
        }
        documents.push(json!({"run": record.id, "state": record.state, "ended_at": record.ended_at}));
        text.push_str(&format!("{} {}\n", record.id, record.state.word()));
    }
    session.out.answer("treehand/runs/v1", json!({"runs": documents}), || text)?;
    Ok(code.unwrap_or(worst))
}

fn all(
    session: &Session,
    runs: &[RunId],
    left: impl Fn() -> Option<std::time::Duration>,
) -> Result<Option<u8>, CliError> {
    let store = session.look()?;
    for run in runs {
        if store.run(run)?.state.is_terminal() {
            continue;
        }
        match follow::follow(&session.repo, &store, run, left(), OnInterrupt::Leave, |_| Ok(()))? {
            Followed::Over => {}
            Followed::TimedOut => return Ok(Some(124)),
            Followed::Interrupted(code) => return Ok(Some(code)),
        }
    }
    Ok(None)
}

/// One thread a run; the first that ends decides, the others end with the process.
fn any(session: &Session, runs: &[RunId], left: Option<std::time::Duration>) -> Result<Option<u8>, CliError> {
    let (sender, receiver) = std::sync::mpsc::channel();
    for run in runs {
        let (repo, run, sender) = (session.repo.clone(), run.clone(), sender.clone());
        std::thread::spawn(move || {
            let follow = || -> Result<Followed, CliError> {
                let store = repo.look()?;
                if store.run(&run)?.state.is_terminal() {
                    return Ok(Followed::Over);
                }
                Ok(follow::follow(&repo, &store, &run, left, OnInterrupt::Leave, |_| Ok(()))?)
            };
            // The receiver is gone once another run was first.
            if sender.send(follow()).is_err() {
                tracing::trace!(%run, "another run was first");
            }
        });
    }
    let first = receiver.recv().map_err(|error| CliError::usage(error.to_string()))??;
    Ok(match first {
        Followed::Over => None,
        Followed::TimedOut => Some(124),
        Followed::Interrupted(code) => Some(code),
    })
}
